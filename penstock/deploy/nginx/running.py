"""A running nginx: whether its configuration is right, and having it read anew. The only place that changes one."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from penstock.deploy.nginx.installed import Nginx
from penstock.deploy.nginx.reading import Configuration

TEST_S = 60
"""How long `nginx -t` may take: it resolves the names of upstreams."""
RELOAD_S = 20
"""How long the first worker with a new configuration may take to be there."""
_SHORT_S = 0.05


class NotReloaded(Exception):
    """The master goes on with what it had: why."""


class Running:
    """One nginx of this machine, asked and told by its program and its pid file."""

    def __init__(self, nginx: Nginx, configuration: Configuration, reload_s: float = RELOAD_S) -> None:
        self._reload_s = reload_s
        self._command = [nginx.program, "-p", nginx.prefix, "-c", nginx.main_file]
        said = configuration.main.first("pid")
        self._pid_file = os.path.join(nginx.prefix, said.text) if said is not None else nginx.pid_file
        log = configuration.main.first("error_log")
        self._error_log = os.path.join(nginx.prefix, log.text) if log is not None else ""

    def test(self) -> str | None:
        """Have nginx look at its files; what it says if they are not right."""
        try:
            done = subprocess.run(
                [*self._command, "-t", "-q"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=TEST_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"nginx -t did not end within {TEST_S} seconds: does a name of an upstream resolve?"
        except OSError as error:
            return f"{self._command[0]} can not be run: {error.strerror}"
        text = done.stdout.decode("utf-8", "replace").strip()
        return None if done.returncode == 0 else text or f"nginx -t ended with {done.returncode}"

    def master(self) -> int | None:
        """Find the master's pid; None if it does not run."""
        try:
            with open(self._pid_file, encoding="ascii", errors="replace") as file:
                text = file.read(32).strip()
        except OSError:
            return None
        return int(text) if text.isdigit() and _name(int(text)) == "nginx" else None

    def reload(self) -> bool:
        """Have it read its files anew, and wait until only workers that have take requests; False if it does not run.

        Raises NotReloaded.
        """
        master = self.master()
        if master is None:
            return False
        before, written = _children(master), self._log_size()
        try:
            os.kill(master, signal.SIGHUP)
        except OSError as error:
            raise NotReloaded(f"nginx (pid {master}) can not be told: {error.strerror}") from None
        deadline = time.monotonic() + self._reload_s
        while not _children(master) - before:
            if _name(master) != "nginx":
                raise NotReloaded("nginx ended as it was told to reload")
            if time.monotonic() > deadline:
                why = self._complaint(written) or "its error log says why"
                raise NotReloaded(f"nginx kept its old configuration: {why}")
            time.sleep(_SHORT_S)
        # For a moment the old ones take requests beside the new ones, as all have the same sockets.
        while any(_takes_requests(pid) for pid in before & _children(master)) and time.monotonic() < deadline:
            time.sleep(_SHORT_S)
        return True

    def _log_size(self) -> int:
        try:
            return os.stat(self._error_log).st_size
        except OSError:
            return 0

    def _complaint(self, start: int) -> str:
        """Find what the error log has got since then, as far as it is why nginx went no further."""
        try:
            with open(self._error_log, encoding="utf-8", errors="replace") as file:
                file.seek(start)
                lines = file.read(1 << 20).splitlines()
        except OSError:
            return ""
        found = [line.partition("[emerg]")[2].partition(": ")[2] for line in lines if "[emerg]" in line]
        return found[0] if found else ""


def _name(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _takes_requests(pid: int) -> bool:
    """Whether a worker has not been told to end; it says so in its title."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            title = file.read(4096)
    except OSError:
        return False
    return title.startswith(b"nginx: worker process") and b"shutting down" not in title


def _children(pid: int) -> set[int]:
    """The living children of a process that has one thread, as nginx's master does."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return set(map(int, file.read().split()))
    except OSError:
        return set()


def holder(port: int) -> str | None:
    """Name the program that listens on a TCP port, at whichever address, if it is not nginx.

    nginx asks for every address, so that one is enough to hinder it. None if there is none, or it is somebody else's:
    only root sees the descriptors of others.
    """
    inodes = _listening(port)
    if not inodes:
        return None
    names = {
        name for pid in filter(str.isdigit, os.listdir("/proc")) if _has(pid, inodes) and (name := _name(int(pid)))
    }
    if "nginx" in names:
        return None
    return " and ".join(sorted(names)) or None


def _listening(port: int) -> set[str]:
    found = set()
    for family in ("tcp", "tcp6"):
        try:
            with open(f"/proc/net/{family}", encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            # 0A is TCP_LISTEN.
            if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port:
                found.add(row[9])
    return found


def _has(pid: str, inodes: set[str]) -> bool:
    folder = f"/proc/{pid}/fd"
    try:
        for name in os.listdir(folder):
            try:
                target = os.readlink(f"{folder}/{name}")
            except OSError:
                continue
            if target.startswith("socket:[") and target[8:-1] in inodes:
                return True
    except OSError:
        pass
    return False
