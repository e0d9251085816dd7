"""Going back to the code before a reload: by itself (`reload-watch`), and by `penstock rollback`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, is_alive, run_penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0")

APP = """
import os
def application(environ, start_response):
    {begin}
    start_response({status!r}, [("Content-Length", "1")])
    return [b"{version}"]
"""


@pytest.fixture
def deploy(short_dir: Path) -> Callable[..., Path]:
    """Writes an app that answers with its version; call it again to deploy another one."""

    def write(version: int, status: str = "200 OK", begin: str = "pass") -> Path:
        path, new = short_dir / "app.py", short_dir / "app.new"
        new.write_text(APP.format(version=version, status=status, begin=begin))
        new.rename(path)
        return path

    return write


def answers(address: str) -> bytes:
    """What is answered now, if anything is."""
    try:
        return get(address).body
    except (Cut, ConnectionError):
        return b""


def start(app: Path, short_dir: Path, *more: str) -> Penstock:
    return Penstock(
        *HTTP, "--wsgi-file", app, "--pidfile", short_dir / "pid", "--processes", "2", "--threads", "2",
        "--disable-logging", *more,
    )  # fmt: skip


@pytest.mark.option("reload-watch")
@pytest.mark.event("rollback")
@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
def test_rollback_under_load_loses_nothing(deploy: Callable[..., Path], short_dir: Path, lazy: tuple[str, ...]) -> None:
    with start(deploy(1), short_dir, "--reload-watch", "60", *lazy) as instance:
        with Load(instance.http, "/") as load:
            load.more(50)
            for _ in range(3):
                deploy(2)
                instance.reload()
                load.more(50)
                assert get(instance.http).body == b"2"
                assert run_penstock("rollback", short_dir / "pid").returncode == 0
                assert get(instance.http).body == b"1"
                load.more(50)
        assert load.failures == []
        until("the new generation leaves", lambda: len(instance.generations()) == 1)
        assert "rollback from generation 4 to generation 1: rollback command" in instance.log


@pytest.mark.option("reload-watch")
@pytest.mark.event("rollback")
def test_a_connection_goes_along_there_and_back(deploy: Callable[..., Path], short_dir: Path) -> None:
    with (
        start(deploy(1), short_dir, "--reload-watch", "60", "--http-keepalive", "60") as instance,
        Connection(instance.http) as connection,
    ):
        assert connection.request("GET", "/").body == b"1"
        deploy(2)
        instance.reload()
        assert connection.request("GET", "/").body == b"2"
        assert run_penstock("rollback", short_dir / "pid").returncode == 0
        assert connection.request("GET", "/").body == b"1"


@pytest.mark.option("reload-watch")
def test_what_is_in_flight_ends_in_a_generation_that_stands_by(gate: Gate, short_dir: Path) -> None:
    app = short_dir / "app.py"
    app.write_text((APPS / "cases.py").read_text())
    with start(app, short_dir, "--reload-watch", "60") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        pid = gate.entered()
        app.write_text(app.read_text().replace('b"Hello world"', 'b"Hello again"'))
        instance.reload()
        assert get(instance.http, "/hello").body == b"Hello again"
        gate.open()
        assert connection.read().body == b"waited"
        assert is_alive(pid)
        assert connection.request("GET", "/hello").body == b"Hello again"


@pytest.mark.option("reload-watch", "reload-watch-errors", "reload-watch-requests")
@pytest.mark.event("rollback")
def test_code_that_fails_is_taken_back(deploy: Callable[..., Path], short_dir: Path) -> None:
    app = deploy(1)
    with start(
        app, short_dir, "--reload-watch", "60", "--reload-watch-errors", "20", "--reload-watch-requests", "30"
    ) as instance:  # fmt: skip
        with Load(instance.http, "/") as load:
            load.more(50)
            deploy(2, status="500 Internal Server Error")
            instance.reload()
            line = instance.wait_log(r"rollback from generation 2 to generation 1: (\d+) of (\d+) requests failed")
            assert int(line[1]) == int(line[2]) >= 30
            load.more(50)
        assert load.failures and all("status 500" in failure for failure in load.failures), load.failures[:3]
        assert get(instance.http).body == b"1"
        assert "reload-watch-errors = 20 more are allowed" in instance.log
        until("the new generation leaves", lambda: len(instance.generations()) == 1)


@pytest.mark.option("reload-watch")
def test_an_exception_is_a_failure_too(deploy: Callable[..., Path], short_dir: Path) -> None:
    with start(deploy(1), short_dir, "--reload-watch", "60", "--reload-watch-requests", "5") as instance:
        deploy(2, begin="raise RuntimeError('new and broken')")
        instance.reload()
        for _ in range(5):
            assert get(instance.http).status == 500
        instance.wait_log("rollback from generation 2 to generation 1: 5 of 5")
        until("the old code answers", lambda: get(instance.http).body == b"1")


@pytest.mark.option("reload-watch")
@pytest.mark.event("rollback")
def test_code_that_crashes_is_taken_back(deploy: Callable[..., Path], short_dir: Path) -> None:
    with start(deploy(1), short_dir, "--reload-watch", "60") as instance:
        deploy(2, begin="os._exit(3)")
        instance.reload()
        for _ in range(2):
            with pytest.raises((Cut, ConnectionError)):
                get(instance.http)
        instance.wait_log(r"2 of its workers died within \d+ seconds, the last one: exit status 3")
        until("the old code answers", lambda: answers(instance.http) == b"1")
        # What was said about the code before a reload counts for the next one.
        deploy(3)
        instance.reload()
        assert get(instance.http).body == b"3"


@pytest.mark.option("reload-watch")
@pytest.mark.event("rollback")
def test_code_that_fares_well_stays_and_the_old_one_leaves(deploy: Callable[..., Path], short_dir: Path) -> None:
    with start(deploy(1), short_dir, "--reload-watch", "1") as instance:
        old = instance.workers()
        deploy(2)
        instance.reload()
        for _ in range(5):
            assert get(instance.http).body == b"2"
        instance.wait_log(r"generation 2 has served for 1 seconds \(0 of 5 failed with 5xx")
        until("the old workers leave", lambda: not any(is_alive(pid) for pid in old))
        result = run_penstock("rollback", short_dir / "pid")
        assert result.returncode == 3
        assert "generation 1 stands by no longer" in result.stderr
        assert get(instance.http).body == b"2"


def test_rollback_without_a_watch_says_what_it_takes(deploy: Callable[..., Path], short_dir: Path) -> None:
    with start(deploy(1), short_dir):
        result = run_penstock("rollback", short_dir / "pid")
        assert result.returncode == 3
        assert result.stderr.count("reload-watch = 30s") == 1, "what the log says is not said again"
        assert run_penstock("rollback").returncode == 1
        assert run_penstock("rollback", short_dir / "nothing").returncode == 1
