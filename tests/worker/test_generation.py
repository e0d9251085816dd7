"""A real generation, exec'd with the real boot file, driven over the real protocol; only the engine is a fake."""

from __future__ import annotations

import os
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.fake_master import WAIT_S, FakeMaster, app_plan, ask, engine_plan, value

Write = Callable[..., None]

FINE = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"fine"]
"""


def test_import_spawn_answer_drain_and_end(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    imported = master.event()
    assert imported["event"] == "imported"
    assert imported["seconds"] >= 0
    first = master.spawn(1, 0)
    second = master.spawn(2, 3)
    assert ask(first, "call /") == "200 OK\nhello"
    assert value(second, "[plan.worker_id, plan.scoreboard_slot]") == [2, 3]
    first.send(b"drain")
    ended = master.event()
    assert ended == {"event": "exited", "worker": 1, "slot": 0, "pid": master.pids[0], "status": 0}
    master.end()
    second.send(b"stop")
    assert master.event()["worker"] == 2
    assert master.exit_code() == 0
    log = master.log()
    assert "WSGI app 0 (mountpoint='') ready in 0 seconds on interpreter 0x" in log
    assert "(default app)" in log


def test_the_plan_reaches_the_engine_with_its_types_and_live_descriptors(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    assert value(control, "plan.engine.static.maps[0].path == '/srv/static'") is True
    assert value(control, "plan.engine.log.enabled") is True
    assert value(control, "[each.protocol for each in plan.listeners]") == ["http"]
    port = master.listener.getsockname()[1]
    inside = "__import__('socket').socket(fileno=os.dup(plan.listeners[0].fd)).getsockname()[1]"
    assert value(control, inside) == port
    assert value(control, "[os.get_inheritable(f) for f in (plan.control_fd, plan.lifeline_fd, plan.log_fd)]") == [
        False, False, False,
    ]  # fmt: skip


def test_the_app_finds_the_surroundings_that_uwsgi_gives(master: FakeMaster, project: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    plan = app_plan(
        project,
        pythonpath=(str(library),),
        environment=(("COLOUR", "blue"), ("COLOUR", "green"), ("TZ", "Asia/Shanghai"), ("PYTHONPATH", "/late")),
    )
    master.start(plan)
    master.event()
    control = master.spawn()
    assert value(control, "sys.argv") == ["uwsgi"]
    assert value(control, "sys.path[:3]") == [str(library), str(project), "/late"]
    assert value(control, "[p for p in sys.path if 'installation' in p]") == []
    assert value(control, "os.environ['COLOUR']") == "green"
    assert value(control, "__import__('time').tzname[0]") == "CST"
    assert value(control, "os.getcwd()") == str(project)
    assert value(control, "sys.stdin.read()") == ""
    assert f"added {library}/ to pythonpath." in master.log()


def test_what_the_app_prints_is_in_the_log_at_each_line_end(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import sys\n"
        "print('from the import')\n"
        "print('unfinished', end='')\n"
        "def application(environ, start_response):\n"
        "    print('from a request \\udcff')\n"
        "    print('on stderr', file=sys.stderr)\n"
        "    start_response('200 OK', [])\n"
        "    return []\n"
    )
    master.start(app_plan(project))
    master.event()
    master.spawn(1, 0)
    control = master.spawn(2, 1)
    ask(control, "call /")
    log = master.log()
    assert "from the import\n" in log
    assert log.count("unfinished") == 1
    assert "from a request \\udcff\n" in log
    assert "on stderr\n" in log


def test_an_import_that_fails_is_reported_with_its_first_cause(master: FakeMaster, project: Path, write: Write) -> None:
    write("def connect():\n    return 1 / 0\n", "database.py")
    write(
        "import database\n"
        "try:\n"
        "    database.connect()\n"
        "except ZeroDivisionError as error:\n"
        "    raise RuntimeError('no database') from error\n"
    )
    master.start(app_plan(project))
    event = master.event()
    assert event["event"] == "import-failed"
    assert event["exit_code"] is None
    assert "RuntimeError: no database" in event["reason"]
    assert (
        f"first cause: ZeroDivisionError: division by zero at {project}/database.py:2 (return 1 / 0)" in event["reason"]
    )
    assert "ZeroDivisionError" in event["traceback"]
    assert "penstock/worker" not in event["traceback"]
    assert master.exit_code() == 22
    log = master.log()
    assert "Traceback (most recent call last)" in log
    assert "unable to load app 0 (mountpoint='') (callable not found or import error)" in log
    assert "GAME OVER" in log


def test_sys_exit_at_import_is_reported_with_its_status(master: FakeMaster, project: Path, write: Write) -> None:
    write("import sys\nsys.exit(7)\n")
    master.start(app_plan(project))
    event = master.event()
    assert event["exit_code"] == 7
    assert f"sys.exit(7) was called during the import at {project}/shop_site.py:2" in event["reason"]
    assert master.exit_code() == 22


def test_a_traceback_too_long_for_a_datagram_keeps_both_ends(master: FakeMaster, project: Path, write: Write) -> None:
    write("raise RuntimeError('begin' + '\\u6c34' * 300000 + 'end')\n")
    master.start(app_plan(project))
    event = master.event()
    assert "characters left out" in event["traceback"]
    assert event["traceback"].startswith("Traceback")
    assert event["traceback"].endswith("end\n")
    assert len(event["traceback"]) < 60_000


def test_without_need_app_a_broken_app_is_served_as_500(master: FakeMaster, project: Path, write: Write) -> None:
    write("import does_not_exist\n")
    master.start(app_plan(project), need_app=False)
    assert master.event()["event"] == "imported"
    control = master.spawn()
    assert ask(control, "call /").startswith("500 Internal Server Error\n")
    log = master.log()
    assert "going in full dynamic mode" in log
    assert "No module named 'does_not_exist'" in log
    assert "no python application found" in log


def test_a_reload_to_a_broken_app_fails_even_without_need_app(master: FakeMaster, project: Path, write: Write) -> None:
    write("import does_not_exist\n")
    master.start(app_plan(project), need_app=False, is_reload=True)
    assert master.event()["event"] == "import-failed"
    assert master.exit_code() == 22
    assert "the app of the new generation does not load" in master.log()
    assert "GAME OVER" not in master.log()


def test_without_any_app(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project, kind="none", target=""))
    event = master.event()
    assert event["event"] == "import-failed"
    assert "no application is configured" in event["reason"]
    assert master.exit_code() == 22


def test_a_directory_that_is_not_there_names_the_option(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project, chdir=str(project / "gone")))
    event = master.event()
    assert event["event"] == "import-failed"
    assert f"can not enter the directory {project}/gone (option chdir): No such file or directory" in event["reason"]


def test_lazy_apps_are_imported_by_each_worker(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import os\n"
        "imported_by = os.getpid()\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [str(imported_by).encode()]\n"
    )
    master.start(app_plan(project), lazy_apps=True)
    assert master.event() == {"event": "imported", "seconds": 0.0, "lazy": True}
    controls = [master.spawn(1, 0), master.spawn(2, 1)]
    assert [ask(each, "call /") for each in controls] == [f"200 OK\n{pid}" for pid in master.pids]


def test_a_lazy_import_that_fails_is_told_over_the_control_pair(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write("import does_not_exist\n")
    master.start(app_plan(project), lazy_apps=True)
    master.event()
    control = master.spawn(ready=False)
    message = control.recv(65536).decode()
    cause, _, rest = message.partition("\n")
    assert cause.startswith("failed could not import the app: ModuleNotFoundError: No module named 'does_not_exist'")
    assert rest.startswith("Traceback")
    ended = master.event()
    assert os.waitstatus_to_exitcode(ended["status"]) == 22


def test_workers_that_fail_alike_tell_it_in_full_once(master: FakeMaster, project: Path, write: Write) -> None:
    write("import does_not_exist\n")
    master.start(app_plan(project), lazy_apps=True)
    master.event()
    for worker in (1, 2):
        master.spawn(worker, worker - 1, ready=False)
        assert master.event()["worker"] == worker
    log = master.log()
    assert log.count("Traceback") == log.count("unable to load app 0") == 1
    assert f"worker 2 (pid: {master.pids[1]}) can not load the app either: ModuleNotFoundError" in log


def test_a_crash_in_c_during_the_import_shows_the_stack(master: FakeMaster, project: Path, write: Write) -> None:
    write("import ctypes\nctypes.string_at(0)\n")
    master.start(app_plan(project))
    assert master.exit_code() == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in master.log()
    assert f'File "{project}/shop_site.py", line 2 in <module>' in master.log()


def test_settings_that_can_not_be_read_are_not_asked_for_connections(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write("", "django/__init__.py")
    write("class settings:\n    configured = False\n", "django/conf.py")
    write("", "django/db.py")
    write("import django.conf, django.db\nraise KeyError('SECRET')\n")
    master.start(app_plan(project), need_app=False)
    assert master.event()["event"] == "imported"
    assert "database connections" not in master.log()


def test_a_worker_that_is_killed_is_reported_with_its_status(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    master.spawn(4, 2)
    os.kill(master.pids[0], signal.SIGKILL)
    ended = master.event()
    assert (ended["worker"], ended["slot"], ended["pid"]) == (4, 2, master.pids[0])
    assert os.waitstatus_to_exitcode(ended["status"]) == -signal.SIGKILL


def test_children_of_the_app_are_left_to_the_app(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import subprocess\n"
        "child = subprocess.Popen(['true'])\n"
        "application = lambda environ, start_response: []\n"
        "import signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
    )
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    control.send(b"drain")
    assert master.event()["status"] == 0


def test_the_end_of_the_channel_is_the_end_of_the_generation(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    master.channel.close()
    assert master.exit_code() == 0
    # Its worker lives on: it belongs to the master, not to the generation.
    assert value(control, "1 + 1") == 2


def test_the_end_of_the_lifeline_ends_the_generation_and_orphans_the_worker(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    master.cut_lifeline()
    assert master.exit_code() == 0
    assert control.recv(10) == b""


@pytest.mark.parametrize("cut", ["lifeline", "channel"])
def test_a_master_that_goes_during_the_import_ends_it_at_once(
    master: FakeMaster, project: Path, write: Write, cut: str
) -> None:
    # The process forked by the app holds copies of every descriptor, which must not delay anything.
    write("import os, sys, time\nopen('began', 'w').close()\nos.mkfifo('never') or open('never')\n")
    watch = Inotify(project)
    master.start(app_plan(project))
    watch.wait_for("began")
    if cut == "lifeline":
        master.cut_lifeline()
    else:
        master.channel.close()
    assert master.exit_code() == 1


def test_threads_of_the_import_are_named_before_they_are_lost(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, name='metrics-sender', daemon=True).start()\n"
        "application = lambda environ, start_response: []\n"
    )
    master.start(app_plan(project))
    master.event()
    assert "the thread metrics-sender (Event.wait, " in master.log()
    control = master.spawn()
    assert value(control, "[each.name for each in threading.enumerate()]") == ["MainThread"]


def test_signals_for_the_master_do_not_end_a_generation_or_worker(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write(
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))\n"
        "application = lambda environ, start_response: []\n"
    )
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    for number in ("INT", "HUP", "TERM", "QUIT", "USR1", "USR2", "ALRM", "TSTP"):
        os.kill(master.pid, signal.Signals[f"SIG{number}"])
        os.kill(master.pids[0], signal.Signals[f"SIG{number}"])
    assert value(control, "1 + 1") == 2
    assert value(master.spawn(2, 1), "1 + 1") == 2
    assert "the app's handler of SIGTERM is not used" in master.log()


def test_a_program_or_fork_of_the_app_can_be_terminated(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    popen = "(lambda p: (p.terminate(), p.wait()))(__import__('subprocess').Popen(['sleep', '600']))[1]"
    assert value(control, popen) == -signal.SIGTERM
    process = (
        "(lambda p: (p.start(), p.terminate(), p.join(), p.exitcode))"
        "(__import__('multiprocessing').get_context('fork').Process(target=threading.Event().wait))[3]"
    )
    assert value(control, process) == -signal.SIGTERM


def test_a_fork_of_the_app_does_not_hold_the_worker_s_descriptors(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    fork = "(lambda pid: pid or threading.Event().wait())(os.fork())"
    pid = value(control, fork)
    try:
        control.send(b"drain")
        assert master.event()["status"] == 0
        assert control.recv(10) == b"", "the fork keeps the control pair open"
    finally:
        os.kill(pid, signal.SIGKILL)


def test_workers_do_not_share_the_random_generator_s_state(master: FakeMaster, project: Path, write: Write) -> None:
    write("import random\napplication = lambda environ, start_response: []\n")
    master.start(app_plan(project))
    master.event()
    numbers = {value(master.spawn(each, each), "sys.modules['random'].random()") for each in (1, 2)}
    assert len(numbers) == 2


def test_app_threads_are_real_threads_with_uwsgi_s_names(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project), engine_plan(threads=3))
    master.event()
    control = master.spawn(2, 0)
    names = value(control, "sorted(each.name for each in threading.enumerate())")
    assert names == ["MainThread", "uWSGIWorker2Core1", "uWSGIWorker2Core2"]
    control.send(b"drain")
    assert master.event()["status"] == 0


def test_exit_handlers_run_in_a_worker_that_drains(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import atexit, uwsgi\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "pool = ThreadPoolExecutor(1)\n"
        "atexit.register(print, 'atexit ran')\n"
        "uwsgi.atexit = lambda: print('uwsgi.atexit ran')\n"
        "def application(environ, start_response):\n"
        "    pool.submit(print, 'background work')\n"
        "    start_response('200 OK', [])\n"
        "    return []\n"
    )
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    ask(control, "call /")
    control.send(b"drain")
    assert master.event()["status"] == 0
    log = master.log()
    assert log.index("background work") < log.index("uwsgi.atexit ran") < log.index("atexit ran\n", -20)
    master.end()
    assert master.exit_code() == 0
    assert master.log().count("uwsgi.atexit ran") == 1


def test_an_exit_handler_that_hangs_does_not_hold_the_worker(master: FakeMaster, project: Path, write: Write) -> None:
    write(
        "import atexit, threading\n"
        "atexit.register(threading.Event().wait)\n"
        "application = lambda environ, start_response: []\n"
    )
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    control.send(b"stop")
    assert master.event()["status"] == 0
    assert "does not wait any longer for its exit handlers" in master.log()


def test_an_engine_that_does_not_start_is_logged_and_ends_the_worker(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project), engine_plan(server_name="broken-engine"))
    master.event()
    master.spawn(ready=False)
    assert os.waitstatus_to_exitcode(master.event()["status"]) == 1
    assert "RuntimeError: the engine could not start" in master.log()


def test_a_stack_dump_goes_to_the_log(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    os.kill(master.pids[0], signal.SIGRTMIN + 1)
    assert value(control, "1") == 1
    log = master.log()
    assert "in _serve" in log
    assert "generation.py" not in log, "a worker's stack begins inside the generation's loop"


def test_nothing_of_penstock_s_directory_can_be_imported_but_penstock(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    find = "__import__('importlib.util').util.find_spec"
    assert value(control, f"{find}('penstock').origin").endswith("installation/penstock/__init__.py")
    for name in ("worker", "loader", "boot", "plan"):
        assert value(control, f"{find}({name!r})") is None


def test_the_heap_is_frozen_for_sharing(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    assert value(master.spawn(), "__import__('gc').get_freeze_count() > 1000") is True


class Inotify:
    """Waits for a file by the kernel's word, with the one libc call that Python lacks."""

    def __init__(self, directory: Path) -> None:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        self._directory = directory
        self._fd = libc.inotify_init1(os.O_CLOEXEC)
        assert libc.inotify_add_watch(self._fd, os.fsencode(directory), 0x100) >= 0  # IN_CREATE

    def wait_for(self, name: str) -> None:
        while not (self._directory / name).exists():
            ready, _, _ = select.select([self._fd], [], [], WAIT_S)
            assert ready, f"{name} was not made"
            os.read(self._fd, 65536)
        os.close(self._fd)


def test_an_end_with_descriptors_and_a_late_spawn_close_what_they_brought(master: FakeMaster, project: Path) -> None:
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    master.end()
    mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    mine.settimeout(WAIT_S)
    socket.send_fds(master.channel, [b'{"op":"spawn","worker":2,"slot":1}'], [other.fileno()])
    other.close()
    assert mine.recv(10) == b"", "a spawn after the end is refused by closing its control pair"
    mine.close()
    control.send(b"drain")
    assert master.event()["worker"] == 1
    assert master.exit_code() == 0


def test_streams_that_the_app_replaced_do_not_keep_it_from_serving(
    master: FakeMaster, project: Path, write: Write
) -> None:
    write("import sys\nclass Quiet:\n    def write(self, text): pass\nsys.stdout = Quiet()\n" + FINE)
    master.start(app_plan(project))
    master.event()
    assert ask(master.spawn(), "call /") == "200 OK\nfine"


CHILD = """
import multiprocessing, os, time
context = multiprocessing.get_context("fork")
child = context.Process(target=time.sleep, args=(1000,), daemon=True)
child.start()
"""


def test_a_child_of_the_import_is_as_any_child(master: FakeMaster, project: Path, write: Write) -> None:
    write(CHILD + FINE)
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    child = value(control, "sys.modules['shop_site'].child.pid")
    opened = {os.readlink(f"/proc/{child}/fd/{fd}") for fd in os.listdir(f"/proc/{child}/fd")}
    mine = {f"socket:[{os.fstat(one.fileno()).st_ino}]" for one in (master.listener, *master.handoff)}
    assert not opened & mine
    # A worker that leaves has no say in it.
    control.send(b"drain")
    assert master.event()["event"] == "exited"
    assert "can only join a child process" not in master.log()
    assert Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    os.kill(child, signal.SIGTERM)
    pidfd = os.pidfd_open(child)
    assert select.select([pidfd], [], [], WAIT_S)[0]
    os.close(pidfd)


def test_children_of_the_import_end_with_the_generation(master: FakeMaster, project: Path, write: Write) -> None:
    write(CHILD + FINE)
    master.start(app_plan(project))
    master.event()
    control = master.spawn()
    pidfd = os.pidfd_open(value(control, "sys.modules['shop_site'].child.pid"))
    control.send(b"drain")
    master.end()
    assert master.event()["event"] == "exited" and master.exit_code() == 0
    assert select.select([pidfd], [], [], WAIT_S)[0]
    os.close(pidfd)
