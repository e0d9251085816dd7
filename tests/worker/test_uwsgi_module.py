"""The `uwsgi` module, seen from inside a worker; the two modules are process-wide, so they are made in a child."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from penstock.worker.absent import FAMILIES, REGISTRATIONS
from penstock.worker.uwsgi_module import ALWAYS_ON, options
from tests.e2e.harness import ROOT, until
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
    assert value(control, f"[{module}.mypid() == os.getpid(), {module}.unbit, {module}.loop]") == [True, None, None]
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


def test_what_is_not_here_says_so_and_is_missing(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import uwsgi\n"
        "said = {}\n"
        "for name in ('cache_get', 'mule_msg', 'spool', 'async_sleep', 'no_such_name'):\n"
        "    try:\n"
        "        getattr(uwsgi, name)\n"
        "    except AttributeError as error:\n"
        "        said[name] = str(error)\n"
        "try:\n"
        "    from uwsgi import websocket_send\n"
        "except ImportError:\n"
        "    said['import'] = 'missing'\n" + APP
    )
    master.start(app_plan(project))
    master.event()
    said = value(master.spawn(), "sys.modules['shop_site'].said")
    assert said["cache_get"] == (
        "uwsgi.cache_get is not here: there is no cache in shared memory yet. Instead: use Django's cache framework, "
        "Redis or Valkey"
    )
    assert "there are no mules yet" in said["mule_msg"] and "Celery" in said["spool"]
    assert "threads" in said["async_sleep"]
    assert said["no_such_name"] == "module 'uwsgi' has no attribute 'no_such_name'"
    assert said["import"] == "missing"


def test_no_name_is_both_there_and_not_there() -> None:
    names = [name for names, _, _ in FAMILIES for name in names.split()]
    assert len(names) == len(set(names))
    assert not {*names} & {*REGISTRATIONS}


IDLE = """
import uwsgi
from uwsgidecorators import *

uwsgi.add_timer(7, 30)
uwsgi.after_req_hook = print
uwsgi.spooler = None

@timer(30)
def tick(number): ...

@cron(-5, -1, -1, -1, -1, target="spooler")
def clean(number): ...

@filemon("/tmp")
def look(number): ...

@mule(1)
def work(): ...

@mulefunc
def later(argument): ...

@rpc("name")
def remote(): ...
"""


def test_an_app_with_timers_and_mules_starts_and_is_told_what_does_not_run(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(IDLE + "idle = [tick(1), clean(1), look(1), work(), remote()]\n" + APP)
    master.start(app_plan(project))
    assert master.event()["event"] == "imported"
    log, path = master.log(), project / "shop_site.py"
    for expected in (
        "*** uwsgi.add_timer(7, 30) does nothing: no signals are raised at set times yet. Instead: ",
        "*** uwsgi.after_req_hook has no effect: it is not called after a request. Instead: ",
        f"*** @timer(30): tick ({path}:9) will not run: nothing is run at set times yet. Instead: ",
        f"*** @cron(-5, -1, -1, -1, -1, target='spooler'): clean ({path}:12) will not run: ",
        f"*** @filemon('/tmp'): look ({path}:15) will not run: ",
        f"*** @mule(1): work ({path}:18) will not run: there are no mules yet. Instead: ",
        f"*** @mulefunc: calling later ({path}:21) will raise: there are no mules yet. Instead: ",
        f"*** @rpc('name'): remote ({path}:24) will not run: ",
    ):
        assert expected in log
    assert "uwsgi.spooler has no effect" not in log
    control = master.spawn()
    assert value(control, "sys.modules['shop_site'].idle") == [None] * 5


def test_what_does_not_run_is_told_by_one_of_the_workers_that_import_the_app(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(IDLE + APP)
    master.start(app_plan(project), lazy_apps=True)
    master.event()
    first, second = master.spawn(1, 0), master.spawn(2, 1)
    for line in ("@timer(30): tick", "uwsgi.add_timer(7, 30)", "uwsgi.after_req_hook", "@mulefunc"):
        assert master.log().count(line) == 1
    # Whoever asks while it serves is told.
    for worker in (first, second):
        value(worker, "sys.modules['uwsgi'].add_timer(8, 30)")
    assert master.log().count("uwsgi.add_timer(8, 30)") == 2


SPOOLED = """
import uwsgidecorators

@uwsgidecorators.spool
def mail(arguments): ...

raised = []
for call in (mail, mail.spool):
    try:
        call({"to": "ann"})
    except RuntimeError as error:
        raised.append(str(error))
"""


def test_a_job_for_the_spooler_is_not_lost_in_silence(master: FakeMaster, project: Path, write: Write) -> None:
    write(SPOOLED + APP)
    master.start(app_plan(project, options=(("spooler", "/tmp/jobs"),)))
    assert master.event()["event"] == "imported"
    assert "@spool: calling mail (" in master.log()
    raised = value(master.spawn(), "sys.modules['shop_site'].raised")
    assert len(raised) == 2 and all("there is no spooler yet. Instead: use Celery" in text for text in raised)


def test_without_a_spooler_the_decorator_raises_as_uwsgi_s_does(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(SPOOLED + APP)
    master.start(app_plan(project))
    failed = master.event()
    assert failed["event"] == "import-failed"
    assert "you have to enable the uWSGI spooler to use @spool decorator (mail (" in failed["reason"]


DECORATED = """
import threading, uwsgi, uwsgidecorators

@uwsgidecorators.lock
def guarded(value):
    return [value, uwsgi.is_locked()]

@uwsgidecorators.thread
def aside(event):
    event.set()

def run_aside():
    event = threading.Event()
    return [aside(event).__name__, event.wait(20)]
"""


def test_lock_and_thread_decorate(master: FakeMaster, project: Path, write: Write) -> None:
    write(DECORATED + APP)
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    site = "sys.modules['shop_site']"
    assert value(control, f"{site}.guarded(3)") == [3, True]
    assert value(control, f"{site}.guarded.__name__") == "guarded"
    assert value(control, "sys.modules['uwsgi'].is_locked()") is False
    assert value(control, f"{site}.run_aside()") == ["aside", True]


def test_locks_are_those_of_all_workers_and_die_with_their_holder(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project, locks=1))
    master.event()
    first, second = master.spawn(1, 0), master.spawn(2, 1)
    module = "sys.modules['uwsgi']"
    assert value(first, f"[{module}.is_locked(), {module}.lock(), {module}.is_locked()]") == [False, None, True]
    assert value(second, f"[{module}.is_locked(), {module}.is_locked(1)]") == [True, False]
    assert value(second, f"[{module}.unlock(), {module}.is_locked()]") == [None, True]
    assert value(first, f"[{module}.unlock(), {module}.unlock(), {module}.is_locked()]") == [None, None, False]
    assert value(second, f"[{module}.lock(1), {module}.lock()]") == [None, None]
    # It waits for the one that is killed.
    first.send(f"eval [{module}.lock(), {module}.is_locked(), {module}.is_locked(1)]".encode())
    os.kill(master.pids[1], signal.SIGKILL)
    assert first.recv(65536) == b"[null, true, false]"


def test_a_lock_is_not_kept_by_a_child_of_its_holder(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    first, second = master.spawn(1, 0), master.spawn(2, 1)
    module = "sys.modules['uwsgi']"
    child = "(lambda pid: pid or threading.Event().wait())(os.fork())"
    pid = value(first, f"[{module}.lock(), {child}][1]")
    os.kill(master.pids[0], signal.SIGKILL)
    try:
        assert value(second, f"[{module}.lock(), {module}.is_locked()]") == [None, True]
    finally:
        os.kill(pid, signal.SIGKILL)


def test_wrong_locks_are_refused(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import uwsgi\n"
        "raised = []\n"
        "for number in (1, -1, 'a', 0.0):\n"
        "    for call in (uwsgi.lock, uwsgi.unlock, uwsgi.is_locked):\n"
        "        try:\n"
        "            call(number)\n"
        "        except (TypeError, ValueError) as error:\n"
        "            raised.append(repr(error))\n" + APP
    )
    master.start(app_plan(project))
    master.event()
    raised = value(master.spawn(), "sys.modules['shop_site'].raised")
    assert raised[:6] == ["ValueError('Invalid lock number')"] * 6 and len(raised) == 12
    assert all("can not be interpreted" in text or "cannot be interpreted" in text for text in raised[6:])


SIGNALS = """
import os, queue, uwsgi
heard = queue.SimpleQueue()

def hear(number):
    heard.put([number, uwsgi.worker_id()])

uwsgi.register_signal(17, "", hear)
uwsgi.register_signal(18, "workers", hear)
uwsgi.register_signal(19, "worker2", hear)
uwsgi.register_signal(20, "worker", lambda number: 1 / 0)
uwsgi.register_signal(21, "mule", hear)
uwsgi.register_signal(22, "worker9", hear)
registered = [uwsgi.signal_registered(number) for number in (17, 21, 22, 273)]
"""


def test_signals_reach_the_workers_that_they_are_for(master: FakeMaster, project: Path, write: Write) -> None:
    write(SIGNALS + APP)
    master.start(app_plan(project))
    master.event()
    assert "uwsgi.register_signal(21, 'mule', hear): the handler will not run" in master.log()
    first, second = master.spawn(1, 0), master.spawn(2, 1)
    heard = "sys.modules['shop_site'].heard.get(timeout=20)"
    raise_signal = "sys.modules['uwsgi'].signal"
    assert value(first, "sys.modules['shop_site'].registered") == [True, None, None, True]
    assert value(first, f"{raise_signal}(19)") is None
    assert value(second, heard) == [19, 2]
    assert value(second, f"{raise_signal}(18)") is None
    assert [value(first, heard), value(second, heard)] == [[18, 1], [18, 2]]
    value(first, f"{raise_signal}(20)")
    value(first, f"{raise_signal}(99)")
    assert "error managing signal 99 on worker 1" in master.log()
    until("the failure of the handler is in the log", lambda: "ZeroDivisionError" in master.log())
    # Whoever is free first gets it: in a worker alone it is that one.
    second.send(b"stop")
    assert master.event()["event"] == "exited"
    value(first, f"{raise_signal}(17)")
    assert value(first, heard) == [17, 1]


def test_a_worker_hears_what_it_registers_itself(master: FakeMaster, project: Path, write: Write) -> None:
    write(SIGNALS + APP)
    master.start(app_plan(project), lazy_apps=True)
    master.event()
    control = master.spawn(2)
    value(control, "[sys.modules['uwsgi'].signal(number) for number in (17, 18, 19)]")
    heard = "sys.modules['shop_site'].heard.get(timeout=20)"
    assert sorted(value(control, f"[{heard}, {heard}, {heard}]")) == [[17, 2], [18, 2], [19, 2]]


def test_outside_of_the_server_there_is_no_such_module() -> None:
    program = "import penstock.worker.uwsgi_module\ntry:\n    import uwsgi\nexcept ImportError as e:\n    print(e)"
    ran = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert ran.stdout == "No module named 'uwsgi'\n"
