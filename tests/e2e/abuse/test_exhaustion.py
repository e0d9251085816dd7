"""What runs out, comes back: descriptors, the disk, memory for a connection, workers, the master.

The limits are lowered on the running worker (`prlimit`), the disk is a small tmpfs, and `strace` makes calls fail
that the kernel would not; what needs root or a tool that is not there is skipped with that reason.
"""

from __future__ import annotations

import contextlib
import os
import resource
import select
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.abuse import judge
from tests.e2e.abuse.conftest import APP
from tests.e2e.clients import Connection, Cut, connect, get, post, request_bytes
from tests.e2e.harness import Penstock, is_alive, processor_s, until
from tests.e2e.load import Load

KIB = 1 << 10
MIB = 1 << 20


def start(*more: str | Path) -> Penstock:
    listen = ("--http", "127.0.0.1:0", "--socket", "127.0.0.1:0")
    return Penstock(*listen, "--wsgi-file", APP, "--master", "--disable-logging", *more)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


@contextlib.contextmanager
def few_descriptors(pid: int, spare: int) -> Iterator[None]:
    """Let process `pid` open `spare` more descriptors than it has open now."""
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # The limit is one above the largest number, and numbers are given out from the lowest.
    highest = max(int(name) for name in os.listdir(f"/proc/{pid}/fd"))
    free = highest + 1 - open_files(pid)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1 + max(spare - free, 0), before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


# -- descriptors -------------------------------------------------------------------------------------------------------


def test_without_descriptors_the_worker_says_so_serves_on_and_recovers() -> None:
    with start() as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        kept = stack.enter_context(Connection(server.http))
        kept.request("GET", "/kept")
        with few_descriptors(worker, 3):
            waiting = [stack.enter_context(Connection(server.http)) for _ in range(20)]
            for client in waiting:
                client.send(request_bytes("GET", "/waiting"))
            server.wait_log(r"accept\(\) on .* failed: Too many open files")
            for _ in range(100):
                assert kept.request("GET", "/kept").status == 200, "those who are in are served"
            before = processor_s(worker)
            select.select([], [], [], 1.0)
            assert processor_s(worker) - before < 0.3, "it tries again now and then, and not all the time"
        # All of them, the moment there is room.
        for client in waiting:
            assert client.read().body == b"GET 0"
        assert get(server.http, "/new").status == 200
        assert server.workers() == [worker]
        assert server.log.count("Too many open files") < 50, "the log is not filled"


def test_a_body_without_a_descriptor_for_its_file_is_refused_and_the_next_one_is_taken() -> None:
    body = b"b" * (2 * MIB)
    with start() as server:
        (worker,) = server.workers()
        with Connection(server.http) as connection, Connection(server.http) as neighbour:
            connection.request("GET", "/kept")
            neighbour.request("GET", "/kept")
            with few_descriptors(worker, 0):
                judge.send(connection, request_bytes("POST", "/body", (), body))
                assert connection.read("POST").status in (500, 503, 507)
                assert neighbour.request("GET", "/kept").status == 200
                server.wait_log("spool-failed.*Too many open files")
        assert post(server.http, "/body", body).body == b"POST %d" % len(body)
        assert server.workers() == [worker]
        assert not [entry for entry in judge.ask(server.http).seen if entry["method"] == "POST"][:-1]


@contextlib.contextmanager
def failing(pid: int, what: str) -> Iterator[None]:
    """Make system calls of process `pid` fail as `what` says, in the words of `strace --inject`."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={what}", "-p", str(pid)], stderr=subprocess.PIPE
    )
    try:
        status = Path(f"/proc/{pid}/status")
        until("strace holds the process", lambda: "TracerPid:\t0\n" not in status.read_text())
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=20)


@pytest.mark.parametrize("error", [
    "ENOMEM",
    pytest.param("ENFILE", marks=pytest.mark.stress),
    pytest.param("ENOBUFS", marks=pytest.mark.stress),
    pytest.param("ECONNABORTED", marks=pytest.mark.stress),
    pytest.param("EPROTO", marks=pytest.mark.stress),
    pytest.param("EPERM", marks=pytest.mark.stress),
])  # fmt: skip
def test_accept_that_fails_is_tried_again(error: str) -> None:
    """The kernel's own errors, as `strace` can make them: five in a row, then connections are taken again."""
    with start() as server:
        (worker,) = server.workers()
        with failing(worker, f"accept4,accept:error={error}:when=1..5"):
            clients = [Connection(server.http).send(request_bytes("GET", "/waiting")) for _ in range(10)]
            for client in clients:
                assert client.read().body == b"GET 0"
                client.close()
            if error != "ECONNABORTED":
                # That one is the client's, and no reason to wait or to tell.
                server.wait_log(r"accept\(\) on .* failed")
        assert server.workers() == [worker]
        assert get(server.http, "/new").status == 200


# -- the disk ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(short_dir: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    disk = short_dir / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(disk)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("coding", ["length", "chunks"])
def test_a_full_disk_refuses_the_body_and_is_free_again(small_disk: Path, coding: str) -> None:
    large, small = b"l" * (3 * MIB), b"s" * (700 * KIB)
    fields = [] if coding == "length" else [("Transfer-Encoding", "chunked")]

    def send(body: bytes) -> tuple[int, bytes]:
        pieces = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
        data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        with Connection(server.http) as connection:
            judge.send(connection, request_bytes("POST", "/body", fields, data if fields else body))
            response = connection.read()
            return response.status, response.body

    with start("--spool-dir", small_disk) as server:
        (worker,) = server.workers()
        for _ in range(3):
            assert send(large)[0] == 507
            server.wait_log(r"507 spool-failed.*No space left on device")
            # What the refused body took is there again.
            assert send(small) == (200, b"POST %d" % len(small))
            assert get(server.http, "/neighbour").status == 200
        paths = [entry["path"] for entry in judge.ask(server.http).seen if entry["method"] == "POST"]
        assert paths == ["/body"] * 3, "the app saw the complete bodies only"
        assert str(small_disk) in server.log
        assert server.workers() == [worker]
        assert not list(small_disk.iterdir())


SPOOL_ERRORS = {
    "ENOSPC": "No space left on device",
    "EDQUOT": "Disk quota exceeded",
    "EIO": "Input/output error",
    "EMFILE": "Too many open files",
}


@pytest.mark.parametrize("error", [
    "EDQUOT",
    "EMFILE",
    pytest.param("ENOSPC", marks=pytest.mark.stress),
    pytest.param("EIO", marks=pytest.mark.stress),
])  # fmt: skip
def test_a_response_that_can_not_be_spooled_waits_for_its_client(short_dir: Path, error: str) -> None:
    """Told once; the app's thread waits instead, others are served, nothing is lost, and then it is spooled again."""
    size = 12 * MIB
    target = f"/large?kib={size >> 10}&pieces=1"

    def slow_reader() -> Connection:
        """A client that the worker has, and whose kernel takes little for it."""
        connection = stack.enter_context(Connection(server.http, 30.0, receive_bytes=4096))
        assert connection.request("GET", "/kept").status == 200
        return connection

    with start("--spool-dir", short_dir, "--threads", "2") as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        # The two threads would both wait for clients, were there two such responses.
        kept, slow = stack.enter_context(Connection(server.http)), slow_reader()
        assert kept.request("GET", "/kept").status == 200
        out_of = few_descriptors(worker, 0) if error == "EMFILE" else failing(worker, f"pwrite64:error={error}:when=1+")
        with out_of:
            slow.send(request_bytes("GET", target))
            server.wait_log(rf"a response .* could not be spooled in .*: {SPOOL_ERRORS[error]}.*spool-dir")
            for _ in range(20):
                assert kept.request("GET", "/kept").body == b"GET 0"
            assert len(slow.read().body) == size

        def is_spooled_again() -> bool:
            again = slow_reader()
            again.send(request_bytes("GET", target))
            assert kept.request("GET", "/kept").status == 200
            assert len(again.read().body) == size
            return f"responses can be spooled in {short_dir} again" in server.log

        until("responses are spooled again", is_spooled_again, 15.0)
        assert server.log.count("could not be spooled") == 1, "told once"
        assert server.workers() == [worker]


# -- processes that are killed -----------------------------------------------------------------------------------------


def kill_workers(processes: int, kills: int) -> None:
    """Kill worker after worker under load: each takes at most the requests that it had, and nothing else fails."""
    clients = 6
    with start("--processes", str(processes)) as server:
        with Load(server.http, "/load", clients) as load:
            for _ in range(kills):
                load.more(30)
                workers = until("all workers", lambda: len(found := server.workers()) == processes and found, 30.0)
                failed, victim = len(load.failures), workers[0]
                os.kill(victim, signal.SIGKILL)
                until("its end", lambda victim=victim: not is_alive(victim))  # type: ignore[misc]
                load.more(30)
                # One connection each, at most, was with that worker.
                assert len(load.failures) - failed <= clients, load.failures
        kinds = Counter(failure.partition(": ")[2].partition(":")[0] for failure in load.failures)
        assert set(kinds) <= {"Cut", "ConnectionResetError", "BrokenPipeError"}, load.failures
        until("all workers", lambda: len(server.workers()) == processes, 30.0)
        assert get(server.http, "/new").status == 200


def test_workers_killed_under_load() -> None:
    kill_workers(2, 3)


@pytest.mark.stress
def test_stress_workers_killed_under_load() -> None:
    kill_workers(4, 100)


@pytest.mark.parametrize("processes", [1, 3])
def test_a_killed_master_leaves_nothing_behind(processes: int) -> None:
    """Requests in flight are answered, the address is free at once, and no process stays."""
    with start("--processes", str(processes)) as server:
        address, stop, answered = server.http, threading.Event(), []

        def client() -> None:
            while not stop.is_set():
                try:
                    answered.append(get(address, "/load").status)
                except (OSError, Cut):
                    return

        threads = [threading.Thread(target=client) for _ in range(4)]
        for thread in threads:
            thread.start()
        until("answers", lambda: len(answered) > 50)
        os.kill(server.pid, signal.SIGKILL)
        server.process.wait(10)
        until("the end of every process", lambda: not server.processes(), 10.0)
        stop.set()
        for thread in threads:
            thread.join(20)
        assert set(answered) == {200}
        with pytest.raises(OSError):
            connect(address).close()
        server.clean()
