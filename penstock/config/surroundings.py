"""What placeholders may ask about this machine and this process; the only place of `config` that looks.

Everything else in the package is given a `Surroundings`, so that tests need no particular machine.
"""

from __future__ import annotations

import grp
import math
import os
import pwd
import socket
import sys
import time
from pathlib import Path

from penstock.values import dataclass


class NowhereError(Exception):
    """The working directory of this process was removed, or may not be entered."""

    def __str__(self) -> str:
        return "the directory that this was started in is gone; change to one that is there, and try again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The answers to magic variables; see `penstock.config.magic` for which letter is which."""

    cwd: str
    hostname: str
    cpus: int
    uid: int
    user: str
    gid: int
    group: str
    started_us: int
    binary: str

    @classmethod
    def here(cls) -> Surroundings:
        """Look at the real machine. Raises NowhereError."""
        uid, gid = os.getuid(), os.getgid()
        return cls(
            cwd=_working_directory(),
            hostname=socket.gethostname(),
            cpus=usable_cpus(),
            uid=uid,
            user=_user_name(uid),
            gid=gid,
            group=_group_name(gid),
            started_us=time.time_ns() // 1000,
            binary=_binary(sys.argv[0]),
        )


def _binary(said: str) -> str:
    """The path of the program that was started as `said`."""
    if said and not os.path.dirname(said):
        # Only for a name to be looked for in PATH: shutil brings what unpacks archives, two milliseconds of each start.
        from shutil import which

        said = which(said) or said
    return os.path.abspath(said or sys.executable)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError as error:
        raise NowhereError from error


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def usable_cpus() -> int:
    """Count the CPUs this process may really use: its affinity, and the quota of its control group; at least 1."""
    count = len(os.sched_getaffinity(0))
    quota = cgroup_cpu_quota(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))
    return max(1, count if quota is None else min(count, quota))


def cgroup_cpu_quota(root: Path, membership: Path) -> int | None:
    """Find the CPU quota of a process in whole CPUs, rounded up; None if it has none.

    Version 2 keeps `cpu.max` ("QUOTA PERIOD" or "max PERIOD") in each directory from the process's own up to the root,
    and the lowest counts; version 1 keeps two files below a `cpu` hierarchy. In a container the process's own path is
    often not visible, and its root shows the container's quota instead.
    """
    quotas: list[float] = []
    for hierarchy, group in _groups(membership, "cpu"):
        for place in _places(root / hierarchy if hierarchy else root, group):
            quota = _quota_v1(place) if hierarchy else _quota_v2(place)
            if quota is not None:
                quotas.append(quota)
    return math.ceil(min(quotas)) if quotas else None


def memory_limit() -> int | None:
    """Find how much memory this process and its kin may take at most, by their control groups; None for no limit."""
    return cgroup_memory_limit(Path("/sys/fs/cgroup"), Path("/proc/self/cgroup"))


def cgroup_memory_limit(root: Path, membership: Path) -> int | None:
    """Find the memory limit of a process in bytes; None if it has none. As `cgroup_cpu_quota`."""
    limits: list[int] = []
    for hierarchy, group in _groups(membership, "memory"):
        base = root / "memory" if hierarchy else root
        for place in _places(base, group):
            try:
                limit = int((place / ("memory.limit_in_bytes" if hierarchy else "memory.max")).read_text())
            except (OSError, ValueError):
                continue
            # Version 1 writes "no limit" as the largest number of pages.
            if limit < _NO_LIMIT_BYTES:
                limits.append(limit)
    return min(limits, default=None)


_NO_LIMIT_BYTES = 1 << 62


def _places(base: Path, group: str) -> list[Path]:
    """The directories from a hierarchy's root down to a group."""
    places = [base]
    for part in group.strip("/").split("/"):
        if part and part != "..":
            places.append(places[-1] / part)
    return places


def _groups(membership: Path, controller: str) -> list[tuple[str, str]]:
    """(hierarchy directory, or nothing for version 2; group) for each line that may limit what a controller does."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return [("", "")]
    groups: list[tuple[str, str]] = []
    for line in lines:
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            groups.append(("", group))
        elif controller in controllers.split(","):
            groups.append((controllers, group))
    return groups


def _quota_v2(place: Path) -> float | None:
    try:
        quota, period = (place / "cpu.max").read_text().split()[:2]
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _quota_v1(place: Path) -> float | None:
    try:
        quota = int((place / "cpu.cfs_quota_us").read_text())
        return quota / int((place / "cpu.cfs_period_us").read_text()) if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None
