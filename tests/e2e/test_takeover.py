"""Calls that keep the thread of the loop: others are served meanwhile, whatever it holds, and no answer is kept back.

The app holds the interpreter's lock for as long as the test wants: `ctypes.PyDLL` calls the C library without giving it
back. Whatever a worker does beside such a call, it has to do without Python.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, request_bytes
from tests.e2e.harness import Gate, Penstock, until
from tests.e2e.load import Load

KIB, MIB = 1 << 10, 1 << 20
APP = '''
import ctypes
import os
import time
from urllib.parse import parse_qs

KEEPING = ctypes.PyDLL(None)
LARGE = bytes(12 << 20)


def application(environ, start_response):
    name = environ["PATH_INFO"].strip("/").split("/")[0]
    query = {key: values[-1] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    body = globals()[name](query, environ["wsgi.input"].read())
    start_response("200 OK", [] if name == "pieces" else [("Content-Length", str(len(body)))])
    return body if name == "pieces" else [body]


def hello(query, body):
    return b"hello"


def pid(query, body):
    return b"%d" % os.getpid()


def size(query, body):
    return b"%d" % len(body)


def large(query, body):
    """The same object each time, which is kept and not copied."""
    return LARGE


def pieces(query, body):
    return (b"p" * int(query["each"]) for _ in range(int(query["count"])))


def wait(query, body):
    """As any call that waits: the interpreter's lock is given back."""
    with open(query["started"], "wb", buffering=0) as started:
        started.write(b"%d\\n" % os.getpid())
    with open(query["go"], "rb", buffering=0) as go:
        go.read(1)
    return b"waited"


def keep(query, body):
    """Wait as `wait`, and never give the interpreter's lock back."""
    go = os.open(query["go"], os.O_RDONLY)
    with open(query["started"], "wb", buffering=0) as started:
        started.write(b"%d\\n" % os.getpid())
        KEEPING.read(go, ctypes.create_string_buffer(1), 1)
    os.close(go)
    return b"waited"


def nap(query, body):
    """Keep the interpreter's lock for `us` microseconds, without using a processor."""
    KEEPING.usleep(int(query["us"]))
    return b"napped"


def compute(query, body):
    end = time.monotonic() + int(query["ms"]) / 1000
    while time.monotonic() < end:
        pass
    return b"computed"
'''
WAYS = ["wait", "keep"]


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("takeover") / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture
def start(app: Path, tmp_path: Path) -> Iterator[Callable[..., Penstock]]:
    (tmp_path / "small.txt").write_bytes(b"static")
    (tmp_path / "large.bin").write_bytes(bytes(MIB))
    with contextlib.ExitStack() as stack:

        def begin(*more: str | Path) -> Penstock:
            listen = ("--http", "127.0.0.1:0", "--wsgi-file", app, "--static-map", f"/static={tmp_path}")
            return stack.enter_context(Penstock(*listen, "--master", *more))

        yield begin


def via(gate: Gate, way: str) -> str:
    """The target of a request that waits at `gate`."""
    return gate.target.replace("/wait", f"/{way}")


def served_without_python(server: Penstock) -> None:
    """What the worker does itself: files, refusals, bodies that it takes, connections that come and go."""
    with Connection(server.http, 5.0) as connection:
        assert connection.request("GET", "/static/small.txt").body == b"static"
        assert len(connection.request("GET", "/static/large.bin").body) == MIB
    with Connection(server.http, 5.0) as connection:
        assert connection.send(b"GET / HTTP/1.1\r\nHost : x\r\n\r\n").read().status == 400
        assert connection.is_closed()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_keeps_the_interpreter_keeps_nobody_else(
    start: Callable[..., Penstock], gate: Gate, way: str, threads: int
) -> None:
    """Again and again, so that each thread has led and lost the loop; at the end everybody has an answer."""
    server = start("--threads", str(threads), "--response-buffer", str(16 * MIB))
    for turn in range(1, 4):
        with contextlib.ExitStack() as stack:
            busy, kept, upload, reader, gone = (
                stack.enter_context(Connection(server.http, 10.0, receive_bytes=size))
                for size in (0, 0, 0, 16 * KIB, 16 * KIB)
            )
            # Objects of Python that wait in the worker for their clients, and leave while Python can not be asked.
            for waiting in (reader, gone):
                waiting.send(request_bytes("GET", "/large"))
            until("the app's part is over", lambda: server.log.count("GET /large") == 2 * turn)  # noqa: B023
            assert kept.request("GET", "/hello").body == b"hello"
            busy.send(request_bytes("GET", via(gate, way)))
            gate.entered()
            gone.close()
            assert len(reader.read().body) == 12 * MIB
            if threads > 1:
                # Whoever has no thread left takes nothing new.
                served_without_python(server)
            upload.send(request_bytes("POST", "/size", (), b"b" * (2 * MIB)))
            kept.send(request_bytes("GET", "/hello"))
            gate.open()
            assert busy.read().body == b"waited"
            assert kept.read().body == b"hello"
            assert upload.read().body == b"%d" % (2 * MIB)
    assert len(server.workers()) == 1 and "Traceback" not in server.log


def test_locks_that_are_taken_with_the_interpreters_lock_and_without_it_never_meet(
    start: Callable[..., Penstock],
) -> None:
    """Streams that are written with the lock held and flushed without it, beside calls that keep it for a moment."""
    server = start("--threads", "4", "--response-buffer", "65536", "--disable-logging")
    targets = (
        "/pieces?each=700&count=400",
        "/pieces?each=40000&count=40",
        "/nap?us=700",
        "/nap?us=3000",
        "/large",
        "/hello",
    )
    faults: list[str] = []

    def client(number: int) -> None:
        try:
            with Connection(server.http, 20.0, receive_bytes=32 * KIB if number % 2 else 0) as connection:
                for turn in range(25):
                    target = targets[(number + turn) % len(targets)]
                    response = connection.request("GET", target)
                    expected = {"p": 400 * 700 if "700&" in target else 1_600_000, "l": 12 * MIB}.get(target[1])
                    if expected is not None and len(response.body) != expected:
                        faults.append(f"{target}: {len(response.body)}")
        except (OSError, Cut, AssertionError) as error:
            faults.append(f"client {number}: {type(error).__name__}: {error}")

    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "somebody waits for ever"
    assert faults == []


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", [*WAYS, "compute"])
def test_an_answer_does_not_wait_for_the_slow_request_behind_it(
    start: Callable[..., Penstock], gate: Gate, way: str, threads: int
) -> None:
    """Answers of a pipeline leave together, but no later than a call is known to be slow."""
    server = start("--threads", str(threads))
    waits = []
    with Connection(server.http) as connection:
        for _ in range(5):
            slow = "/compute?ms=300" if way == "compute" else via(gate, way)
            begun = time.monotonic()
            connection.send(request_bytes("GET", "/hello") * 3 + request_bytes("GET", slow))
            assert [connection.read().body for _ in range(3)] == [b"hello"] * 3
            waits.append(time.monotonic() - begun)
            if way != "compute":
                gate.entered()
                gate.open()
            assert connection.read().body == (b"computed" if way == "compute" else b"waited")
    # A machine that does something else as well may delay some of them.
    assert statistics.median(waits) < 0.1, waits


@pytest.mark.parametrize("threads", [1, 2])
def test_an_answer_does_not_wait_for_the_body_of_the_next_request(start: Callable[..., Penstock], threads: int) -> None:
    server = start("--threads", str(threads))
    waits = []
    for _ in range(5):
        with Connection(server.http) as connection:
            begun = time.monotonic()
            unfinished = request_bytes("POST", "/size", (), b"12345")[:-1]
            connection.send(request_bytes("GET", "/hello") * 2 + unfinished)
            assert [connection.read().body for _ in range(2)] == [b"hello"] * 2
            waits.append(time.monotonic() - begun)
            assert connection.send(b"5").read().body == b"5"
    assert statistics.median(waits) < 0.1, waits


def test_the_first_answer_of_a_pipeline_does_not_wait_for_many_more(start: Callable[..., Penstock]) -> None:
    """Twenty calls of ten milliseconds each: the first answer leaves with the second at the latest."""
    server = start()
    shares = []
    for _ in range(5):
        with Connection(server.http) as connection:
            begun = time.monotonic()
            connection.send(request_bytes("GET", "/compute?ms=10") * 20)
            connection.read()
            first = time.monotonic() - begun
            for _ in range(19):
                connection.read()
            shares.append(first / (time.monotonic() - begun))
    assert statistics.median(shares) < 0.25, shares


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_with_a_stuck_request_takes_no_connections_that_another_can_serve(
    start: Callable[..., Penstock], gate: Gate, way: str
) -> None:
    server = start("--processes", "2")
    for _ in range(3):
        with contextlib.ExitStack() as stack:
            busy = stack.enter_context(Connection(server.http))
            busy.send(request_bytes("GET", via(gate, way)))
            stuck = gate.entered()
            before = open_files(stuck)
            for _ in range(40):
                connection = stack.enter_context(Connection(server.http, 5.0))
                assert int(connection.request("GET", "/pid").body) != stuck
            # At most the one that it took while it did not know yet, which it hands over as soon as it can be read.
            assert open_files(stuck) <= before + 1
            gate.open()
            assert busy.read().body == b"waited"


@pytest.mark.parametrize("way", WAYS)
def test_a_stuck_worker_with_a_thread_left_takes_only_what_that_thread_can_serve(
    start: Callable[..., Penstock], gate: Gate, way: str
) -> None:
    """It is killed under load: each client loses one request at most, and those in the kernel's queue none."""
    clients = 6
    server = start("--threads", "2", "--disable-logging")
    with Connection(server.http) as busy:
        (worker,) = server.workers()
        with Load(server.http, "/hello", clients) as load:
            load.more(50)
            busy.send(request_bytes("GET", via(gate, way)))
            gate.entered()
            if way == "wait":
                load.more(300)
            os.kill(worker, signal.SIGKILL)
            load.more(50)
            assert len(load.failures) <= clients, load.failures
    until("a new worker", lambda: server.workers() not in ([], [worker]))
