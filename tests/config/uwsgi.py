"""The real uWSGI: what it makes of a configuration, as it tells itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

_BEGIN = ";uWSGI instance configuration"
_END = ";end of configuration"


@cache
def binary() -> str:
    """Find the command beside this interpreter, where `make test` compiles it."""
    beside = Path(sys.executable).parent / "uwsgi"
    assert beside.exists(), "the uWSGI to compare with is missing: make test compiles it"
    return str(beside)


@cache
def options() -> frozenset[str]:
    """The names that this build knows."""
    text = subprocess.run([binary(), "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    return frozenset(re.findall(r"--([a-z0-9_-]+)", text))


def show_config(
    argv: Sequence[str], cwd: Path, environ: Mapping[str, str]
) -> tuple[list[tuple[str, str]] | None, list[str]]:
    """Let it show its list of pairs: the pairs, or None if it ended before; and every line that it wrote until then.

    It is killed as soon as the list is complete, before it opens a socket or loads anything.
    """
    command = [binary(), "--show-config", *argv]
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
        # A placeholder that contains itself keeps it busy for ever.
        watchdog = threading.Timer(20, process.kill)
        watchdog.start()
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if lines[-1] == _END:
                break
        watchdog.cancel()
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


def values(lines: str, cwd: Path) -> tuple[int, int, int, bool] | None:
    """Let it load a configuration: processes, threads, buffer-size and master as it has them; None if it refuses."""
    program = "import uwsgi; print('=', uwsgi.numproc, uwsgi.threads if hasattr(uwsgi, 'threads') else uwsgi.cores, "
    program += "uwsgi.buffer_size, uwsgi.masterpid(), flush=True)"
    text = f"[uwsgi]\n{lines}\nsocket = 127.0.0.1:0\neval = {program}\nno-server = true\n"
    (cwd / "values.ini").write_text(text)
    command = [binary(), "--ini", "values.ini"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    # It makes one of the two streams.
    output = done.stdout + done.stderr
    shown = re.search(r"^= ([0-9]+) ([0-9]+) ([0-9]+) ([0-9]+)$", output, re.MULTILINE)
    return (int(shown[1]), int(shown[2]), int(shown[3]), shown[4] != "0") if shown else None
