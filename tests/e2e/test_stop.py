"""How long a stop takes, what clients see of it, what the command that stops says, and that nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, connect, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, is_alive, run_penstock, until

HTTP = ("--http", "127.0.0.1:0")
CASES = (*HTTP, "--wsgi-file", str(APPS / "cases.py"))
NAMESPACE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


def stop_s(instance: Penstock, how: signal.Signals = signal.SIGTERM) -> float:
    """Stop the instance; tell how long that took."""
    begin = time.monotonic()
    instance.send(how)
    assert instance.wait_exit() == 0
    return time.monotonic() - begin


def is_refused(address: str) -> bool:
    try:
        connect(address).close()
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    return False


# -- how long ----------------------------------------------------------------------------------------------------------


@pytest.mark.event("stop")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_idle_connections_do_not_keep_an_instance_for_a_second(how: signal.Signals) -> None:
    """Kept ones, ones that never sent anything, and ones that sent half a head: nobody is in the app."""
    with Penstock(*CASES, "--processes", "2", "--threads", "2") as instance, ExitStack() as clients:
        for _ in range(10):
            kept = clients.enter_context(Connection(instance.http))
            kept.request("GET", "/hello")
        for _ in range(10):
            clients.enter_context(connect(instance.http))
        assert stop_s(instance, how) < 1.0


@pytest.mark.event("stop")
def test_a_client_that_reads_slowly_and_never_closes_keeps_it_no_longer_than_its_answer() -> None:
    with Penstock(*CASES) as instance, connect(instance.http) as client:
        client.sendall(request_bytes("GET", "/large?size=3000000"))
        assert client.recv(1000)
        begin = time.monotonic()
        instance.send(signal.SIGTERM)
        instance.wait_log("gracefully killing workers")
        while client.recv(65536):
            pass
        # The client keeps its side open.
        assert instance.wait_exit() == 0
        assert time.monotonic() - begin < 3.0


@pytest.mark.event("stop")
def test_a_stop_ends_as_soon_as_the_requests_in_flight_have(gate: Gate) -> None:
    with Penstock(*CASES, "--threads", "2") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(signal.SIGTERM)
        until("nobody gets in", lambda: is_refused(instance.http))
        begin = time.monotonic()
        gate.open()
        assert connection.read().body == b"waited"
        assert instance.wait_exit() == 0
        assert time.monotonic() - begin < 1.0


@pytest.mark.option("worker-reload-mercy")
@pytest.mark.event("stop")
def test_a_stop_takes_no_longer_than_the_mercy_and_a_second(gate: Gate) -> None:
    with Penstock(*CASES, "--worker-reload-mercy", "2") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        assert 1.5 < stop_s(instance) < 3.0
        with pytest.raises((Cut, ConnectionError)):
            connection.read()
        assert "NO MERCY" in instance.log


@pytest.mark.event("stop")
def test_who_has_connected_already_is_answered(gate: Gate) -> None:
    """One worker is busy and the others wait in the kernel's queue: a stop answers them all."""
    with Penstock(*CASES) as instance, ExitStack() as clients:
        busy = clients.enter_context(Connection(instance.http))
        busy.send(request_bytes("GET", gate.target))
        gate.entered()
        waiting = [clients.enter_context(Connection(instance.http)) for _ in range(20)]
        for one in waiting:
            one.send(request_bytes("GET", "/hello"))
        instance.send(signal.SIGTERM)
        until("nobody gets in", lambda: is_refused(instance.http))
        gate.open()
        assert busy.read().body == b"waited"
        assert [one.read().body for one in waiting] == [b"Hello world"] * 20
        assert instance.wait_exit() == 0


# -- drain-delay -------------------------------------------------------------------------------------------------------


@pytest.mark.option("drain-delay")
@pytest.mark.event("drain-delay")
def test_before_it_drains_an_instance_serves_on_and_ends_connections() -> None:
    with (
        Penstock(*CASES, "--drain-delay", "2") as instance,
        Connection(instance.http) as kept,
        Connection(instance.http) as other,
    ):
        assert kept.request("GET", "/hello").header("connection") != "close"
        other.request("GET", "/hello")
        begin = time.monotonic()
        instance.send(signal.SIGTERM)
        instance.wait_log(r"drains in 2 seconds \(drain-delay\)")
        assert kept.request("GET", "/hello").header("connection") == "close"
        assert kept.is_closed()
        with Connection(instance.http) as new:
            answer = new.request("GET", "/hello")
            assert (answer.status, answer.header("connection")) == (200, "close")
        assert instance.wait_exit() == 0
        assert 1.9 < time.monotonic() - begin < 3.5
        assert other.is_closed()


@pytest.mark.option("drain-delay")
@pytest.mark.event("stop-again")
def test_a_second_signal_does_not_wait_for_the_delay() -> None:
    with Penstock(*CASES, "--drain-delay", "60") as instance:
        instance.send(signal.SIGTERM)
        instance.wait_log("drain-delay")

        def is_heard() -> bool:
            # One that comes at the same moment as the first does not count.
            if "killing workers now" not in instance.log:
                instance.send(signal.SIGTERM)
            return "killing workers now" in instance.log

        until("the second signal is taken for one", is_heard)
        assert instance.wait_exit(5) == 0


def test_a_signal_in_the_last_moment_does_not_change_the_exit_status() -> None:
    for _ in range(3):
        with Penstock(*CASES) as instance:

            def has_ended() -> bool:
                if instance.process.poll() is None:  # called in this turn
                    instance.send(signal.SIGTERM)
                return instance.process.poll() is not None

            until("the end", has_ended)
            assert instance.wait_exit() == 0


# -- the command -------------------------------------------------------------------------------------------------------


def test_stop_waits_for_the_end(gate: Gate, short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    with Penstock(*CASES, "--pidfile", pidfile) as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        assert run_penstock("stop", "--timeout", "0.3", pidfile).returncode == 3
        ended: list[int] = []
        waiter = threading.Thread(target=lambda: ended.append(run_penstock("stop", "--wait", pidfile).returncode))
        waiter.start()
        instance.wait_log("stopping already")
        assert not ended and is_alive(instance.pid), "asking again does not cut the request"
        gate.open()
        assert connection.read().body == b"waited"
        waiter.join(20)
        assert ended == [0]
        assert not pidfile.exists()
        assert instance.wait_exit() == 0


def test_stop_now_does_not_wait_for_requests(gate: Gate, short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    with Penstock(*CASES, "--pidfile", pidfile) as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        assert run_penstock("stop", "--now", "--wait", pidfile).returncode == 0
        assert not instance.processes()
        assert instance.wait_exit() == 0


@pytest.mark.parametrize("value", ["soon", "-1", "nan", ""])
def test_stop_names_a_wrong_timeout(value: str, short_dir: Path) -> None:
    result = run_penstock("stop", "--timeout", value, short_dir / "app.pid")
    assert result.returncode == 1
    assert "--timeout" in result.stderr and "number of seconds" in result.stderr


def test_stop_of_nobody(short_dir: Path) -> None:
    assert run_penstock("stop", "--wait", short_dir / "nothing.pid").returncode == 1
    with subprocess.Popen(["true"]) as gone:
        pass
    (short_dir / "stale.pid").write_text(f"{gone.pid}\n")
    result = run_penstock("stop", "--wait", short_dir / "stale.pid")
    assert result.returncode == 255
    assert str(gone.pid) in result.stderr


# -- nothing is left ---------------------------------------------------------------------------------------------------


@pytest.mark.option("vacuum", "pidfile", "master-fifo", "stats")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_nothing_of_an_instance_is_left(how: signal.Signals, short_dir: Path) -> None:
    runtime = short_dir / "run"
    runtime.mkdir(0o700)
    with Penstock(
        "--socket", short_dir / "app.sock", "--http-socket", short_dir / "http.sock", "--stats", short_dir / "stats",
        "--wsgi-file", APPS / "cases.py", "--pidfile", short_dir / "pid", "--pidfile2", short_dir / "pid2",
        "--safe-pidfile", short_dir / "pid3", "--master-fifo", short_dir / "fifo", "--vacuum", "--processes", "2",
        env={"XDG_RUNTIME_DIR": str(runtime)},
    ) as instance:  # fmt: skip
        assert {path.name for path in short_dir.iterdir()} >= {"app.sock", "http.sock", "stats", "pid", "pid2", "fifo"}
        instance.stop(how)
    assert [path.name for path in short_dir.rglob("*")] == ["run"] or not list(runtime.rglob("*.ctl"))
    assert {path.name for path in short_dir.iterdir()} <= {"run"}


def test_an_app_that_forked_a_child_leaves_no_orphan_behind_a_stop(short_dir: Path) -> None:
    """A process that the app started and left alone is not the server's to kill, but it keeps no listener open."""
    app = short_dir / "forks.py"
    app.write_text(
        "import os, signal\n"
        "def application(environ, start_response):\n"
        "    if not os.fork():\n"
        "        signal.pause()\n"
        "        os._exit(0)\n"
        '    start_response("200 OK", [])\n'
        '    return [b"ok"]\n'
    )
    with Penstock(*HTTP, "--wsgi-file", app) as instance:
        assert get(instance.http).body == b"ok"
        address = instance.http
        assert stop_s(instance) < 2.0
        assert is_refused(address)
        instance.kill_all()


# -- PID 1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.event("stop")
@pytest.mark.parametrize("waits", [False, True])
def test_as_pid_1_a_stop_is_as_quick(waits: bool, gate: Gate) -> None:
    if subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a PID namespace of their own")
    with Penstock(*CASES, "--processes", "2", prefix=NAMESPACE) as instance, ExitStack() as clients:
        (master,) = (pid for pid, parent in instance.processes().items() if parent == instance.pid)
        kept = [clients.enter_context(Connection(instance.http)) for _ in range(5)]
        for one in kept:
            one.request("GET", "/hello")
        if waits:
            kept[0].send(request_bytes("GET", gate.target))
            gate.entered()
        begin = time.monotonic()
        os.kill(master, signal.SIGTERM)
        if waits:
            until("nobody gets in", lambda: is_refused(instance.http))
            begin = time.monotonic()
            gate.open()
            assert kept[0].read().body == b"waited"
        assert instance.wait_exit() == 0
        assert time.monotonic() - begin < 1.0
        assert not instance.processes()


def test_a_shell_that_is_pid_1_passes_on_what_ends_the_master() -> None:
    """`sh -c "exec penstock"`, as images write it."""
    with Penstock(*CASES, prefix=("sh", "-c", 'exec "$@"', "sh")) as instance:
        connect(instance.http).close()
        assert stop_s(instance) < 1.5
