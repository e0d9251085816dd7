"""The machine or container: its limits, its clock, and what its kernel has killed."""

from __future__ import annotations

import ctypes
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

from penstock.doctor.diagnosis import Blind
from penstock.doctor.facts import Host, Killed, MemoryLimit
from penstock.doctor.gather import programs
from penstock.observe.room import limits_bytes

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
_STA_UNSYNC = 0x40
"""adjtimex(2): the clock is not synchronised."""
_TIMEX_BYTES = 512
"""More than struct timex takes anywhere."""
_STATUS_AT = 40
"""Where `status` is in struct timex on 64-bit Linux: behind modes (padded) and four longs."""
_OOM = re.compile(r"(?:Memory cgroup o|O)ut of memory: Killed process (\d+) \(([^)]*)\)")
_SEGFAULT = re.compile(r"\b([^\s\[\]]+)\[(\d+)\]: segfault at ")
_WHEN = re.compile(r"^(?:\[\s*[\d.]+\]|\[[A-Z][a-z]{2} [^\]]*\]|\S+T\S+|[A-Z][a-z]{2} +\d+ [\d:]{8})")
_CONTAINERS = ("docker", "kubepods", "containerd", "libpod", "lxc")
_RECENT = "-7d"
_MOST = 20


def host(
    environ: Mapping[str, str], pid: int | None, proc: Path = PROC, cgroups: Path = CGROUPS
) -> tuple[Host, list[Blind]]:
    """Look at the machine; `pid` is the instance's master, whose control group counts."""
    blind: list[Blind] = []
    group = proc / (str(pid) if pid is not None else "self") / "cgroup"
    killed = kernel_log(environ, blind)
    kind = container(environ, proc)
    limits = [MemoryLimit(size, source) for size, source in limits_bytes(group, proc, cgroups)]
    return (
        Host(
            euid=os.geteuid(),
            container=kind,
            init=command_line(proc / "1"),
            somaxconn=_number(proc / "sys/net/core/somaxconn"),
            memory=min(limits, key=lambda one: one.size_bytes, default=None),
            clock_is_synchronised=clock_is_synchronised(),
            now_s=time.time(),
            killed=killed,
            oom_kills=oom_kills(group, cgroups, is_container=bool(kind)) if pid is not None else 0,
            port_variable=environ.get("PORT", ""),
            selinux_enforces=_number(Path("/sys/fs/selinux/enforce")) == 1,
            avc=denials(environ) if _number(Path("/sys/fs/selinux/enforce")) == 1 else (),
        ),
        blind,
    )


def container(environ: Mapping[str, str], proc: Path = PROC) -> str:
    """What kind of container this is; empty outside of one."""
    if environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if Path("/run/.containerenv").exists():
        return "podman"
    if environ.get("container"):
        return environ["container"]
    try:
        groups = (proc / "1" / "cgroup").read_text()
    except OSError:
        groups = ""
    found = next((name for name in _CONTAINERS if name in groups), "")
    return found or ("docker" if Path("/.dockerenv").exists() else "")


def command_line(process: Path) -> tuple[str, ...]:
    """The words that a process was started with; empty if they can not be read."""
    try:
        data = (process / "cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(word) for word in data.split(b"\0") if word)


def clock_is_synchronised() -> bool | None:
    """Ask the kernel whether something keeps its clock right (adjtimex(2)); None where it does not say."""
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        return None
    if state < 0 or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    status = int.from_bytes(buffer.raw[_STATUS_AT : _STATUS_AT + 4], "little")
    return not status & _STA_UNSYNC


def kernel_log(environ: Mapping[str, str], blind: list[Blind]) -> tuple[Killed, ...]:
    """What the kernel said of the last week about processes that it killed: from the journal, else from its buffer."""
    for words in (("journalctl", "-k", "-q", "--no-pager", "-o", "short-iso", "-S", _RECENT), ("dmesg",)):
        answer = programs.ask(words, environ)
        if answer is not None and answer.status == 0 and answer.output.strip():
            return killed(answer.output)
    blind.append(
        Blind("the kernel's log (processes killed for want of memory)", "neither journalctl nor dmesg tell it")
    )
    return ()


def killed(text: str) -> tuple[Killed, ...]:
    """Find the processes that came to harm in the kernel's log, the last ones."""
    found = []
    for line in text.splitlines():
        when = _WHEN.match(line)
        if match := _OOM.search(line):
            found.append(Killed(when[0] if when else "", match[2], int(match[1]), line.strip(), is_oom=True))
        elif match := _SEGFAULT.search(line):
            found.append(Killed(when[0] if when else "", match[1], int(match[2]), line.strip(), is_oom=False))
    return tuple(found[-_MOST:])


def oom_kills(membership: Path, cgroups: Path = CGROUPS, *, is_container: bool = False) -> int:
    """How many processes of a control group the kernel has killed for want of memory."""
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return 0
    for line in lines:
        _, controllers, group = [*line.split(":", 2), "", ""][:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        base = cgroups / "memory" if controllers else cgroups
        name = "memory.oom_control" if controllers else "memory.events"
        # In a container the own path is often not visible, and the root is the container's; outside, the root is
        # everybody's.
        own = group.strip("/")
        for place in (base / own, *((base,) if is_container else ())) if own or is_container else ():
            try:
                words = (place / name).read_text().split()
            except OSError:
                continue
            if "oom_kill" in words:
                return int(words[words.index("oom_kill") + 1])
    return 0


def denials(environ: Mapping[str, str]) -> tuple[str, ...]:
    """What SELinux has denied nginx lately."""
    answer = programs.ask(("ausearch", "-m", "avc", "-c", "nginx", "-ts", "today", "--raw"), environ)
    lines = answer.output.splitlines() if answer is not None and answer.status == 0 else []
    return tuple(line for line in lines if "denied" in line)[-5:]


def _number(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0
