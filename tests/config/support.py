"""What the tests of `config` share: surroundings that are the same on every machine, and the cases on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import penstock
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


CASES = Path(__file__).parent.parent / "cases" / "config"
NAMES = sorted(path.stem for path in CASES.glob("*.json"))
SUFFIXES = (".ini", ".yaml", ".js", ".xml", ".toml")
"""A case in JSON ends in .js: what is expected of each case has the other ending."""


@dataclass(frozen=True)
class Case:
    """One case, written out below a directory of its own."""

    name: str
    cwd: Path
    file: str
    """The configuration, from `cwd`."""
    expected: dict[str, Any]

    @property
    def argv(self) -> list[str]:
        return [str(self.fill(word)) for word in self.expected.get("argv", ["{file}"])]

    @property
    def environ(self) -> dict[str, str]:
        return dict(self.expected.get("environ", {}))

    def fill(self, value: Any) -> Any:
        """Replace `{cwd}`, `{file}` and `{version}`."""
        if isinstance(value, str):
            value = value.replace("{cwd}", str(self.cwd)).replace("{version}", penstock.__version__)
            return value.replace("{file}", self.file)
        return [self.fill(item) for item in value] if isinstance(value, list) else value


def case(name: str, cwd: Path) -> Case:
    """Write a case out."""
    expected = json.loads((CASES / f"{name}.json").read_text())
    found = [path for suffix in SUFFIXES if (path := CASES / f"{name}{suffix}").exists()]
    file = f"cfg/{found[0].name if found else f'{name}.ini'}"
    (cwd / "cfg").mkdir()
    data = expected["latin1"].encode("latin1") if "latin1" in expected else found[0].read_bytes()
    (cwd / file).write_bytes(data)
    for path, text in expected.get("files", {}).items():
        (cwd / path).parent.mkdir(parents=True, exist_ok=True)
        (cwd / path).write_text(text)
    return Case(name, cwd, file, expected)
