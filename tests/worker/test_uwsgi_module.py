"""The `uwsgi` module, seen from inside a worker; the two modules are process-wide, so they are made in a child."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.worker.uwsgi_module import ALWAYS_ON, options
from tests.worker.fake_master import FakeMaster, app_plan, ask, engine_plan, value

Write = Callable[..., None]
APP = "application = lambda environ, start_response: (start_response('200 OK', []), [])[1]\n"


def test_opt_keeps_repeats_and_flags() -> None:
    opt = options((("module", "a"), ("env", "A=1"), ("env", "B=2"), ("env", "C=3"), ("need-app", None), ("x", "水")))
    assert opt["module"] == b"a"
    assert opt["env"] == [b"A=1", b"B=2", b"C=3"]
    assert opt["need-app"] is True
    assert opt["x"] == "水".encode()


def test_opt_says_what_is_always_so_unless_it_was_written_otherwise() -> None:
    opt = options((("enable-threads", "false"),))
    assert opt["enable-threads"] == b"false"
    assert {name: opt[name] for name in ALWAYS_ON[1:]} == {"master": b"true", "py-call-uwsgi-fork-hooks": b"true"}


def test_what_it_tells_at_import_and_in_a_worker(master: FakeMaster, project: Path, write: Write) -> None:
    write("import uwsgi\nat_import = [uwsgi.worker_id(), uwsgi.masterpid(), uwsgi.is_a_reload]\n" + APP)
    plan = app_plan(project, options=(("threads", "3"), ("my-key", "my value")))
    master.start(plan, engine_plan(threads=3), processes=5)
    master.event()
    control = master.spawn(2)
    module = "sys.modules['uwsgi']"
    assert value(control, "sys.modules['shop_site'].at_import") == [0, os.getpid(), False]
    assert value(control, f"[{module}.worker_id(), {module}.mule_id(), {module}.masterpid()]") == [2, 0, os.getpid()]
    assert value(control, f"{module}.opt['my-key'] == b'my value'") is True
    assert value(control, f"[{module}.numproc, {module}.cores, {module}.has_threads]") == [5, 3, 1]
    assert value(control, f"{module}.version == b'2.0.31' and {module}.version_info == (2, 0, 31, 0, b'')") is True
    assert value(control, f"{module}.hostname.decode()") == os.uname().nodename
    assert value(control, f"{module}.log('a line of the app')") is True
    assert "a line of the app\n" in master.log()
    assert value(control, f"hasattr({module}, 'cache_get')") is False
    assert value(control, "__import__('importlib.util').util.find_spec('uwsgi') is not None") is True


@pytest.fixture
def signals_got() -> Iterator[list[int]]:
    """Collect HUP and INT, which this test process gets as the master."""
    got: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: got.append(number))
        for number in (signal.SIGHUP, signal.SIGINT)
    }
    yield got
    for number, handler in before.items():
        signal.signal(number, handler)


def test_reload_and_stop_signal_the_master(master: FakeMaster, project: Path, signals_got: list[int]) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    assert value(control, "sys.modules['uwsgi'].reload()") is True
    assert value(control, "sys.modules['uwsgi'].stop()") is True
    assert signals_got == [signal.SIGHUP, signal.SIGINT]


HOOKS = (
    "import uwsgi\n"
    "from uwsgidecorators import *\n"
    "ran = []\n"
    "uwsgi.post_fork_hook = lambda: ran.append('hook')\n"
    "@postfork\n"
    "def everywhere(): ran.append(f'everywhere {uwsgi.worker_id()}')\n"
    "@postfork(2)\n"
    "def only_second(): ran.append('second')\n"
    "postfork(lambda: 1 / 0)\n"
    "postfork(lambda: ran.append('after the failure'))\n"
)


@pytest.mark.parametrize("lazy", [False, True])
def test_post_fork_hooks_run_in_every_worker(master: FakeMaster, project: Path, write: Write, lazy: bool) -> None:
    write(HOOKS + APP)
    master.start(app_plan(project), lazy_apps=lazy)
    master.event()
    first, second = master.spawn(1, 0), master.spawn(2, 1)
    ran = "sys.modules['shop_site'].ran"
    assert value(first, ran) == ["hook", "everywhere 1", "after the failure"]
    assert value(second, ran) == ["hook", "everywhere 2", "second", "after the failure"]
    assert "ZeroDivisionError" in master.log()
    assert ask(first, "call /") == "200 OK\n"


def test_a_decorator_that_is_not_there_is_an_import_error(master: FakeMaster, project: Path, write: Write) -> None:
    write("try:\n    from uwsgidecorators import spool\nexcept ImportError:\n    spool = None\n" + APP)
    master.start(app_plan(project))
    assert master.event()["event"] == "imported"
