"""Workers that die again and again: what the log says, when a start gives up, and that nobody else notices."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, is_alive, run_penstock, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0", "--disable-logging")

APP = """
import os, uwsgi
def hook():
    if uwsgi.worker_id() == 1 and os.path.exists({flag!r}):
        os._exit(7)
uwsgi.post_fork_hook = hook
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def flag(short_dir: Path) -> Path:
    """While this file is there, worker 1 dies when it starts."""
    return short_dir / "broken"


@pytest.fixture
def app(short_dir: Path, flag: Path) -> Path:
    path = short_dir / "app.py"
    path.write_text(APP.format(flag=str(flag)))
    return path


@pytest.mark.option("need-app")
@pytest.mark.event("crash-loop")
def test_a_start_whose_workers_die_ends_with_1_and_the_first_cause(app: Path, flag: Path) -> None:
    flag.touch()
    result = run_penstock(*HTTP, "--wsgi-file", app, "--processes", "2")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-8:]
    assert any(
        "worker 1 died 5 times in a row before it was ready, the first time: exit status 7" in one for one in last
    )


@pytest.mark.option("need-app")
def test_without_need_app_a_start_goes_on_until_it_succeeds(app: Path, flag: Path) -> None:
    flag.touch()
    with Penstock(*HTTP, "--wsgi-file", app, "--need-app=false", wait=False) as instance:
        instance.wait_log(r"dies too fast \(6 times in a row, the first time: exit status 7\)", 30)
        flag.unlink()
        instance.wait_ready()
        assert get(instance.http).body == b"ok"


@pytest.mark.event("crash-loop")
def test_a_worker_that_can_not_come_back_is_tried_later_and_later_while_others_serve(app: Path, flag: Path) -> None:
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2") as instance:
        first, *_ = until("two workers", lambda: len(instance.workers()) == 2 and instance.workers())
        flag.touch()
        # Which of them is worker 1 nobody says: the one that comes back at once is not.
        for victim in instance.workers():
            os.kill(victim, signal.SIGKILL)
            until("it is dead", lambda: not is_alive(victim))  # noqa: B023  # called in this turn
        with Load(instance.http, "/", clients=2) as load:
            instance.wait_log(r"dies too fast \(4 times in a row, the first time: .*\): the next try is in 0.8 seconds")
            load.more(30)
            flag.unlink()
            until("two workers again", lambda: len(instance.workers()) == 2, 20)
            load.more(30)
        assert load.failures == []
        assert get(instance.http).body == b"ok"
        assert is_alive(instance.pid) and first not in instance.workers()


@pytest.mark.event("crash-loop")
def test_new_code_that_crashes_when_it_starts_leaves_the_old_one(app: Path, flag: Path) -> None:
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2") as instance:
        before = instance.workers()
        flag.touch()
        with Load(instance.http, "/") as load:
            for _ in range(3):
                instance.reload()
                load.more(20)
        assert load.failures == []
        assert instance.log.count("generation 1 keeps serving") == 3
        until("nothing is left of the tries", lambda: instance.workers() == before)
