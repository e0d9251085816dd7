"""A server's processes while they run: started, found, measured from /proc, ended.

A server may fork, exec and rewrite what `ps` shows. Its processes are the descendants of the one that was started, and
whoever has a mark in its environment that descends from nobody any more.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

MARK = "BENCHMARK_OF_PENSTOCK"
TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
GENERATOR_CORE, SERVER_CORE = CORES[0], CORES[-1]
"""The load generator has one core and a pinned server another; on a machine with one core they share it."""


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def pinned(core: int | None, command: Sequence[str]) -> list[str]:
    """`command`, kept on `core` if there is one."""
    return list(command) if core is None else ["taskset", "--cpu-list", str(core), *command]


def connect(address: str, timeout_s: float = 10.0) -> socket.socket:
    """A connection to HOST:PORT or to the path of a unix socket. Raises OSError."""
    if not address.startswith("/"):
        host, _, port = address.rpartition(":")
        return socket.create_connection((host, int(port)), timeout_s)
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(timeout_s)
    try:
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (state, parent, ...). Raises OSError if it has gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def descendants(root: int) -> set[int]:
    """`root` and everybody below it."""
    children: dict[int, list[int]] = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            children.setdefault(int(stat(int(entry))[1]), []).append(int(entry))
        except OSError:
            continue
    found, ahead = {root}, [root]
    while ahead:
        for child in children.get(ahead.pop(), []):
            if child not in found:
                found.add(child)
                ahead.append(child)
    return found


def cpu_us(pid: int) -> float:
    """User and system time of a process so far, ended threads included. Raises OSError if it has gone.

    The scheduler's own count of nanoseconds, where it covers every thread that ever ran; else ticks of 10 ms.
    """
    fields = stat(pid)
    ticks = (int(fields[11]) + int(fields[12])) * TICK_US
    try:
        exact = sum(
            int((task / "schedstat").read_text().split()[0]) / 1000 for task in Path(f"/proc/{pid}/task").iterdir()
        )
    except (OSError, IndexError):
        return ticks
    return exact if abs(exact - ticks) <= 2 * TICK_US or exact > ticks else ticks


def pss_mib(pid: int) -> float:
    """Proportional set size of a process: what it would free, shared pages divided among who shares them."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    match = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(match[1]) / 1024 if match else 0.0


class Process:
    """A server that was started."""

    def __init__(
        self, command: Sequence[str], *, core: int | None, log: Path, cwd: Path, environment: Mapping[str, str]
    ) -> None:
        self._mark = uuid.uuid4().hex
        self.log = log
        self.started_s = time.monotonic()
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                pinned(core, command),
                env={**environment, MARK: self._mark},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Linux shares a busy core among sessions, not processes: without one of its own a server would have
                # what the load generator leaves of this one's share.
                start_new_session=True,
            )
        self.pid = self._process.pid

    def pids(self) -> set[int]:
        """Every living process of the server."""
        found = descendants(self.pid) if self._process.poll() is None else set()
        mark = f"{MARK}={self._mark}".encode()
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                if mark in Path(f"/proc/{entry}/environ").read_bytes():
                    found.add(int(entry))
            except OSError:
                continue
        return found

    def wait_for(self, address: str, timeout_s: float = 30.0) -> None:
        """Wait until `address` takes connections. Raises RuntimeError with the end of the log."""
        ends_s = time.monotonic() + timeout_s
        while self._process.poll() is None and time.monotonic() < ends_s:
            try:
                connect(address).close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"nobody listens at {address}:\n{self.log_end()}")

    def log_end(self) -> str:
        """The last lines of what it printed."""
        return self.log.read_text(errors="replace")[-2000:]

    def cpu_us(self) -> dict[int, float]:
        """User and system time of every process so far."""
        found = {}
        for pid in self.pids():
            try:
                found[pid] = cpu_us(pid)
            except OSError:
                continue
        return found

    def pss_mib(self) -> float:
        """Proportional set size of all its processes."""
        return sum(map(pss_mib, self.pids()))

    def stop(self) -> None:
        """End it: politely, then not."""
        for number, patience_s in ((signal.SIGINT, 3.0), (signal.SIGKILL, 5.0)):
            for pid in self.pids():
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue
            ends_s = time.monotonic() + patience_s
            while time.monotonic() < ends_s:
                self._process.poll()
                if not self.pids():
                    return
                time.sleep(0.01)


def used_us(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """CPU time between two looks at the same server; a process that has come since counts from its start."""
    return sum(value - before.get(pid, 0.0) for pid, value in after.items())
