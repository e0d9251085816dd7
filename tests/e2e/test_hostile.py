"""Clients and apps that mean harm, or know no better: nobody else may notice, and the server comes through unchanged.

Starvation (pipelines, kept connections, dripping and unread bytes), connections that end at the worst moment, apps
that fork, descriptors that run out, and responses that must never be lost or mixed up while connections move between
workers. What a single malformed request is answered with is in test_http.py.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import (
    Connection,
    Cut,
    chunked,
    connect,
    get,
    request_bytes,
    uwsgi_request,
)
from tests.e2e.harness import Gate, Penstock, rss_bytes, until

MIB = 1 << 20
APP = '''
import os
import sys
import threading
from urllib.parse import parse_qs

TEXT = [("Content-Type", "text/plain")]
KEPT = []


def say(start_response, body):
    start_response("200 OK", [*TEXT, ("Content-Length", str(len(body)))])
    return [body]


def application(environ, start_response):
    query = {key: values[-1] for key, values in parse_qs(environ["QUERY_STRING"]).items()}
    return globals()[environ["PATH_INFO"].strip("/").split("/")[0]](environ, start_response, query)


def pid(environ, start_response, query):
    return say(start_response, str(os.getpid()).encode())


def echo(environ, start_response, query):
    """The target and the body; `ms` of work before."""
    if "ms" in query:
        threading.Event().wait(int(query["ms"]) / 1000)
    return say(start_response, environ["REQUEST_URI"].encode() + b" " + environ["wsgi.input"].read())


def wait(environ, start_response, query):
    """Tell the test that the request is here, and go on when it says so."""
    with open(query["started"], "wb", buffering=0) as started:
        started.write(f"{os.getpid()}\\n".encode())
    with open(query["go"], "rb", buffering=0) as go:
        go.read(1)
    return say(start_response, b"waited")


def large(environ, start_response, query):
    start_response("200 OK", TEXT)
    return (bytes(65536) for _ in range(int(query["mib"]) * 16))


def file(environ, start_response, query):
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](open(query["path"], "rb"))


def fork(environ, start_response, query):
    """A child that leaves in one of the ways that people write; the parent tells its status."""
    child = os.fork()
    if not child:
        if query["how"] == "exit":
            sys.exit(3)
        if query["how"] == "raise":
            raise RuntimeError("raised in the child")
        return say(start_response, b"from the child")
    return say(start_response, str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def background(environ, start_response, query):
    """A child that outlives the request, until the test opens the gate; the response ends with the connection."""
    if not os.fork():
        with open(query["go"], "rb", buffering=0) as go:
            go.read(1)
        os._exit(0)
    start_response("200 OK", TEXT)
    return iter([b"from the parent"])


def late(environ, start_response, query):
    """A thread that calls start_response and write when the request is long over."""
    writer = start_response("200 OK", TEXT)
    KEPT.append((start_response, writer))
    return [b"in time"]


def too_late(environ, start_response, query):
    """What the calls that `late` kept raise now, from a thread."""
    found = []

    def call():
        for kept in KEPT:
            for callback, arguments in zip(kept, [("500 Late", []), (b"late",)]):
                try:
                    callback(*arguments)
                    found.append("nothing")
                except Exception as error:
                    found.append(type(error).__name__)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    return say(start_response, " ".join(found).encode())


def gone(environ, start_response, query):
    os._exit(9)
'''

PID = request_bytes("GET", "/pid")


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("hostile") / "app.py"
    path.write_text(APP)
    return path


@pytest.fixture(scope="module")
def start(app: Path) -> Callable[..., Penstock]:
    """Start the app on HTTP and uwsgi with `processes`, `threads` and further arguments."""

    def make(processes: int = 1, threads: int = 1, *more: str | Path, prefix: tuple[str, ...] = ()) -> Penstock:
        listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--wsgi-file", app, "--master")
        size = ("--processes", str(processes), "--threads", str(threads))
        return Penstock(*listen, *size, "--disable-logging", *more, prefix=prefix)

    return make


@pytest.fixture(scope="module")
def server(start: Callable[..., Penstock]) -> Iterator[Penstock]:
    with start() as instance:
        yield instance


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_s(pid: int) -> float:
    """Processor time of process `pid` so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def in_threads(work: Callable[[int, threading.Event], None], count: int) -> Iterator[None]:
    """Run `work(number, stop)` in `count` threads; an exception of one is raised at the end."""
    stop = threading.Event()
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number, stop)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    if errors:
        raise errors[0]


def answered_within(address: str, limit_s: float) -> None:
    """A new connection's request is answered in less than `limit_s`."""
    begun = time.monotonic()
    with Connection(address, timeout_s=limit_s) as connection:
        assert connection.request("GET", "/pid").status == 200
    assert time.monotonic() - begun < limit_s


# -- starvation --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2])
def test_a_pipeline_does_not_keep_others_waiting(start: Callable[..., Penstock], threads: int) -> None:
    count = 1500
    with start(1, threads) as server, Connection(server.http) as greedy:
        greedy.send(request_bytes("GET", "/echo?ms=2") * count)
        greedy.read()
        for _ in range(5):
            answered_within(server.http, 1.5)
        for _ in range(count - 1):
            assert greedy.read().body == b"/echo?ms=2 "


def test_kept_connections_do_not_keep_new_ones_waiting(start: Callable[..., Penstock]) -> None:
    with start(1, 2) as server:

        def ask(number: int, stop: threading.Event) -> None:
            with Connection(server.http) as connection:
                while not stop.is_set():
                    assert connection.request("GET", "/echo?ms=10").status == 200

        with in_threads(ask, 8):
            for _ in range(5):
                answered_within(server.http, 2.0)


def test_ten_thousand_requests_in_one_write(server: Penstock) -> None:
    count = 10_000
    with Connection(server.http) as connection:

        def write(number: int, stop: threading.Event) -> None:
            connection.send(b"".join(request_bytes("GET", f"/echo?n={n}") for n in range(count)))

        with in_threads(write, 1):
            for n in range(count):
                assert connection.read().body == b"/echo?n=%d " % n


@pytest.mark.option("http-headers-timeout")
def test_dripping_clients_cost_nobody_anything(start: Callable[..., Penstock]) -> None:
    with start(1, 1, "--http-headers-timeout", "2") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        before = open_files(worker)
        drips = [stack.enter_context(connect(server.http)) for _ in range(200)]
        for drip in drips:
            drip.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Drip: ")
        with Connection(server.http) as working:
            longest = 0.0

            def cut() -> bool:
                nonlocal longest
                begun = time.monotonic()
                assert working.request("GET", "/pid").status == 200
                longest = max(longest, time.monotonic() - begun)
                for drip in drips:
                    with contextlib.suppress(OSError):
                        drip.send(b"x")
                return open_files(worker) <= before + 1

            # A byte now and then buys no more time.
            until("the dripping connections are cut", cut, 8.0)
        assert longest < 1.0
        assert drips[0].recv(64).startswith(b"HTTP/1.1 408 ")


def test_byte_by_byte(server: Penstock) -> None:
    request = request_bytes("POST", "/echo", [("Transfer-Encoding", "chunked")], chunked(b"abc", b"defg"))
    with Connection(server.http) as connection:
        for byte in request * 2:
            connection.send(bytes([byte]))
        assert [connection.read().body, connection.read().body] == [b"/echo abcdefg"] * 2


def test_clients_that_do_not_read_are_given_up(start: Callable[..., Penstock]) -> None:
    with start(1, 2, "--socket-timeout", "1") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        before, memory = open_files(worker), rss_bytes(worker)
        for _ in range(2):
            stack.enter_context(Connection(server.http)).send(request_bytes("GET", "/large?mib=100"))
        until("both threads are busy", lambda: open_files(worker) >= before + 2)
        assert get(server.http, "/pid").status == 200
        assert rss_bytes(worker) - memory < 16 * MIB
        until("their connections are cut", lambda: open_files(worker) <= before, 5.0)


@pytest.mark.parametrize(("processes", "threads"), [(1, 2), (1, 8), (2, 1), (2, 2)])
def test_slow_requests_leave_the_last_free_thread_to_fast_ones(
    start: Callable[..., Penstock], short_dir: Path, processes: int, threads: int
) -> None:
    slow = processes * threads - 1
    with start(processes, threads) as server, Gate(short_dir) as gate, contextlib.ExitStack() as stack:
        kept = stack.enter_context(Connection(server.http))
        waiting = []
        for _ in range(slow):
            waiting.append(stack.enter_context(Connection(server.http)).send(request_bytes("GET", gate.target)))
            gate.entered()
        begun = time.monotonic()
        for _ in range(30):
            assert kept.request("GET", "/pid").status == 200
            assert get(server.http, "/pid").status == 200
        assert time.monotonic() - begun < 3.0
        gate.open(slow)
        assert [connection.read().body for connection in waiting] == [b"waited"] * slow


def test_a_request_that_waits_for_a_thread_is_not_cut_by_the_keep_alive_timeout(
    start: Callable[..., Penstock], gate: Gate
) -> None:
    with start(1, 1, "--http-keepalive", "2") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        kept = stack.enter_context(Connection(server.http))
        kept.request("GET", "/pid")
        slow = stack.enter_context(Connection(server.http)).send(request_bytes("GET", gate.target))
        gate.entered()
        kept.send(PID)
        busy = cpu_s(worker)
        ended, _, _ = select.select([kept.sock], [], [], 3.0)
        assert not ended, "closed while its request waited"
        assert cpu_s(worker) - busy < 0.3, "waiting takes no processor time"
        gate.open()
        assert slow.read().body == b"waited"
        assert kept.read().status == 200


# -- connections that end ----------------------------------------------------------------------------------------------


def test_the_end_of_a_stream_that_comes_with_a_request_is_noticed(server: Penstock, gate: Gate) -> None:
    with Connection(server.http, timeout_s=5.0) as half, Connection(server.http) as slow:
        # It is watched from now on, and nobody looks while the only thread is busy: data and end arrive as one event.
        half.request("GET", "/pid")
        half.request("GET", "/pid")
        slow.send(request_bytes("GET", gate.target))
        gate.entered()
        half.send(PID)
        half.sock.shutdown(socket.SHUT_WR)
        gate.open()
        assert slow.read().body == b"waited"
        assert half.read().status == 200
        assert half.is_closed()


def test_clients_that_vanish_leave_nothing_behind(server: Penstock) -> None:
    (worker,) = server.workers()
    before = open_files(worker)
    choice = random.Random(1)
    reset = struct.pack("ii", 1, 0)
    for number in range(120):
        body = bytes(choice.choice([10, 100_000, 2 * MIB]))
        data = request_bytes("POST", "/echo", (), body) if number % 2 else request_bytes("GET", "/large?mib=2")
        with connect(server.http) as client:
            with contextlib.suppress(OSError):
                client.sendall(data[: choice.randrange(1, len(data) + 1)] if number % 3 else data)
            if number % 4:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
    until("their descriptors are closed", lambda: open_files(worker) <= before)
    assert get(server.http, "/pid").text == str(worker)


@pytest.mark.parametrize("size", [1, 20])
def test_a_413_is_readable_while_the_client_sends_on(start: Callable[..., Penstock], size: int) -> None:
    with start(1, 1, "--limit-post", "1000") as server, connect(server.http) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (size * MIB))
        with contextlib.suppress(OSError):
            client.sendall(bytes(size * MIB))
        assert client.recv(64).startswith(b"HTTP/1.1 413 ")


def test_the_last_response_of_a_worker_says_so(start: Callable[..., Penstock], gate: Gate) -> None:
    with start() as server, Connection(server.http) as client:
        client.send(request_bytes("GET", gate.target))
        gate.entered()
        server.send(signal.SIGTERM)
        until("the address refuses", lambda: not accepts(server.http))
        gate.open()
        response = client.read()
        assert response.body == b"waited"
        # Otherwise the client may send its next request into a closed connection.
        assert response.header("connection") == "close"
        assert client.is_closed()
        assert server.wait_exit() == 0


def accepts(address: str) -> bool:
    try:
        connect(address).close()
    except OSError:
        return False
    return True


def test_running_out_of_descriptors_passes(start: Callable[..., Penstock]) -> None:
    limited = ("sh", "-c", 'ulimit -n 64; exec "$@"', "sh")
    with start(1, 2, prefix=limited) as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        clients = [stack.enter_context(Connection(server.http)).send(PID) for _ in range(120)]
        server.wait_log(r"accept\(\) on .* failed: Too many open files")
        assert [client.read().status for client in clients[:30]] == [200] * 30
        for client in clients[:80]:
            client.close()
        # Those that waited in the kernel's queue are served as soon as there is room.
        assert [client.read().status for client in clients[80:]] == [200] * 40
        assert server.workers() == [worker]


# -- apps --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("how", "status"), [("exit", "3"), ("raise", "1"), ("return", "0")])
def test_a_forked_child_that_comes_back_does_not_serve(start: Callable[..., Penstock], how: str, status: str) -> None:
    with start() as server:
        (worker,) = server.workers()
        with Connection(server.http, timeout_s=5.0) as client:
            assert client.request("GET", f"/fork?how={how}").text == status
            assert client.request("GET", "/pid").text == str(worker)
        assert server.workers() == [worker]


def test_a_child_of_the_app_does_not_hold_the_connection(start: Callable[..., Penstock], gate: Gate) -> None:
    with start() as server:
        try:
            # Both end with the connection: nothing else tells the client that the response is complete.
            assert uwsgi_request(server.uwsgi, f"/background?go={gate.go}").body == b"from the parent"
            with Connection(server.http, timeout_s=5.0) as client:
                client.send(f"GET /background?go={gate.go} HTTP/1.0\r\n\r\n".encode())
                assert client.read().body == b"from the parent"
        finally:
            gate.open(2)


def test_start_response_and_write_after_the_end_do_no_harm(server: Penstock) -> None:
    with Connection(server.http) as client:
        assert client.request("GET", "/late").body == b"in time"
        assert client.request("GET", "/too_late").body == b"ValueError ConnectionError"
        assert client.request("GET", "/pid").status == 200


def test_a_worker_that_ends_itself_takes_only_its_own_request(start: Callable[..., Penstock]) -> None:
    with start(2, 1) as server:
        with Connection(server.http) as client, pytest.raises((Cut, ConnectionResetError)):
            client.request("GET", "/gone")
        for _ in range(10):
            assert get(server.http, "/pid").status == 200
        until("a new worker", lambda: len(server.workers()) == 2)


def test_file_wrapper_around_a_file_without_a_size(server: Penstock) -> None:
    # The kernel makes the content while it is read, and says that the file has 0 bytes.
    assert get(server.http, "/file?path=/proc/version").body == Path("/proc/version").read_bytes()


# -- nothing lost, nothing mixed up ------------------------------------------------------------------------------------


class Checked:
    """Clients that give each request a name of its own, and check that its response is the one that comes."""

    def __init__(self, server: Penstock, unix: Path) -> None:
        self.server, self.unix = server, str(unix)
        self.lock = threading.Lock()
        self.answered = 0

    def client(self, number: int, stop: threading.Event) -> None:
        """By its number: kept, pipelined, closed, or uwsgi connections, over TCP or a unix socket."""
        choice = random.Random(number)
        address = self.unix if number % 2 else self.server.http
        if number % 4 == 3:
            serial = 0
            while not stop.is_set():
                serial += 1
                target, body = f"/echo?id={number}-{serial}", bytes(choice.choice([0, 3, 70_000]))
                method = "POST" if body else "GET"
                response = uwsgi_request(self.server.uwsgi, target, method, body)
                self.count(response.body, target, body)
            return
        connection: Connection | None = None
        serial = 0
        while not stop.is_set():
            connection = connection or Connection(address)
            batch = []
            for _ in range(choice.randint(1, 6) if number % 4 == 1 else 1):
                serial += 1
                slow = f"&ms={choice.choice([1, 5, 20])}" if choice.random() < 0.1 else ""
                batch.append((f"/echo?id={number}-{serial}{slow}", b"b" * choice.choice([0, 0, 10, 5000])))
            closes = number % 4 == 2
            fields = [("Connection", "close")] if closes else []
            data = b"".join(request_bytes("POST" if body else "GET", target, fields, body) for target, body in batch)
            cut = choice.randrange(1, len(data))
            connection.send(data[:cut]).send(data[cut:])
            for target, body in batch:
                response = connection.read()
                assert response.status == 200
                self.count(response.body, target, body)
                closes = closes or response.header("connection") == "close"
            if closes:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()

    def count(self, found: bytes, target: str, body: bytes) -> None:
        expected = target.encode() + b" " + body
        assert found == expected, f"{found[:60]!r} instead of {expected[:60]!r}"
        with self.lock:
            self.answered += 1


@pytest.mark.parametrize(("processes", "threads"), [(2, 1), (2, 2), (1, 3)])
def test_every_request_gets_its_own_response(
    start: Callable[..., Penstock], short_dir: Path, processes: int, threads: int
) -> None:
    unix = short_dir / "u"
    with start(processes, threads, "--http", unix) as server:
        workers = server.workers()
        before = [open_files(worker) for worker in workers]
        checked = Checked(server, unix)
        with in_threads(checked.client, 16):
            until("answers", lambda: checked.answered > 1500, 20.0)
        assert server.workers() == workers
        until("closed connections", lambda: [open_files(worker) for worker in workers] == before)


def test_every_request_gets_its_own_response_while_code_is_reloaded(
    start: Callable[..., Penstock], short_dir: Path
) -> None:
    unix = short_dir / "u"
    with start(2, 1, "--http", unix) as server:
        checked = Checked(server, unix)
        with in_threads(checked.client, 12):
            for _ in range(4):
                goal = checked.answered + 100
                server.reload()
                until("answers", lambda goal=goal: checked.answered > goal)  # type: ignore[misc]
