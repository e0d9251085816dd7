"""The real uWSGI, where it is installed: what it makes of a configuration, as it tells itself."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_BEGIN = ";uWSGI instance configuration"
_END = ";end of configuration"


@cache
def binary() -> str | None:
    """Find the command: beside this interpreter, as `make test` installs it, or in PATH."""
    beside = Path(sys.executable).parent / "uwsgi"
    return str(beside) if beside.exists() else shutil.which("uwsgi")


@cache
def options() -> frozenset[str]:
    """The names that this build knows."""
    text = subprocess.run([binary() or "", "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    return frozenset(re.findall(r"--([a-z0-9_-]+)", text))


def show_config(
    argv: Sequence[str], cwd: Path, environ: Mapping[str, str]
) -> tuple[list[tuple[str, str]] | None, list[str]]:
    """Let it show its list of pairs: the pairs, or None if it ended before; and every line that it wrote until then.

    It is killed as soon as the list is complete, before it opens a socket or loads anything.
    """
    command = [binary() or "", "--show-config", *argv]
    inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**inherited, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="surrogateescape",
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == _END:
                break
        process.kill()
    if _END not in lines:
        return None, lines
    begin = lines.index(_BEGIN)
    return pairs(lines[begin + 2 : -1]), lines[:begin]


def pairs(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Read what it showed: `key = value`; a line without that goes on with the value before it."""
    found: list[tuple[str, str]] = []
    for line in lines:
        key, equals, value = line.partition(" = ")
        if equals and re.fullmatch(r"\S*( \S+)*", key):
            found.append((key, value))
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + "\n" + line)
    return found
