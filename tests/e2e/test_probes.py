"""The admin listener of a real instance: what a kubelet and a load balancer are told, and who can not harm it."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

import penstock
from tests.e2e.clients import Connection, connect, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, is_alive, run_penstock, until

CASES = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--disable-logging")
ADMIN = ("--admin", "127.0.0.1:0")


def admin(instance: Penstock) -> str:
    """Where the probes of an instance are answered."""
    return instance.wait_log(r"probes are answered on (\S+)")[1]


def ask(address: str, path: str) -> tuple[int, Any]:
    """Status and content of a page."""
    response = get(address, path)
    return response.status, json.loads(response.body)


@pytest.mark.option("admin")
@pytest.mark.event("stop")
def test_probes_from_the_start_to_the_end(short_dir: Path, gate: Gate) -> None:
    go = short_dir / "import"
    os.mkfifo(go)
    app = short_dir / "slow.py"
    app.write_text(f"open({str(go)!r}).close()\n" + (APPS / "cases.py").read_text())
    instance = Penstock("--http", "127.0.0.1:0", "--wsgi-file", app, *ADMIN, wait=False)
    with instance:
        address = admin(instance)
        assert ask(address, "/livez") == (200, {"live": True})
        status, content = ask(address, "/readyz")
        assert status == 503 and content["reason"] == "starting"
        assert ask(address, "/saturation")[0] == 503
        go.write_text("")
        instance.wait_ready()
        assert ask(address, "/readyz") == (200, {"ready": True})
        assert ask(address, "/version") == (200, {"version": penstock.__version__})
        assert ask(address, "/saturation")[1]["saturation"] == 0.0
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", gate.target))
            gate.entered()
            status, content = ask(address, "/saturation")
            assert status == 503 and (content["busy"], content["threads"]) == (1, 1)
            instance.send(signal.SIGTERM)
            until("it is not ready any more", lambda: ask(address, "/readyz")[1].get("reason") == "draining")
            assert ask(address, "/livez")[0] == 200
            gate.open()
            assert connection.read().body == b"waited"
        assert instance.wait_exit() == 0
        with pytest.raises(ConnectionRefusedError):
            connect(address)


@pytest.mark.option("admin", "drain-delay")
@pytest.mark.event("drain-delay")
def test_an_instance_that_will_drain_is_not_ready_and_serves_on() -> None:
    with Penstock(*CASES, *ADMIN, "--drain-delay", "2") as instance:
        address = admin(instance)
        assert ask(address, "/readyz")[0] == 200
        instance.send(signal.SIGTERM)
        until("it is not ready any more", lambda: ask(address, "/readyz")[1].get("reason") == "draining")
        assert ask(address, "/livez")[0] == 200
        answer = get(instance.http, "/hello")
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert instance.wait_exit() == 0


def test_probes_are_answered_while_every_thread_is_stuck_and_tell_who_waits(gate: Gate) -> None:
    with Penstock(*CASES, *ADMIN, "--processes", "2") as instance:
        address = admin(instance)
        connections = [Connection(instance.http) for _ in range(5)]
        for connection in connections:
            connection.send(request_bytes("GET", gate.target))
        until("both threads are busy", lambda: ask(address, "/saturation")[1]["busy"] == 2)
        content = until(
            "three wait, for a second",
            lambda: (found := ask(address, "/saturation")[1])["waiting"] == 3 and found["oldest_wait_s"] > 1 and found,
        )
        assert (content["saturation"], content["busy"]) == (1.0, 2)
        assert ask(address, "/livez")[0] == ask(address, "/readyz")[0] == 200
        gate.open(5)
        for connection in connections:
            assert connection.read().body == b"waited"
            connection.close()
        until("nobody waits", lambda: ask(address, "/saturation")[1]["oldest_wait_s"] == 0)


def test_what_waits_inside_a_worker_is_seen_too(gate: Gate) -> None:
    # A worker without siblings reads requests in advance.
    with Penstock(*CASES, *ADMIN, "--threads", "2") as instance:
        address = admin(instance)
        connections = [Connection(instance.http) for _ in range(3)]
        for connection in connections:
            connection.send(request_bytes("GET", gate.target))
        until("both threads are busy", lambda: ask(address, "/saturation")[1]["busy"] == 2)
        until("one waits", lambda: (one := ask(address, "/saturation")[1])["waiting"] == 1 and one["oldest_wait_s"] > 0)
        gate.open(3)
        for connection in connections:
            assert connection.read().body == b"waited"
            connection.close()


def test_a_unix_socket_and_a_reload(short_dir: Path) -> None:
    path = str(short_dir / "admin")
    with Penstock(*CASES, "--admin", path, "--chmod-socket=600", "--vacuum") as instance:
        assert Path(path).stat().st_mode & 0o777 == 0o600
        assert ask(path, "/readyz")[0] == 200
        instance.reload()
        assert ask(path, "/readyz")[0] == 200
    assert not Path(path).exists()


@pytest.mark.event("worker-killed")
def test_an_app_that_kills_every_worker_is_a_crash_loop(short_dir: Path) -> None:
    app = short_dir / "dies.py"
    app.write_text(
        "import os, sys\nfrom uwsgidecorators import postfork\n"
        f"@postfork\ndef end():\n    if os.path.exists({str(short_dir / 'die')!r}): os._exit(3)\n"
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"
    )
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", app, *ADMIN) as instance:
        address = admin(instance)
        assert ask(address, "/readyz")[0] == 200
        (short_dir / "die").touch()
        os.kill(instance.workers()[0], signal.SIGKILL)
        until("a crash loop", lambda: ask(address, "/readyz")[1].get("reason") == "crash-loop", 20)
        (short_dir / "die").unlink()
        until("ready again", lambda: ask(address, "/readyz")[0] == 200, 30)


def test_bad_clients_do_no_harm() -> None:
    with Penstock(*CASES, *ADMIN) as instance:
        address = admin(instance)
        held: list[socket.socket] = []
        try:
            for number in range(1000):
                client = connect(address)
                held.append(client)
                try:
                    client.send((b"", b"\xff" * 5000, b"GET /livez HTTP/1.1\r\nX-Slow: ", b"GET /li")[number % 4])
                except OSError:
                    continue
                if not number % 100:
                    assert ask(address, "/livez")[0] == 200
            assert ask(address, "/readyz")[0] == 200
            assert len(os.listdir(f"/proc/{instance.pid}/fd")) < 150
            assert get(instance.http, "/hello").status == 200
            before = instance.workers()
            os.kill(before[0], signal.SIGKILL)
            until("the master goes on with its work", lambda: instance.workers() not in ([], before))
            assert not is_alive(before[0])
        finally:
            for client in held:
                client.close()
        assert "Traceback" not in instance.log


def test_an_address_of_something_else_is_refused() -> None:
    result = run_penstock(*CASES[2:], "--http", "127.0.0.1:8123", "--admin", "127.0.0.1:8123")
    assert result.returncode == 1
    assert "admin = 127.0.0.1:8123: something else is served there" in result.stderr
