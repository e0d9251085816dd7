"""How much memory processes take, and how much there is for more: what decides whether two generations fit.

Best effort, as in `proc`: what can not be read is left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from penstock.observe.proc import memory_bytes
from penstock.values import dataclass

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Free:
    """Memory that processes may still take."""

    size_bytes: int
    source: str
    """What limits it, for a person."""


LOOK_MOST_S = 0.2
"""How long the processes are looked at: the kernel goes through all the pages of each of them for that."""


def used_bytes(
    pids: Iterable[int], proc: Path = PROC, clock: Callable[[], float] = time.monotonic, within_s: float = LOOK_MOST_S
) -> int:
    """Sum up what processes take, pages that several share counted once (proportional set size).

    Those that are not looked at in time are taken to be as large as the largest of the others.
    """
    end = clock() + within_s
    sizes: list[int] = []
    missing = 0
    for pid in pids:
        if sizes and clock() >= end:
            missing += 1
        else:
            sizes.append(_proportional_bytes(pid, proc))
    return sum(sizes) + missing * max(sizes, default=0)


def _proportional_bytes(pid: int, proc: Path) -> int:
    found = _line_bytes(proc / str(pid) / "smaps_rollup", "Pss:")
    return memory_bytes(pid)[0] if found is None else found


def free_bytes(proc: Path = PROC, cgroups: Path = CGROUPS) -> Free | None:
    """Find the tightest limit: what the machine has left, or a control group of this process; None if nobody says."""
    places = _groups(proc / "self" / "cgroup", cgroups)
    found = [_of_machine(proc), *(_of_group(place, *names) for place, names in places)]
    return min((each for each in found if each is not None), key=lambda each: each.size_bytes, default=None)


def limits_bytes(membership: Path, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[tuple[int, str]]:
    """Every limit on the memory of a process, with what sets it; `membership` is its `/proc/PID/cgroup`."""
    whole = _line_bytes(proc / "meminfo", "MemTotal:")
    if whole:
        yield whole, "memory of the machine"
    for place, (limit, *_) in _groups(membership, cgroups):
        try:
            most = int((place / limit).read_text())
        except (OSError, ValueError):
            continue
        # Version 1 writes a number near the largest there is where there is no limit.
        if not whole or most < whole:
            yield most, f"{limit} of the control group {place}"


def _of_machine(proc: Path) -> Free | None:
    left = _line_bytes(proc / "meminfo", "MemAvailable:")
    return None if left is None else Free(left, "MemAvailable of the machine")


def _line_bytes(path: Path, name: str) -> int | None:
    """Read a line `NAME NUMBER kB`."""
    try:
        for line in path.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    except (OSError, IndexError, ValueError):
        pass
    return None


def _groups(membership: Path, root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """List the process's own group and all above it, each with the names of its files: each may have a limit.

    Version 2 has `memory.max`, version 1 `memory.limit_in_bytes` below a hierarchy of its own. In a container the own
    path is often not visible, and the root shows the container's limit instead.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = ["0::/"]
    for line in lines:
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        places = [root / "memory" if controllers else root]
        for part in group.strip("/").split("/"):
            if part and part != "..":
                places.append(places[-1] / part)
        for place in places:
            yield place, (_VERSION_1 if controllers else _VERSION_2)


_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def _of_group(place: Path, limit: str, usage: str, reclaimable: str) -> Free | None:
    """What a group may still take: its limit, less what it uses, but for the file cache that the kernel can drop."""
    try:
        most, used = int((place / limit).read_text()), int((place / usage).read_text())
    except (OSError, ValueError):
        return None
    try:
        for line in (place / "memory.stat").read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == reclaimable:
                used -= int(value)
    except (OSError, ValueError):
        pass
    return Free(max(0, most - used), f"{limit} of the control group {place}")
