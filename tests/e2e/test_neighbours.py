"""What one request may not do to others: keep their answers back, take them along when it dies, or lock them out."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from tests.e2e.clients import Connection, Cut, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock

WRITERS = '''
"""Two threads that write one response at the same time."""

import threading

PIECE, COUNT = b"p" * 65536, 40


def application(environ, start_response):
    if environ["PATH_INFO"] == "/hello":
        start_response("200 OK", [("Content-Length", "5")])
        return [b"hello"]
    write = start_response("200 OK", [("Content-Length", str(2 * COUNT * len(PIECE)))])

    def half():
        for _ in range(COUNT):
            write(PIECE)

    other = threading.Thread(target=half)
    other.start()
    half()
    other.join()
    return []
'''


def start(*more: str | Path) -> Penstock:
    return Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--master", *more)


def test_what_has_not_been_served_survives_a_worker_that_dies(gate: Gate) -> None:
    """Connections stay in the kernel's queue until they can be served: the next worker finds them there."""
    with start() as server, contextlib.ExitStack() as stack:
        (worker,) = server.workers()
        stack.enter_context(Connection(server.http)).send(request_bytes("GET", gate.target))
        assert gate.entered() == worker
        waiting = [stack.enter_context(Connection(server.http)) for _ in range(20)]
        for client in waiting:
            client.send(request_bytes("GET", "/pid"))
        os.kill(worker, signal.SIGKILL)
        lost = 0
        for client in waiting:
            try:
                assert int(client.read().text.split()[0]) != worker
            except (Cut, OSError):
                lost += 1
        # The one that was taken to be ready for the thread that comes back first.
        assert lost <= 1


def test_an_answer_is_not_kept_for_a_request_that_may_never_come(gate: Gate) -> None:
    """Also when it came while the thread was busy, so that it went through the queue of the worker.

    Answers of a pipeline leave together; one that was kept for the rest of a head would come half a second late.
    """
    with start() as server:
        waits = []
        for _ in range(5):
            with Connection(server.http) as busy, Connection(server.http) as pipeline:
                pipeline.request("GET", "/hello")
                busy.send(request_bytes("GET", gate.target))
                gate.entered()
                pipeline.send(request_bytes("GET", "/hello") * 2 + b"GET /never HTTP/1.1\r\nHost")
                # That the worker has read them shows when the next thing that is sent is looked at.
                gate.open()
                assert busy.read().body == b"waited"
                begun = time.monotonic()
                assert pipeline.read().body == pipeline.read().body == b"Hello world"
                waits.append(time.monotonic() - begun)
        assert min(waits) < 0.4


def test_threads_that_write_one_response_together_do_not_lock_each_other_out(tmp_path: Path) -> None:
    (tmp_path / "writers.py").write_text(WRITERS)
    with Penstock(
        "--http", "127.0.0.1:0", "--wsgi-file", tmp_path / "writers.py", "--response-buffer", "4096", "--threads", "2",
        "--response-spool", "0",
    ) as server:  # fmt: skip
        with Connection(server.http) as slow:
            # Nothing is read until somebody else has been served: both writers wait for room.
            slow.send(request_bytes("GET", "/both"))
            assert get(server.http, "/hello").body == b"hello"
            assert len(slow.read().body) == 2 * 40 * 65536
        with Connection(server.http) as again:
            assert again.request("GET", "/both").body == b"p" * (2 * 40 * 65536)
        assert "Traceback" not in server.log
