"""One measurement of one server in one case: start, check the answer, load, read the counters, stop."""

from __future__ import annotations

import http.client
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import nginx, wrk
from benchmarks.cases import Answer, Case, Closed, Entry, Idle, Memory, Open, Startup, Wrk
from benchmarks.prepare import FILE_10M, FLOOR, HERE, ROOT, STATIC, WORK, django
from benchmarks.process import (
    GENERATOR_CORE,
    SERVER_CORE,
    Process,
    connect,
    free_port,
    pinned,
    pss_mib,
    used_us,
)
from benchmarks.servers import SERVERS, Launch

WARM_S = 0.2
PATIENCE_S = 20.0
Sample = dict[str, float]
"""Metrics by name; the unit is the end of the name, rates are for a second, counts have none."""


class Failed(Exception):
    """The server did not do what the case asks for; the message says what it did instead."""


class _Connection(http.client.HTTPConnection):
    """HTTP to an address as the servers have them: HOST:PORT or the path of a unix socket."""

    def __init__(self, address: str) -> None:
        super().__init__("127.0.0.1", timeout=PATIENCE_S)
        self._address = address

    def connect(self) -> None:
        self.sock: socket.socket = connect(self._address, PATIENCE_S)


def ask(address: str, answer: Answer, *, close: bool = False) -> None:
    """Ask once on a new connection and compare. Raises Failed, OSError."""
    connection = _Connection(address)
    headers = {"Host": "127.0.0.1", **({"Connection": "close"} if close else {})}
    body = b"x" * answer.send if answer.send else None
    try:
        connection.request("POST" if body else "GET", answer.path, body, headers)
        response = connection.getresponse()
        got = response.read()
    except http.client.HTTPException as error:
        raise Failed(f"{answer.path}: {type(error).__name__} {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise Failed(f"{answer.path}: status {response.status} {got[:200]!r}")
    wanted = len(answer.body) if answer.body is not None else answer.size
    if not got or (wanted is not None and len(got) != wanted):
        raise Failed(f"{answer.path}: {len(got)} bytes of {wanted}")
    if answer.body is not None and got != answer.body:
        raise Failed(f"{answer.path}: {got[:200]!r} instead of {answer.body!r}")


def streams(address: str) -> bool:
    """Whether the first piece of a response arrives while the app has not made the second yet. Raises OSError."""
    with connect(address) as sock:
        sock.sendall(b"GET /streams HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        total, came_s = 0, []
        # The pieces have 4 KiB each, and a head is shorter than another.
        while total < 2 * 4096:
            data = sock.recv(65536)
            if not data:
                break
            total += len(data)
            came_s += [time.monotonic()] if total > 4096 else []
    return bool(came_s) and came_s[-1] - came_s[0] > 0.15


def warm(address: str, answer: Answer, *, close: bool) -> None:
    """Ask for a moment, so that what is done once has been done. Raises Failed, OSError."""
    ends_s = time.monotonic() + WARM_S
    while time.monotonic() < ends_s:
        ask(address, answer, close=close)


@contextmanager
def serving(case: Case, entry: Entry, commands: Path, under: Sequence[str] = ()) -> Iterator[tuple[Process, str]]:
    """A server of those in `commands`, and the address to load it at: its own or that of the nginx in front of it.

    `under` is a command that runs it. Raises CanNot, RuntimeError.
    """
    folder = WORK / "run" / entry.name.replace(" ", "-")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "app.sock"
    path.unlink(missing_ok=True)
    module, apps = (case.app, HERE / "apps") if case.app != "django" else ("penstock.demo.site.wsgi", WORK)
    log = case.log if entry.log is None else entry.log
    launch = Launch(
        commands=commands,
        floor=FLOOR,
        app=module,
        folder=apps,
        work=folder,
        address=str(path) if case.front else f"127.0.0.1:{free_port()}",
        protocol="uwsgi" if case.front == "uwsgi" else "http",
        connections=case.connections,
        processes=case.processes,
        threads=entry.threads or case.threads,
        log=folder / "requests.log" if log else None,
        static=STATIC if case.static else None,
    )
    process = Process(
        [*under, *SERVERS[entry.server].command(launch)],
        core=SERVER_CORE if case.pinned else None,
        log=folder / "output.log",
        cwd=folder,
        environment={
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": str(apps),
            "BENCHMARK_FILE": str(FILE_10M),
            **(django() if case.app == "django" else {}),
        },
    )
    try:
        process.wait_for(launch.address)
        if case.front:
            with _nginx_before(launch, folder) as front:
                yield process, front
        else:
            yield process, launch.address
    finally:
        process.stop()
        if launch.log:
            launch.log.unlink(missing_ok=True)


@contextmanager
def _nginx_before(launch: Launch, folder: Path) -> Iterator[str]:
    address = f"127.0.0.1:{free_port()}"
    inner = folder / "front"
    inner.mkdir(exist_ok=True)
    configuration = inner / "nginx.conf"
    configuration.write_text(nginx.before(inner, address, launch.address, protocol=launch.protocol))
    command = [nginx.program(), "-p", str(inner), "-c", str(configuration)]
    front = Process(command, core=GENERATOR_CORE, log=inner / "output.log", cwd=inner, environment=os.environ)
    try:
        front.wait_for(address)
        yield address
    finally:
        front.stop()


def generate(mode: str, address: str, **options: object) -> list[str]:
    """The command of the project's own load generator."""
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    return [sys.executable, "-m", "benchmarks.generator", mode, address, *words]


def load(mode: str, address: str, *, core: int | None, seconds: float, **options: object) -> dict[str, Any]:
    """Run the generator to its end; what it reports. Raises RuntimeError."""
    command = pinned(core, generate(mode, address, seconds=seconds, **options))
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 90, start_new_session=True
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(case: Case, entry: Entry, seconds: float, commands: Path) -> tuple[Sample, str]:
    """Measure once a server of those in `commands`; the metrics, and what went wrong though there is a result.

    Raises CanNot if the server has no way to do it, Failed if it does something else, RuntimeError and OSError if it
    does not start or stops.
    """
    with serving(case, entry, commands) as (process, address):
        try:
            return at(case, process, address, seconds)
        except OSError as error:
            # What the server says of it stands in its log.
            raise Failed(f"{type(error).__name__} {error}\n{process.log_end()}".strip()) from error


def at(case: Case, process: Process, address: str, seconds: float) -> tuple[Sample, str]:
    """Measure the server that listens at `address`; see `measure`."""
    close = case.connections == "closed"
    patiently(lambda: ask(address, case.answer, close=close))
    if isinstance(case.load, Startup):
        return {"startup_s": time.monotonic() - process.started_s}, ""
    if isinstance(case.load, Memory):
        return memory(process, address, case.load, seconds)
    if isinstance(case.load, Idle):
        return idle(process, address, case.answer, case.load.connections, seconds), ""
    probed = {"streams": float(streams(address))} if case.probes_streaming else {}
    warm(address, case.answer, close=close)
    sample, problem = loaded(case, process, address, seconds)
    # Whoever is broken by the load is not to be quick only because of that.
    try:
        ask(address, case.answer, close=close)
    except (Failed, OSError) as error:
        problem = f"{problem}; after the load: {error}".lstrip("; ")
    return {**probed, **sample}, problem


def loaded(case: Case, process: Process, address: str, seconds: float) -> tuple[Sample, str]:
    """Load the server as the case says; the metrics, `requests` among them. Raises Failed, RuntimeError."""
    sample: Sample = {}
    core = GENERATOR_CORE if case.pinned else None
    path, problem = case.answer.path, ""
    match case.load:
        case Wrk(connections, script, headers):
            before = process.cpu_us()
            seen = wrk.run(
                f"http://{address}{path}",
                seconds=seconds,
                connections=connections,
                core=core,
                script=str(HERE / script) if script else "",
                headers=headers,
            )
            used, count, problem = used_us(before, process.cpu_us()), seen.requests, seen.what
            sample |= {"rate": seen.rate, **seen.latency_ms}
            sample |= {"errors": seen.errors, "requests": count}
        case Closed(connections):
            before = process.cpu_us()
            result = load("closed", address, core=core, path=path, connections=connections, seconds=seconds)
            used, count, problem = used_us(before, process.cpu_us()), result["completed"], result["first_error"]
            sample |= {"rate": result["rate"], "errors": result["errors"], "requests": count, **_times(result["fast"])}
        case Open(rate, connections, slow_path, every):
            before = process.cpu_us()
            result = load(
                "open", address, core=core, path=path, slow_path=slow_path, connections=connections, rate=rate,
                every=every, seconds=seconds,
            )  # fmt: skip
            used, count, problem = used_us(before, process.cpu_us()), result["completed"], result["first_error"]
            sample |= {f"fast_{name}": value for name, value in _times(result["fast"]).items()}
            sample |= {f"slow_{name}": value for name, value in _times(result["slow"]).items()}
            sample |= {"waited": result["waited"], "late_p99_ms": result["late_p99_ms"]}
            sample |= {"rate": result["rate"], "errors": result["errors"], "requests": count}
        case Startup() | Memory() | Idle():
            raise Failed(f"{case.name} is not about load")
    if count == 0:
        raise Failed(f"answered nothing under load: {problem or process.log_end()}")
    sample |= {"cpu_us": used / count, "memory_mib": process.pss_mib()}
    return sample, problem


def _times(figures: dict[str, float]) -> Sample:
    return {name: value for name, value in figures.items() if name != "count"}


def patiently(probe: Callable[[], None]) -> None:
    """Try until it succeeds: a server may listen before it can answer. Raises what the last try raised."""
    ends_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return probe()
        except (Failed, OSError):
            if time.monotonic() > ends_s:
                raise
            time.sleep(0.005)


def memory(process: Process, address: str, wanted: Memory, seconds: float) -> tuple[Sample, str]:
    """What all processes take when every worker is there, and after load. Raises RuntimeError."""
    # Some answer while other workers still import the app: it is idle once it takes no more.
    ends_s, before, now = time.monotonic() + PATIENCE_S, 0.0, process.pss_mib()
    while abs(now - before) > 0.005 * now and time.monotonic() < ends_s:
        time.sleep(1.0)
        before, now = now, process.pss_mib()
    sample = {"idle_mib": now, "master_mib": pss_mib(process.pid)}
    result = load("closed", address, core=None, path=wanted.path, connections=wanted.connections, seconds=seconds)
    sample |= {"after_mib": process.pss_mib(), "errors": result["errors"], "requests": result["completed"]}
    return sample, result["first_error"]


def idle(process: Process, address: str, answer: Answer, connections: int, seconds: float) -> Sample:
    """What `connections` that were answered once and stay open add to the memory. Raises Failed, RuntimeError."""
    # What the first load makes a worker keep is not the connections' doing.
    load("closed", address, core=None, path=answer.path, connections=16, seconds=seconds)
    before = process.pss_mib()
    command = generate("idle", address, path=answer.path, connections=connections)
    flood = subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert flood.stdin and flood.stdout and flood.stderr
    try:
        if not select.select([flood.stdout], [], [], 90)[0]:
            raise Failed(f"{connections} connections were not answered in 90 s")
        line = flood.stdout.readline()
        if not line:
            raise Failed(f"{connections} connections were not taken: {flood.stderr.read()[-500:]}")
        began = json.loads(line)
        after = process.pss_mib()
        ask(address, answer)
        flood.stdin.close()
        ended = json.loads(flood.stdout.readline())
    finally:
        flood.kill()
        flood.wait()
        for pipe in (flood.stdin, flood.stdout, flood.stderr):
            pipe.close()
    return {"growth_mib": after - before, "before_mib": before, "open": ended["open"], "errors": began["errors"]}


def allow_many_files() -> None:
    """Let the servers and the generators have as many descriptors as this user may."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
