"""The whole child side at once: boot, generation, worker and the real engine, with the master's part played here.

Few tests, each on something that a fake engine can not show. What a visitor sees is tested end to end.
"""

from __future__ import annotations

import http.client
import os
import re
import select
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from penstock.observe.scoreboard import Layout, Scoreboard
from penstock.worker import boot
from tests.e2e.harness import until
from tests.worker.fake_master import WAIT_S, FakeMaster, app_plan, engine_plan

engine = pytest.importorskip("penstock._engine", reason="the engine is not built")

Write = Callable[..., None]


@pytest.fixture
def scoreboard() -> Iterator[Scoreboard]:
    """Make shared memory for two workers of two threads."""
    board = Scoreboard(Layout.of(engine.catalogue()["scoreboard"]), 2, 2)
    yield board
    board.close()


@pytest.fixture
def master(tmp_path: Path) -> Iterator[FakeMaster]:
    """Exec a generation out of the package itself."""
    fake = FakeMaster(Path(boot.__file__), tmp_path)
    yield fake
    fake.close()


def get(master: FakeMaster, path: str = "/") -> tuple[int, bytes]:
    """Ask the instance, on a connection of its own."""
    with closing(http.client.HTTPConnection(*master.listener.getsockname(), timeout=WAIT_S)) as connection:
        connection.request("GET", path, headers={"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_serve_and_drain(master: FakeMaster, project: Path, scoreboard: Scoreboard) -> None:
    master.start(app_plan(project), engine_plan(threads=2), scoreboard.fd)
    assert master.event()["event"] == "imported", master.log()
    control = master.spawn()
    assert get(master) == (200, b"hello")
    assert scoreboard.worker(0).pid == master.pids[0]
    control.send(b"drain")
    assert master.event()["status"] == 0
    master.end()
    assert master.exit_code() == 0
    assert "=> generated 5 bytes in" in master.log()


WAITING = (
    "import os\n"
    "def application(environ, start_response):\n"
    "    open('entered', 'w').write('x')\n"
    "    open('gate').read()\n"
    "    start_response('200 OK', [])\n"
    "    return [b'through the gate']\n"
)


@pytest.fixture
def in_flight(master: FakeMaster, project: Path, write: Write, scoreboard: Scoreboard) -> Iterator[list[object]]:
    """Serve an app that waits until somebody opens its gate, with one request inside it; yield what it answered."""
    write(WAITING)
    os.mkfifo(project / "gate")
    os.mkfifo(project / "entered")
    master.start(app_plan(project), engine_plan(threads=2), scoreboard.fd)
    master.event()
    master.spawn()
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(get(master))
        except (OSError, http.client.HTTPException) as error:
            answers.append(error)

    client = threading.Thread(target=ask)
    client.start()
    (project / "entered").read_text()
    yield answers
    # Whoever still waits is let through, so that the thread ends in any case.
    gate = os.open(project / "gate", os.O_RDWR | os.O_NONBLOCK)
    client.join(WAIT_S)
    os.close(gate)
    assert not client.is_alive()


def open_gate(project: Path) -> None:
    """Let the request in flight go on."""
    (project / "gate").write_text("")


def test_a_drain_lets_the_request_in_flight_end(master: FakeMaster, project: Path, in_flight: list[object]) -> None:
    master.controls[0].send(b"drain")
    open_gate(project)
    assert master.event()["status"] == 0
    assert in_flight == [(200, b"through the gate")]


def test_a_stop_does_not_wait_for_it(master: FakeMaster, in_flight: list[object]) -> None:
    master.controls[0].send(b"stop")
    assert master.event()["status"] == 0


def test_signals_for_the_master_do_not_disturb_it(master: FakeMaster, project: Path, in_flight: list[object]) -> None:
    for number in ("INT", "HUP", "TERM", "QUIT", "USR1", "USR2", "ALRM", "TSTP"):
        os.kill(master.pids[0], signal.Signals[f"SIG{number}"])
    open_gate(project)
    master.controls[0].send(b"drain")
    assert master.event()["status"] == 0
    assert in_flight == [(200, b"through the gate")]


def test_without_its_master_a_worker_is_gone_within_two_seconds(master: FakeMaster, in_flight: list[object]) -> None:
    pidfd = os.pidfd_open(master.pids[0])
    try:
        master.cut_lifeline()
        assert select.select([pidfd], [], [], 2)[0], f"the worker goes on; its log: {master.log()}"
    finally:
        os.close(pidfd)
    assert master.exit_code() == 0


def test_a_stack_dump_shows_where_the_request_hangs(master: FakeMaster, project: Path, in_flight: list[object]) -> None:
    os.kill(master.pids[0], signal.SIGRTMIN + 1)
    # The signal may come while the app is still on its way from telling that it was entered to waiting; and the thread
    # that takes it may run only later, so that the gate stays shut until the dump is there.
    frame = rf'File "{re.escape(str(project))}/shop_site.py", line [34] in application'
    until("the log shows the app's frame", lambda: re.search(frame, master.log()))
    open_gate(project)
    master.controls[0].send(b"drain")
    assert master.event()["status"] == 0
