"""How workers are replaced in a reload: `reload-strategy`, and what is done where memory is short."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, is_alive, run_penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0", "--disable-logging")

APP = """
import os, uwsgi
{begin}
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "1")])
    return [b"{version}"]
"""


@pytest.fixture
def deploy(short_dir: Path) -> Callable[..., Path]:
    """Writes an app that answers with its version; call it again to deploy another one."""

    def write(version: int, begin: str = "") -> Path:
        path, new = short_dir / "app.py", short_dir / "app.new"
        new.write_text(APP.format(version=version, begin=begin))
        new.rename(path)
        return path

    return write


@pytest.mark.option("reload-strategy")
@pytest.mark.event("reload")
@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
@pytest.mark.parametrize("strategy", ["beside", "rolling", "chain"])
def test_a_reload_loses_nothing(deploy: Callable[..., Path], strategy: str, lazy: tuple[str, ...]) -> None:
    with Penstock(
        *HTTP, "--wsgi-file", deploy(0), "--processes", "3", "--reload-strategy", strategy, *lazy
    ) as instance:  # fmt: skip
        with Load(instance.http, "/") as load:
            load.more(30)
            for version in (1, 2, 3):
                deploy(version)
                instance.reload()
                load.more(30)
        assert load.failures == []
        assert get(instance.http).body == b"3"
        assert ("one by one" in instance.log) == (strategy != "beside")
        until("one generation is left", lambda: len(instance.generations()) == 1 and len(instance.workers()) == 3)


@pytest.mark.option("reload-strategy")
def test_rolling_never_has_more_than_one_worker_too_much(short_dir: Path, gate: Gate) -> None:
    """The first old worker is busy: until it has ended the second new one does not begin."""
    app = short_dir / "app.py"
    app.write_text((APPS / "cases.py").read_text())
    with Penstock(
        *HTTP, "--wsgi-file", app, "--processes", "2", "--reload-strategy", "rolling"
    ) as instance, Connection(instance.http) as connection:  # fmt: skip
        connection.send(request_bytes("GET", gate.target))
        busy = gate.entered()
        before = set(instance.workers())
        app.write_text(app.read_text().replace('b"Hello world"', 'b"Hello again"'))
        os.kill(instance.pid, 1)
        instance.wait_log(r"generation 2 replaces the workers one by one \(rolling\)")

        def is_mixed() -> bool:
            now = set(instance.workers())
            assert len(now - before) <= 2 and len(now) <= 3
            return busy in now and bool(now - before)

        until("new and old workers side by side", is_mixed)
        assert get(instance.http, "/hello").status == 200
        gate.open()
        assert connection.read().body == b"waited"
        until("the old workers are gone", lambda: not before & set(instance.workers()) and len(instance.workers()) == 2)
        assert get(instance.http, "/hello").body == b"Hello again"


@pytest.mark.option("reload-strategy")
@pytest.mark.event("reload-broken")
@pytest.mark.parametrize("strategy", ["rolling", "chain"])
@pytest.mark.parametrize(
    "begin",
    [
        "raise RuntimeError('broken')",
        "uwsgi.post_fork_hook = lambda: uwsgi.worker_id() == 1 and os._exit(7)",
        "uwsgi.post_fork_hook = lambda: uwsgi.worker_id() == 3 and os._exit(7)",
    ],
)
def test_broken_code_leaves_the_old_one(deploy: Callable[..., Path], strategy: str, begin: str) -> None:
    with Penstock(
        *HTTP, "--wsgi-file", deploy(1), "--processes", "3", "--reload-strategy", strategy
    ) as instance:  # fmt: skip
        with Load(instance.http, "/") as load:
            load.more(30)
            deploy(2, begin)
            instance.reload()
            instance.wait_log("the reload failed: generation 2 is given up, generation 1 keeps serving")
            until("the new generation is gone", lambda: len(instance.generations()) == 1)
            load.more(30)
        assert load.failures == []
        assert get(instance.http).body == b"1"
        until("three workers", lambda: len(instance.workers()) == 3)


@pytest.mark.option("reload-strategy")
def test_where_memory_is_short_workers_are_replaced_one_by_one(deploy: Callable[..., Path], short_dir: Path) -> None:
    meminfo = short_dir / "meminfo"
    meminfo.write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    mounted = ("unshare", "--mount", "sh", "-c", f'mount --bind {meminfo} /proc/meminfo && exec "$@"', "sh")
    if subprocess.run([*mounted, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a mount namespace of their own")
    with Penstock(*HTTP, "--wsgi-file", deploy(1), "--processes", "2", prefix=mounted) as instance:
        deploy(2)
        instance.reload()
        assert get(instance.http).body == b"2"
        assert "one by one" not in instance.log
        # In place: another file of that name would not be the one that is mounted.
        with meminfo.open("r+") as file:
            file.write("MemTotal: 9000000 kB\nMemAvailable:    1024 kB\n")
            file.truncate()
        old = instance.workers()
        deploy(3)
        instance.reload()
        line = instance.wait_log(r"one by one \(rolling\): .* which takes (\d+) MB, does not fit into the 1 MB .*")
        assert 5 < int(line[1]) < 500 and "MemAvailable of the machine" in line[0]
        assert get(instance.http).body == b"3"
        until("the old workers are gone", lambda: not any(is_alive(pid) for pid in old))


@pytest.mark.option("reload-strategy", "reload-watch")
@pytest.mark.event("rollback")
@pytest.mark.parametrize("strategy", ["rolling", "chain"])
def test_rollback_of_a_reload_one_by_one(deploy: Callable[..., Path], short_dir: Path, strategy: str) -> None:
    with Penstock(
        *HTTP, "--wsgi-file", deploy(1), "--processes", "2", "--reload-strategy", strategy, "--reload-watch", "60",
        "--pidfile", short_dir / "pid",
    ) as instance:  # fmt: skip
        with Load(instance.http, "/") as load:
            deploy(2)
            instance.reload()
            load.more(30)
            assert get(instance.http).body == b"2"
            assert run_penstock("rollback", short_dir / "pid").returncode == 0
            until("the new generation is gone", lambda: len(instance.generations()) == 1)
            assert get(instance.http).body == b"1"
            load.more(30)
        assert load.failures == []


def test_a_strategy_that_is_none(deploy: Callable[..., Path]) -> None:
    result = run_penstock(*HTTP, "--wsgi-file", deploy(1), "--reload-strategy", "sideways")
    assert result.returncode == 1
    assert "reload-strategy" in result.stderr and "rolling" in result.stderr
