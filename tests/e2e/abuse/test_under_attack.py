"""What has to work while hostile clients are connected: reload, stop, hand-over of connections, statistics, control."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time
from pathlib import Path

import pytest

from tests.e2e.abuse import cases, judge
from tests.e2e.abuse.attacks import KINDS, Attack
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, connect, get, request_bytes
from tests.e2e.harness import Gate, Penstock, read_stats, rss_bytes, until
from tests.e2e.load import Load

MIB = 1 << 20
MIXED = ("silent", "kept", "slow-head", "slow-length", "slow-chunks", "no-reader", "pipeline", "uwsgi-slow-body")


def start(*more: str | Path) -> Penstock:
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0", "--listen", "4096")
    return Penstock(*listen, "--wsgi-file", APP, "--master", "--disable-logging", *more)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def test_reloads_lose_nothing_while_slow_clients_hang_on() -> None:
    with (
        start("--processes", "2", "--worker-reload-mercy", "3") as server,
        Attack(MIXED, server.http, server.uwsgi, 0.1),
        Load(server.http, "/load", 4) as load,
    ):
        for _ in range(3):
            load.more(30)
            server.reload()
            load.more(30)
        assert load.failures == []
        # The old ones do not wait for these clients longer than their mercy.
        until("two workers", lambda: len(server.workers()) == 2, 15.0)


def test_a_stop_does_not_wait_for_slow_clients_longer_than_its_mercy() -> None:
    with start("--worker-reload-mercy", "2") as server, Attack(MIXED, server.http, server.uwsgi, 0.1):
        get(server.http, "/before")
        begun = time.monotonic()
        server.send(signal.SIGTERM)
        assert server.wait_exit() == 0
        assert time.monotonic() - begun < 8.0


@pytest.mark.parametrize("threads", [1, 2])
def test_what_comes_while_every_thread_is_busy_is_sorted_out_later(short_dir: Path, threads: int) -> None:
    """Kept connections become readable while no worker is free, and some are bad, half or gone when one is."""
    with (
        start("--processes", "2", "--threads", str(threads)) as server,
        Gate(short_dir) as gate,
        contextlib.ExitStack() as stack,
    ):
        workers = server.workers()
        kept = [stack.enter_context(Connection(server.http)) for _ in range(100)]
        for connection in kept:
            connection.request("GET", "/kept")
        before = [open_files(worker) for worker in workers]
        slow = []
        for _ in range(2 * threads):
            slow.append(stack.enter_context(Connection(server.http)))
            slow[-1].send(request_bytes("GET", gate.target.replace("/wait", "/waits")))
            gate.entered()
        for number, connection in enumerate(kept):
            connection.send((
                request_bytes("GET", f"/good/{number}"),
                b"GET /bad HTTP/1.1\r\nHost : localhost\r\n\r\n",
                request_bytes("POST", "/half", {"Content-Length": "10"}) + b"half",
                request_bytes("GET", "/gone"),
                b"GET /begun HTTP/1.1\r\n",
            )[number % 5])  # fmt: skip
            if number % 5 == 3:
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
        gate.open(2 * threads)
        for number, connection in enumerate(kept):
            if number % 5 == 0:
                assert connection.read().body == b"GET 0"
            elif number % 5 == 1:
                assert connection.read().status == 400
            elif number % 5 == 2:
                assert connection.send(b" body.").read().body == b"POST 10"
            elif number % 5 == 4:
                assert connection.send(b"Host: localhost\r\n\r\n").read().body == b"GET 0"
        assert [connection.read().body for connection in slow] == [b"waited"] * len(slow)
        assert server.workers() == workers
        for connection in (*kept, *slow):
            connection.close()
        until("closed connections", lambda: sum(map(open_files, workers)) <= sum(before) - 100)


def test_the_master_does_not_wait_for_clients_of_its_own_sockets(short_dir: Path) -> None:
    """Statistics that nobody reads, rubbish on the control socket, and connections that say nothing."""
    stats = str(short_dir / "stats")
    with start("--stats", stats, "--processes", "2") as server, contextlib.ExitStack() as stack:
        before = rss_bytes(server.pid)
        sockets = [line.split()[-1] for line in Path("/proc/net/unix").read_text().splitlines() if "penstock" in line]
        control = [path for path in sockets if str(server.pid) in path]
        assert control, "the control socket is named after the master"
        rubbish = (b"", b"{", b"\0" * 70_000, b"[" * 70_000, b'{"command": 5}\n', b"{}\n\n\n")
        for number in range(200):
            with contextlib.suppress(OSError):
                stack.enter_context(connect(stats, 5.0))
            with contextlib.suppress(OSError):
                client = stack.enter_context(connect(control[0], 5.0))
                client.settimeout(0.05)
                client.sendall(rubbish[number % 6])
        assert get(server.http, "/served").status == 200
        server.reload()
        assert get(server.http, "/served").status == 200
        assert rss_bytes(server.pid) - before < 32 * MIB
        stack.close()
        until("statistics", lambda: read_stats(stats)["workers"], 15.0)


@pytest.mark.stress
def test_stress_memory_stays_over_a_hundred_thousand_bad_requests() -> None:
    with start(*cases.LIMITS) as server:
        (worker,) = server.workers()
        bad = [case.data[:3000] for make in cases.HTTP.values() for case in make() if case.status]
        memory = files = 0
        for number in range(100_000):
            with connect(server.http) as client:
                judge_quietly(client, bad[number % len(bad)])
            if number == 10_000:
                memory, files = rss_bytes(worker), open_files(worker)
        assert rss_bytes(worker) - memory < 4 * MIB
        until("closed connections", lambda: open_files(worker) <= files)
        assert server.workers() == [worker]


def judge_quietly(client: socket.socket, data: bytes) -> None:
    with contextlib.suppress(OSError):
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass


@pytest.mark.stress
def test_stress_reloads_under_every_kind_of_client() -> None:
    kinds = [kind for kind, what in KINDS.items() if what.end != "silent"]
    with start("--processes", "2", "--threads", "2", "--worker-reload-mercy", "3") as server:
        with Attack(kinds, server.http, server.uwsgi, 0.2), Load(server.http, "/load", 4) as load:
            for _ in range(30):
                load.more(20, 60.0)
                server.reload()
            assert load.failures == []
        until("two workers", lambda: len(server.workers()) == 2, 15.0)
        assert judge.ask(server.http).pid in server.workers()
