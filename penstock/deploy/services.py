"""Who starts and stops what runs: systemd, scripts in /etc/init.d, or nobody, and then Penstock puts itself behind.

Each kind says which files it needs and which commands start, stop and enable a service; who runs these is the caller's
business. A reload is Penstock's own command for all of them: it waits, and tells whether the new code serves.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from typing import IO, Literal, Protocol

from penstock.deploy.layout import Layout
from penstock.deploy.running import Command

Kind = Literal["systemd", "sysv", "none"]
KINDS: tuple[Kind, ...] = ("systemd", "sysv", "none")
ASSUMED_SYSTEMD = 252
"""Of Debian 12."""


class Services(Protocol):
    """One kind of service manager."""

    kind: Kind

    def start(self, layout: Layout) -> list[Command]:
        """Start the instance, and come back when it serves."""
        ...

    def stop(self, layout: Layout) -> list[Command]:
        """Stop it, and come back when it has ended."""
        ...

    def restart(self, layout: Layout) -> list[Command]:
        """Stop and start it."""
        ...

    def enable(self, layout: Layout) -> list[Command]:
        """Have it started when the machine starts."""
        ...

    def disable(self, layout: Layout) -> list[Command]:
        """Have it not."""
        ...

    def reread(self) -> list[Command]:
        """Make changed files of the manager known to it."""
        ...

    def start_other(self, name: str) -> list[Command]:
        """Start another service of this machine: nginx."""
        ...

    def stop_other(self, name: str) -> list[Command]:
        """Stop it."""
        ...


class Systemd:
    """systemd as process 1."""

    kind: Kind = "systemd"

    def start(self, layout: Layout) -> list[Command]:
        """Start the service; with Type=notify the command returns when it serves."""
        return [_systemctl("start", layout.name)]

    def stop(self, layout: Layout) -> list[Command]:
        """Stop it."""
        return [_systemctl("stop", layout.name)]

    def restart(self, layout: Layout) -> list[Command]:
        """Stop and start it."""
        return [_systemctl("restart", layout.name)]

    def enable(self, layout: Layout) -> list[Command]:
        """Start it at boot."""
        return [_systemctl("enable", layout.name)]

    def disable(self, layout: Layout) -> list[Command]:
        """Do not."""
        return [_systemctl("disable", layout.name)]

    def reread(self) -> list[Command]:
        """Read units again."""
        return [Command(("systemctl", "daemon-reload"), "units are read again")]

    def start_other(self, name: str) -> list[Command]:
        """Start another service."""
        return [_systemctl("start", name)]

    def stop_other(self, name: str) -> list[Command]:
        """Stop it."""
        return [_systemctl("stop", name)]


class SysV:
    """Scripts in /etc/init.d, made known by update-rc.d (Debian) or chkconfig (RHEL)."""

    kind: Kind = "sysv"

    def __init__(self, has_chkconfig: bool = False) -> None:
        self._has_chkconfig = has_chkconfig

    def start(self, layout: Layout) -> list[Command]:
        """Start it."""
        return [_script(layout.name, "start")]

    def stop(self, layout: Layout) -> list[Command]:
        """Stop it."""
        return [_script(layout.name, "stop")]

    def restart(self, layout: Layout) -> list[Command]:
        """Stop and start it."""
        return [_script(layout.name, "restart")]

    def enable(self, layout: Layout) -> list[Command]:
        """Link it into the run levels."""
        if self._has_chkconfig:
            return [Command(("chkconfig", "--add", layout.name), "started at boot")]
        return [Command(("update-rc.d", layout.name, "defaults"), "started at boot")]

    def disable(self, layout: Layout) -> list[Command]:
        """Remove these links."""
        if self._has_chkconfig:
            return [Command(("chkconfig", "--del", layout.name), "no longer started at boot")]
        return [Command(("update-rc.d", "-f", layout.name, "remove"), "no longer started at boot")]

    def reread(self) -> list[Command]:
        """Nothing keeps them."""
        return []

    def start_other(self, name: str) -> list[Command]:
        """Start another service."""
        return [_script(name, "start")]

    def stop_other(self, name: str) -> list[Command]:
        """Stop it."""
        return [_script(name, "stop")]


class Nobody:
    """No service manager: containers and bare machines. Nothing is started at boot."""

    kind: Kind = "none"

    def __init__(self, penstock: Sequence[str]) -> None:
        self._penstock = tuple(penstock)

    def start(self, layout: Layout) -> list[Command]:
        """Let Penstock go to the background; it returns when it serves, or with the traceback."""
        argv = (*self._penstock, layout.configuration, "--daemonize", layout.log)
        return [Command(argv, "the instance starts, and goes to the background when it serves")]

    def stop(self, layout: Layout) -> list[Command]:
        """Stop it, and wait."""
        return [Command((*self._penstock, "stop", "--wait", layout.pidfile), "the instance ends")]

    def restart(self, layout: Layout) -> list[Command]:
        """Stop and start it."""
        return [*self.stop(layout), *self.start(layout)]

    def enable(self, layout: Layout) -> list[Command]:
        """Nobody is there to do it."""
        return []

    def disable(self, layout: Layout) -> list[Command]:
        """Nobody did."""
        return []

    def reread(self) -> list[Command]:
        """Nothing is read."""
        return []

    def start_other(self, name: str) -> list[Command]:
        """A daemon goes to the background by itself."""
        return [Command((name,), f"{name} starts")]

    def stop_other(self, name: str) -> list[Command]:
        """Only nginx is asked for, and knows how."""
        return [Command((name, "-s", "quit"), f"{name} ends")]


def detect(root: str = "/") -> Kind:
    """Find out which service manager this machine is run by."""
    if os.path.isdir(os.path.join(root, "run/systemd/system")):
        return "systemd"
    try:
        with open(os.path.join(root, "proc/1/comm")) as file:
            first = file.read().strip()
    except OSError:
        first = ""
    return "sysv" if first == "init" and os.path.isdir(os.path.join(root, "etc/init.d")) else "none"


def systemd_version() -> int | None:
    """The version of the systemd that is installed; None if there is none."""
    try:
        done = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else None


def make(kind: str, penstock: Sequence[str]) -> Services:
    """Make the manager of a kind."""
    if kind == "systemd":
        return Systemd()
    if kind == "sysv":
        # What Debian has, and what the RHEL family has.
        has_update_rc = any(os.access(f"{folder}/update-rc.d", os.X_OK) for folder in ("/usr/sbin", "/sbin"))
        return SysV(has_chkconfig=not has_update_rc)
    return Nobody(penstock)


def reload(layout: Layout, penstock: Sequence[str]) -> Command:
    """The reload that waits: 0 when the new code serves, 3 when it does not and the old one goes on."""
    return Command(
        (*penstock, "reload", layout.pidfile), "new code beside the old, which leaves when the new one serves"
    )


def open_plain(path: str) -> IO[bytes]:
    """Open a file in a folder of somebody else's: no link is followed, and no pipe waited for. Raises OSError."""
    return open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def running_pid(pidfile: str, program: bytes = b"penstock") -> int:
    """The number in a pid file, if that process lives and is the program; 0 if not."""
    try:
        with open_plain(pidfile) as file:
            pid = int(file.read(32))
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return pid if program in file.read(4096) else 0
    except (OSError, ValueError):
        return 0


def _systemctl(verb: str, name: str) -> Command:
    words = {
        "start": "starts",
        "stop": "ends",
        "restart": "starts anew",
        "enable": "is started at boot",
        "disable": "is no longer started at boot",
    }
    cure = f"journalctl -u {name} -n 50 tells why" if verb in ("start", "restart") else ""
    return Command(("systemctl", verb, f"{name}.service"), f"{name} {words[verb]}", cure=cure)


def _script(name: str, verb: str) -> Command:
    return Command((f"/etc/init.d/{name}", verb), f"{name}: {verb}")
