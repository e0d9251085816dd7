"""Slow, silent and vanishing clients: they cost no app thread, little memory, and nobody else anything.

The instance has one worker with one thread, so that a single thread that waited for a client would show at once. In
`make stress` the same clients run while the response times of an ordinary client are compared with its quiet ones.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import socket
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.e2e.abuse.attacks import KINDS, Attack, cap_bytes, number_of
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, get, request_bytes, uwsgi_packet, uwsgi_request, uwsgi_variables
from tests.e2e.harness import Penstock, processor_s_of_others, rss_bytes, until

MIB = 1 << 20
# What the worker may grow by for other reasons than the connections.
SLACK = 12 * MIB


@pytest.fixture(scope="module")
def server() -> Iterator[Penstock]:
    """One worker with one thread, and no request log."""
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--listen", "4096")
    # A client that is gone without a word still sends its body, for all that the worker knows at the end.
    with Penstock(
        *listen, "--worker-reload-mercy", "2", "--wsgi-file", APP, "--master", "--disable-logging"
    ) as instance:
        yield instance


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def attack(server: Penstock, kinds: Iterable[str], scale: float = 1.0, *, begun: bool = True) -> Attack:
    return Attack(kinds, server.http, server.uwsgi, scale, begun=begun)


def group_of(kind: str) -> str:
    """Kinds that run together in the short version."""
    if kind in ("silent", "kept"):
        return "idle"
    return "uwsgi" if KINDS[kind].uwsgi else "slow" if KINDS[kind].end == "close" else "leaving"


@pytest.mark.parametrize("group", ["idle", "slow", "leaving", "uwsgi"])
def test_others_are_served_meanwhile(unharmed: Penstock, group: str) -> None:
    kinds = [kind for kind in KINDS if group_of(kind) == group]
    scale = 1.0 if group == "idle" else 0.4
    served_meanwhile(unharmed, kinds, scale)


def served_meanwhile(server: Penstock, kinds: list[str], scale: float) -> None:
    (worker,) = server.workers()
    files, memory = open_files(worker), rss_bytes(worker)
    with attack(server, kinds, scale) as running:
        with Connection(server.http) as kept:
            for _ in range(50):
                assert kept.request("GET", "/kept").body == b"GET 0"
        for _ in range(20):
            assert get(server.http, "/new").body == b"GET 0"
            assert uwsgi_request(server.uwsgi, "/packet").body == b"GET 0"
        grown = rss_bytes(worker) - memory
        assert grown < cap_bytes(kinds, scale) + SLACK, f"{grown / MIB:.1f} MiB more"
        assert running.is_running
    # The server can not know that these are gone: it keeps a connection and the file of its body for each.
    unknown = sum(2 * number_of(kind, scale) for kind in kinds if KINDS[kind].end == "silent")
    until("the connections are closed", lambda: open_files(worker) <= files + unknown)


def test_the_first_flood_finds_a_table_of_descriptors_that_need_not_grow(server: Penstock) -> None:
    """Where threads share it, each doubling of the table stops the thread that accepts for 5 to 15 ms."""
    (worker,) = server.workers()
    status = Path(f"/proc/{worker}/status").read_text()
    (slots,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("FDSize:"))
    limit, _ = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    assert slots >= min(limit, 8192)


# -- timeouts ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def impatient() -> Iterator[Penstock]:
    """An instance that waits a second for everything, and two for the next request."""
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    times = ("--http-headers-timeout", "1", "--socket-timeout", "1", "--http-keepalive", "2")
    with Penstock(*listen, *times, "--wsgi-file", APP, "--master") as instance:
        yield instance


def test_every_wait_for_a_client_ends_and_progress_prolongs_it() -> None:
    """All waits at once: what came when each connection ended, not before its second was over and not much later."""
    packet = uwsgi_packet(uwsgi_variables("/slow", "POST", b"x" * 10), b"x")
    body = request_bytes("POST", "/slow", {"Content-Length": "40"})
    chunks = request_bytes("POST", "/slow", {"Transfer-Encoding": "chunked"})
    head = b"GET /slow HTTP/1.1\r\nHost: localhost\r\nX: "
    waits = {
        # Name: what is sent, whether over uwsgi, what is dripped, and how the answer begins.
        "nothing": (b"", False, b"", b""),
        "head": (head, False, b"", b"HTTP/1.1 408 "),
        "head-dripping": (head, False, b"x", b"HTTP/1.1 408 "),
        "kept": (request_bytes("GET", "/one"), False, b"", b"HTTP/1.1 200 "),
        "next-head": (request_bytes("GET", "/one") + head, False, b"", b"HTTP/1.1 200 "),
        "body": (body + b"x", False, b"", b"HTTP/1.1 408 "),
        "body-in-chunks": (chunks + b"1\r\nx\r\n", False, b"", b"HTTP/1.1 408 "),
        "trailer": (chunks + b"0\r\nX: ", False, b"", b"HTTP/1.1 408 "),
        "uwsgi-nothing": (b"", True, b"", b""),
        "uwsgi-header": (packet[:3], True, b"", b"HTTP/1.1 408 "),
        "uwsgi-block": (packet[:50], True, b"", b"HTTP/1.1 408 "),
        "uwsgi-body": (packet, True, b"", b"HTTP/1.1 408 "),
        # These make progress, and are answered although they take longer than a second.
        "body-dripping": (body, False, b"x", b"HTTP/1.1 200 "),
    }
    with impatient() as server, contextlib.ExitStack() as stack:
        begun = time.monotonic()
        open_ones = {}
        for name, (first, over_uwsgi, _, _) in waits.items():
            connection = Connection(server.uwsgi if over_uwsgi else server.http)
            open_ones[stack.enter_context(connection).send(first).sock] = name
        answers = dict.fromkeys(waits, b"")
        ended: dict[str, float] = {}
        while open_ones and time.monotonic() < begun + 12:
            for sock in select.select(list(open_ones), [], [], 0.08)[0]:
                name = open_ones[sock]
                data = sock.recv(65536)
                answers[name] += data
                if not data:
                    ended[name] = time.monotonic() - begun
                    del open_ones[sock]
            for sock, name in open_ones.items():
                if not answers[name]:
                    with contextlib.suppress(OSError):
                        sock.send(waits[name][2])
        assert set(ended) == set(waits), "a wait has no end"
        for name, (*_, expected) in waits.items():
            assert answers[name].startswith(expected), f"{name}: {answers[name][:100]!r}"
            assert bool(answers[name]) == bool(expected), f"{name}: {answers[name][:100]!r}"
            # Half a second is how often deadlines are looked at; the rest is for a busy machine.
            assert 0.9 <= ended[name] < 8, f"{name} ended after {ended[name]:.2f} s"
        assert ended["body-dripping"] > 2
        assert answers["next-head"].count(b"HTTP/1.1 ") == 2, "the second request is answered with 408"


def test_a_reader_that_stops_is_cut_and_a_slow_one_is_not() -> None:
    target = "/large?kib=4096&pieces=1"
    with impatient() as server, contextlib.ExitStack() as stack:
        for over_uwsgi in (False, True):
            connection = stack.enter_context(Connection(server.uwsgi if over_uwsgi else server.http))
            connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            data = uwsgi_packet(uwsgi_variables(target)) if over_uwsgi else request_bytes("GET", target)
            since = len(server.log)
            connection.send(data)
            # It takes nothing: it is cut, and the only thread is free for the next.
            server.wait_log("took nothing of its response for too long", 12.0, since)
        assert get(server.http, "/next").status == 200
        slow = stack.enter_context(Connection(server.http))
        slow.send(request_bytes("GET", "/large?kib=16384&pieces=1", {"Connection": "close"}))
        begun, count = time.monotonic(), 0
        while data := slow.sock.recv(MIB // 8):
            # It takes longer than the timeout, and some of it all the time.
            select.select([], [], [], 0.025)
            count += len(data)
        assert count > 16 * MIB, "a reader that makes progress gets everything"
        assert time.monotonic() - begun > 1.5


def test_large_responses_that_nobody_reads_take_no_app_thread() -> None:
    """One thread, and six clients that do not read 24 MiB each: what memory does not keep is spooled."""
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APP, "--master") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        get(server.http, "/large?kib=24576&pieces=1")
        memory = rss_bytes(worker)
        readers = []
        for _ in range(6):
            reader = stack.enter_context(Connection(server.http))
            readers.append(reader.send(request_bytes("GET", "/large?kib=24576&pieces=1")))
            assert get(server.http, "/next").body == b"GET 0"
        assert rss_bytes(worker) - memory < 16 * MIB, "six times response-buffer, and some more"
        # All of it is there, whenever they read on.
        for reader in readers:
            assert len(reader.read().body) == 24 * MIB


# -- for `make stress` -------------------------------------------------------------------------------------------------

RUNS = 5
FLOOR_MS = 5.0
FACTOR = 3
REQUESTS = 1000
# Of one processor. With more, a run says how long others made the client wait for a processor, and not the server.
OTHERS_MOST = 0.1
PATIENCE_S = 20.0


class Run:
    """One run of an ordinary client: its p99, and what others did meanwhile."""

    def __init__(self, server: Penstock, attack: Attack | None = None) -> None:
        pids = [os.getpid(), *server.processes()]
        if attack:
            pids.append(attack.process.pid)
        others_s, begun = processor_s_of_others(pids), time.monotonic()
        self.p99_ms = p99_ms(server.http, attack)
        self.others = (processor_s_of_others(pids) - others_s) / (time.monotonic() - begun)


def p99_ms(address: str, attack: Attack | None) -> float:
    """Response time that 99 of 100 requests of an ordinary client keep within, half of them on new connections.

    The attack begins with the first of them, and those count that are asked while its clients connect.
    """
    times: list[float] = []
    with Connection(address) as kept:
        if attack:
            attack.begin()
        since = 0
        while len(times) < since + REQUESTS:
            begun = time.perf_counter()
            if len(times) % 2:
                assert kept.request("GET", "/kept").status == 200
            else:
                assert get(address, "/new").status == 200
            times.append(time.perf_counter() - begun)
            if attack and not attack.established and not attack.is_established:
                since = len(times)
    return sorted(times)[int(len(times) * 0.99)] * 1000


@pytest.mark.stress
@pytest.mark.parametrize("kind", KINDS)
def test_stress_response_times_stay(unharmed: Penstock, kind: str) -> None:
    """The median of five runs during the attack stays within three times the quiet one, or within 5 ms.

    Runs without and with it alternate. A pair counts whatever it measured, unless somebody else used the machine.
    """
    quiet, during, busy = [], [], []
    deadline = time.monotonic() + PATIENCE_S
    while len(during) < RUNS and time.monotonic() < deadline:
        before = Run(unharmed)
        with attack(unharmed, [kind], begun=False) as running:
            meanwhile = Run(unharmed, running)
            assert running.is_running
        if (others := max(before.others, meanwhile.others)) > OTHERS_MOST:
            busy.append(others)
            continue
        quiet.append(before.p99_ms)
        during.append(meanwhile.p99_ms)
    if len(during) < RUNS:
        pytest.skip(f"others use {statistics.median(busy):.1f} processors of this machine: nothing can be said")
    found = f"p99 in ms: {sorted(quiet)} when it is quiet, {sorted(during)} during the attack"
    assert statistics.median(during) <= max(FACTOR * statistics.median(quiet), FLOOR_MS), found


@pytest.mark.stress
@pytest.mark.parametrize("kind", KINDS)
def test_stress_each_kind_alone(unharmed: Penstock, kind: str) -> None:
    served_meanwhile(unharmed, [kind], 1.0)


@pytest.mark.stress
def test_stress_all_kinds_at_once(unharmed: Penstock) -> None:
    served_meanwhile(unharmed, list(KINDS), 0.5)
