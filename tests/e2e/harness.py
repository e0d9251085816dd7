"""The real command, started and stopped by tests, and a real nginx before it.

`Penstock` starts `python -m penstock` as a person would, waits for its readiness notice, finds the addresses in its
log and, at the end, checks the exit status and that no process is left. Nothing here sleeps for a time: `until` looks
again and again until a deadline. The clients are in `clients.py`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.e2e.clients import connect

ROOT = Path(__file__).parent.parent.parent
APPS = Path(__file__).parent / "apps"
# Environment variable that every process of an instance inherits, so that none is overlooked at the end.
T = TypeVar("T")
MARK = "TEST_INSTANCE_OF_PENSTOCK"
START_DEADLINE_S = 30.0
STOP_DEADLINE_S = 20.0


def until(what: str, probe: Callable[[], T | None], deadline_s: float = 10.0) -> T:
    """Call `probe` until its answer is true, and return that; AssertionError naming `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    pause = threading.Event()
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s} s: {what}")
        pause.wait(0.01)


def clean_environment() -> dict[str, str]:
    """The tests' own environment without what other tests set for a server or for Django."""
    prefixes = ("UWSGI_", "PENSTOCK_", "DJANGO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(prefixes)}


def free_port() -> int:
    """A TCP port that was free a moment ago, for programs that can not take port 0."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def state(pid: int) -> tuple[str, int] | None:
    """State letter and parent of process `pid` from /proc, or None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in parentheses may hold anything.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[1])


def is_alive(pid: int) -> bool:
    """Whether process `pid` exists and is not a zombie."""
    found = state(pid)
    return found is not None and found[0] not in "ZX"


def rss_bytes(pid: int) -> int:
    """Resident memory of process `pid`; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def processor_s(pid: int) -> float:
    """Processor time of process `pid` so far, in seconds; 0 if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processor_s_of_others(pids: Iterable[int]) -> float:
    """Processor time since the start of the machine that went to anybody else than `pids`, other machines included."""
    user, nice, system, _, _, _, _, steal = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + steal) / os.sysconf("SC_CLK_TCK") - sum(map(processor_s, pids))


class Penstock:
    """One running instance of the command, in a directory of its own."""

    def __init__(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        wait: bool = True,
        python: str = sys.executable,
        prefix: Iterable[str] = (),
        pass_fds: Iterable[int] = (),
    ) -> None:
        """Start `penstock ARGUMENTS`, and wait until it is ready unless `wait` is false.

        `prefix` is a command that the command is started by (`sh -c`, `unshare`), and `pass_fds` are descriptors that
        it gets. The environment is the tests' own with `env` on top.
        """
        self.dir = Path(tempfile.mkdtemp(prefix="pst-"))
        # An instance that becomes another user still has to reach the socket below.
        self.dir.chmod(0o755)
        self.log_path = self.dir / "log"
        self.mark = uuid.uuid4().hex
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(str(self.dir / "notify"))
        (self.dir / "notify").chmod(0o777)
        self._notify.setblocking(False)
        self.notices: list[str] = []
        environment = {
            **clean_environment(),
            "NOTIFY_SOCKET": str(self.dir / "notify"),
            MARK: self.mark,
            **(env or {}),
        }
        self.arguments = [str(argument) for argument in arguments]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, python, "-m", "penstock", *self.arguments],
                cwd=cwd or self.dir,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A process group of its own, as a shell would make it: Ctrl-C can be sent to all of it.
                process_group=0,
                pass_fds=tuple(pass_fds),
            )
        if wait:
            self.wait_ready()

    # -- the log -------------------------------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What the instance wrote so far to its standard output and error."""
        return self.log_path.read_text(errors="replace")

    @property
    def tail(self) -> str:
        """The end of the log, for messages."""
        text = self.log
        return text if len(text) < 6000 else f"...\n{text[-6000:]}"

    def wait_log(self, pattern: str, deadline_s: float = 10.0, since: int = 0) -> re.Match[str]:
        """Wait for a line that matches `pattern` in the log after its first `since` characters."""
        try:
            return until(f"{pattern!r} in the log", lambda: re.search(pattern, self.log[since:], re.M), deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail}") from None

    # -- where it listens ----------------------------------------------------------------------------------------------

    def bound(self) -> list[tuple[str, str]]:
        """(what the log line says before it, address) of every socket that the log says was bound, in order."""
        return re.findall(r"^(.*?)\bbound to (?:TCP|UNIX|ABSTRACT) address (\S+)", self.log, re.M | re.I)

    @cached_property
    def http(self) -> str:
        """Address of the first HTTP listener."""
        return next(address for before, address in self.bound() if "http" in before)

    @cached_property
    def uwsgi(self) -> str:
        """Address of the first uwsgi listener."""
        return next(address for before, address in self.bound() if "http" not in before)

    # -- processes -----------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """Process id of what was started: the master, unless `prefix` or `daemonize` come between."""
        return self.process.pid

    def processes(self) -> dict[int, int]:
        """Every living process of the instance, with its parent."""
        found = {}
        mark = f"{MARK}={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                environment = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0") and (now := state(int(entry))) and now[0] not in "ZX":
                found[int(entry)] = now[1]
        return found

    def generations(self, master: int | None = None) -> list[int]:
        """The generation processes: the master's children that are not orphaned workers."""
        master = master or self.pid
        return sorted(pid for pid, parent in self.processes().items() if parent == master)

    def workers(self, master: int | None = None) -> list[int]:
        """The workers: the master's grandchildren."""
        tree = self.processes()
        generations = {pid for pid, parent in tree.items() if parent == (master or self.pid)}
        return sorted(pid for pid, parent in tree.items() if parent in generations)

    # -- life ----------------------------------------------------------------------------------------------------------

    def _read_notices(self) -> None:
        while True:
            try:
                self.notices += self._notify.recv(4096).decode().splitlines()
            except BlockingIOError:
                return

    def wait_ready(self, deadline_s: float = START_DEADLINE_S) -> Self:
        """Wait for READY=1 on the notification socket; AssertionError with the log if the process ends before."""

        def probe() -> bool:
            self._read_notices()
            if "READY=1" in self.notices:
                return True
            if (status := self.process.poll()) is not None:
                raise AssertionError(f"ended with {status} before it was ready")
            return False

        try:
            until("READY=1", probe, deadline_s)
        except AssertionError as error:
            text = self.tail
            self.clean()
            raise AssertionError(f"{error}\n{text}") from None
        return self

    def send(self, number: signal.Signals) -> None:
        """Send signal `number` to the master."""
        os.kill(self.pid, number)

    def reload(self, deadline_s: float = 30.0) -> None:
        """Send HUP, and wait until the reload has ended, well or not."""
        self._read_notices()
        before = len(self.notices)
        self.send(signal.SIGHUP)

        def probe() -> bool:
            self._read_notices()
            return "READY=1" in self.notices[before:]

        try:
            until("the end of a reload", probe, deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail}") from None

    def wait_exit(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Wait for the end of what was started; its exit status (negative: the signal that ended it)."""
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {deadline_s} s:\n{self.tail}") from None

    def stop(self, how: signal.Signals = signal.SIGTERM, status: int = 0) -> str:
        """Stop the instance, check exit `status` and that nothing is left of it; the whole log."""
        try:
            if self.process.poll() is None:
                self.send(how)
            found = self.wait_exit()
            assert found == status, f"exit status {found}, expected {status}:\n{self.tail}"
            until(f"the end of every process\n{self.tail}", lambda: not self.processes(), 5.0)
            return self.log
        finally:
            self.clean()

    def kill_all(self) -> None:
        """End every process of the instance at once."""
        for pid in (self.process.pid, *self.processes()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def clean(self) -> None:
        """End what still runs, and remove the directory."""
        if self.process.poll() is None or self.processes():
            self.kill_all()
        self.process.wait(10)
        self._notify.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self.dir.exists():
                self.stop()
            return
        if self.log_path.exists():
            print(f"--- log of penstock {' '.join(self.arguments)} ---\n{self.tail}", file=sys.stderr)
        self.clean()


def run_penstock(
    *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None, deadline_s: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run `penstock ARGUMENTS` to its end, with standard output and error captured."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", *map(str, arguments)],
        cwd=cwd,
        env={**clean_environment(), **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
    )


def read_stats(address: str) -> dict[str, Any]:
    """The JSON document of a stats socket: connect, read to the end."""
    with connect(address) as sock:
        pieces = []
        while piece := sock.recv(65536):
            pieces.append(piece)
    document: dict[str, Any] = json.loads(b"".join(pieces))
    return document


class Nginx:
    """A real nginx in the foreground, as the current user, on a free port, with a site of the test's choice."""

    def __init__(self, server: str, http: str = "") -> None:
        """Serve `server`, the text inside a `server` block without its `listen`; `http` is text beside that block."""
        self.dir = Path(tempfile.mkdtemp(prefix="ngx-"))
        self._server = server
        self._http = http
        for attempt in range(5):
            self.port = free_port()
            self._start()
            if self._is_up():
                break
            # Somebody else took the port in between.
            assert "Address already in use" in self.error_log and attempt < 4, f"nginx did not start:\n{self.error_log}"
        self.address = f"127.0.0.1:{self.port}"

    @property
    def error_log(self) -> str:
        """What nginx wrote to its error log and standard error."""
        return "".join(path.read_text() for path in (self.dir / "stderr", self.dir / "error.log") if path.exists())

    def _start(self) -> None:
        program = shutil.which("nginx") or "/usr/sbin/nginx"
        config = self.dir / "nginx.conf"
        temporary = "\n".join(
            f"    {name}_temp_path {self.dir}/{name};" for name in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
        )
        user = "user root;" if os.getuid() == 0 else ""
        config.write_text(
            f"""daemon off;
worker_processes 1;
{user}
pid {self.dir}/nginx.pid;
error_log {self.dir}/error.log info;
events {{ worker_connections 1024; multi_accept on; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
{temporary}
    {self._http}
    server {{
        listen 127.0.0.1:{self.port};
        server_name localhost;
        {self._server}
    }}
}}
"""
        )
        with (self.dir / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [program, "-p", str(self.dir), "-c", str(config), "-e", str(self.dir / "error.log")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )

    def _is_up(self) -> bool:
        def probe() -> str:
            if self.process.poll() is not None:
                return "gone"
            try:
                connect(f"127.0.0.1:{self.port}").close()
            except OSError:
                return ""
            return "up"

        return until("nginx answers", probe) == "up"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(f"--- error log of nginx ---\n{self.error_log}", file=sys.stderr)
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)


class Gate:
    """Two FIFOs between a test and a request in `apps/cases.py`: `/wait` says that it is there, and waits to go on."""

    def __init__(self, folder: Path) -> None:
        name = uuid.uuid4().hex[:8]
        self.started, self.go = folder / f"{name}.started", folder / f"{name}.go"
        os.mkfifo(self.started)
        os.mkfifo(self.go)
        # Open for both directions, so that opening waits for nobody and the reader sees no end of file.
        self._started = os.open(self.started, os.O_RDWR | os.O_NONBLOCK)
        self._go = os.open(self.go, os.O_RDWR)

    @property
    def target(self) -> str:
        """The request target that goes through this gate."""
        return f"/wait?started={self.started}&go={self.go}"

    def entered(self, deadline_s: float = 10.0) -> int:
        """Wait until a request stands at the gate; the process id of its worker."""

        def probe() -> bytes:
            try:
                return os.read(self._started, 64)
            except BlockingIOError:
                return b""

        return int(until("a request at the gate", probe, deadline_s))

    def open(self, count: int = 1) -> None:
        """Let `count` requests go on."""
        os.write(self._go, b"." * count)

    def close(self) -> None:
        """Close the test's ends."""
        os.close(self._started)
        os.close(self._go)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()
