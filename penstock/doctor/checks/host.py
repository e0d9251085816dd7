"""The machine itself: its clock, and whom its kernel has killed."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Facts, Killed
from penstock.plan.findings import Row
from penstock.titles import NAMES

TITLE = "The machine"
ROWS: tuple[Row, ...] = (
    Row(
        "clock-not-synchronised",
        "warning",
        "",
        "nothing keeps the clock right: certificates, tokens and sessions with a time fail at last; in a container a "
        "note, as the clock is that of its host",
        "timedatectl set-ntp true, or install chrony",
    ),
    Row(
        "clock-behind",
        "warning",
        "",
        "the clock is earlier than files of the project: changes are overlooked, signed values come from the future",
        "set the clock",
    ),
    Row(
        "killed-for-memory",
        "warning",
        "reload-on-rss",
        "the kernel has killed processes of the instance for want of memory",
        "fewer processes, reload-on-rss, or more memory",
    ),
    Row("crashed", "warning", "", "processes of the instance have crashed in C code", "update what is named there"),
)
AHEAD_S = 120.0
"""How far in the future a file may lie; shared folders keep the time of another machine."""
_OURS = {*NAMES.values(), "penstock", "uwsgi"}


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at the clock and at the kernel's log."""
    host = facts.host
    if host.clock_is_synchronised is False:
        cause = "nothing keeps the clock of this machine right"
        seen = (Evidence("adjtimex", "unsynchronised"),)
        if host.container:
            cure = "see to it on the machine that runs this container"
            yield Diagnosis("clock-not-synchronised", "note", cause, seen, cure)
        else:
            cure = "let systemd-timesyncd or chrony do it"
            yield Diagnosis("clock-not-synchronised", "warning", cause, seen, cure, ("timedatectl set-ntp true",))
    newest = facts.newest_source
    if newest is not None and newest[1] > host.now_s + AHEAD_S:
        ahead = newest[1] - host.now_s
        seen = (Evidence(newest[0], f"last changed {ahead:.0f} seconds from now"),)
        cause = "the clock of this machine is behind that of whoever wrote the project"
        yield Diagnosis("clock-behind", "warning", cause, seen, "set the clock, or touch the file")
    yield from _killed(facts)


def _killed(facts: Facts) -> Iterator[Diagnosis]:
    harmed = [one for one in facts.host.killed if _is_ours(one)]
    by_oom = [one for one in harmed if one.is_oom]
    crashed = [one for one in harmed if not one.is_oom]
    if by_oom or facts.host.oom_kills:
        seen = [Evidence(one.when or "kernel log", f"{one.name} (pid {one.pid}) was killed") for one in by_oom[-3:]]
        if facts.host.oom_kills:
            seen.append(Evidence("control group", f"{facts.host.oom_kills} processes killed since it was made"))
        if facts.host.memory is not None:
            seen.append(Evidence(facts.host.memory.source, f"{facts.host.memory.size_bytes >> 20} MiB"))
        cause = "the kernel kills workers for want of memory, in the middle of their requests"
        cure = "reload-on-rss = MEGABYTES replaces a worker before; fewer processes with more threads need less"
        yield Diagnosis("killed-for-memory", "warning", cause, tuple(seen), cure)
    if crashed:
        seen = [Evidence(one.when or "kernel log", one.line[-160:]) for one in crashed[-3:]]
        cause = f"{len(crashed)} processes have crashed in C code within a week"
        yield Diagnosis("crashed", "warning", cause, tuple(seen), "update the extension module that the line names")


def _is_ours(one: Killed) -> bool:
    return one.name in _OURS or one.name.startswith("penstock")
