"""The running instance: what its master says of itself, and what the kernel says of its processes.

How to ask a master is the business of whoever calls (`Ask`): this package knows nothing of the control socket.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from penstock.doctor.diagnosis import Blind
from penstock.doctor.facts import Instance
from penstock.doctor.gather.host import command_line
from penstock.observe.room import used_bytes

Ask = Callable[[int, str], dict[str, Any] | str]
"""(pid of a master, command) -> its answer, or why there is none."""
PROC = Path("/proc")


def instance(pid: int, pidfile: str, ask: Ask, blind: list[Blind], proc: Path = PROC) -> Instance:
    """Look at the instance whose master is `pid`."""
    status, stats = ask(pid, "status"), ask(pid, "stats")
    if isinstance(status, str):
        blind.append(Blind("what the running instance says of itself", status))
    answer = status if isinstance(status, dict) else {}
    try:
        uid = os.stat(proc / str(pid)).st_uid
    except OSError:
        uid = -1
    return Instance(
        pid=pid,
        uid=uid,
        pidfile=pidfile,
        version=str(answer.get("version", "")),
        addresses=tuple(map(str, answer.get("addresses", ()))),
        stats=stats.get("stats") if isinstance(stats, dict) else None,
        open_files=open_files(pid, proc),
        memory_bytes=used_bytes(family(pid, proc), proc),
        command=command_line(proc / str(pid)),
    )


def family(pid: int, proc: Path = PROC) -> list[int]:
    """A process and all below it."""
    parents: dict[int, list[int]] = {}
    for child, parent in _parents(proc):
        parents.setdefault(parent, []).append(child)
    found = [pid]
    for each in found:
        found += parents.get(each, ())
    return found


def _parents(proc: Path) -> Iterator[tuple[int, int]]:
    for entry in os.listdir(proc):
        if not entry.isdigit():
            continue
        try:
            fields = (proc / entry / "stat").read_text().rpartition(")")[2].split()
            yield int(entry), int(fields[1])
        except (OSError, ValueError, IndexError):
            continue


def open_files(pid: int, proc: Path = PROC) -> int:
    """Tell how many files a process may open; 0 if nobody says."""
    try:
        for line in (proc / str(pid) / "limits").read_text().splitlines():
            if line.startswith("Max open files"):
                return int(line.split()[3])
    except (OSError, ValueError, IndexError):
        pass
    return 0
