"""What the tests of `config` share: surroundings that are the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.config.argv import parse_argv
from penstock.config.files import FileReader
from penstock.config.load import Sources, load
from penstock.config.settings import Settings
from penstock.config.surroundings import Surroundings


def surroundings(cwd: Path | str) -> Surroundings:
    """A machine with three CPUs on which alice works."""
    return Surroundings(
        cwd=str(cwd),
        hostname="web1",
        cpus=3,
        uid=1000,
        user="alice",
        gid=100,
        group="users",
        started_us=1_700_000_000_123_456,
        binary="/usr/bin/penstock",
    )


def read(*argv: str, cwd: Path | str = "/nowhere", environ: Mapping[str, str] | None = None) -> Settings:
    """Load a configuration from a command line."""
    return load(sources(argv, cwd, environ or {}))


def sources(argv: Sequence[str], cwd: Path | str, environ: Mapping[str, str]) -> Sources:
    """Make the sources of a command line."""
    return Sources(parse_argv(list(argv)), environ, surroundings(cwd), FileReader(str(cwd)))
