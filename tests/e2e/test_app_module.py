"""The modules `uwsgi` and `uwsgidecorators` inside a worker: what they give is what uWSGI's give."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from penstock.worker import absent
from tests.e2e.clients import Connection, get
from tests.e2e.harness import APPS, Penstock, read_stats, until
from tests.e2e.original import Original

APP = APPS / "inside.py"
OPTIONS = ("--master", "--processes", "2", "--threads", "2", "--locks", "1", "--set", "my-key=my value")


def ask(address: str, expression: str) -> str:
    """What the app's worker makes of an expression."""
    return get(address, f"/?{quote(expression)}", {"Connection": "close"}).text


@pytest.fixture(scope="module")
def instance() -> Iterator[Penstock]:
    with Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APP, *OPTIONS) as started:
        yield started


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Original]:
    # It does not look for uwsgidecorators, which was installed beside it.
    beside = sysconfig.get_path("purelib")
    started = Original(tmp_path_factory.mktemp("uwsgi") / "log", APP, "--pythonpath", beside, *OPTIONS)
    yield started
    started.process.kill()
    started.process.wait()


SAME = (
    "uwsgi.version, uwsgi.version_info, uwsgi.hostname, uwsgi.numproc, uwsgi.cores, uwsgi.has_threads",
    "uwsgi.is_a_reload, uwsgi.applications, uwsgi.loop, uwsgi.unbit",
    "uwsgi.SPOOL_OK, uwsgi.SPOOL_RETRY, uwsgi.SPOOL_IGNORE",
    "type(uwsgi.started_on), type(uwsgi.buffer_size), uwsgi.started_on > 1_700_000_000",
    "type(uwsgi.sockets), len(uwsgi.sockets), type(uwsgi.sockets[0])",
    "uwsgi.opt['my-key'], uwsgi.opt['processes'], uwsgi.opt['master'], uwsgi.opt['wsgi-file']",
    "{type(key) for key in uwsgi.opt}",
    "uwsgi.worker_id() in (1, 2), uwsgi.masterpid() > 1, uwsgi.mule_id(), uwsgi.i_am_the_spooler(), uwsgi.in_farm()",
    "AT_IMPORT[:2], forked == [uwsgi.worker_id()]",
    "[sorted(worker) for worker in uwsgi.workers()]",
    "[{key: type(value).__name__ for key, value in worker.items()} for worker in uwsgi.workers()]",
    "[sorted(app) for worker in uwsgi.workers() for app in worker['apps']]",
    "[type(value).__name__ for worker in uwsgi.workers() for app in worker['apps'] for value in app.values()]",
    "[(worker['id'], worker['pid'] > 1, worker['last_spawn'] > 1_700_000_000) for worker in uwsgi.workers()]",
    "[worker['status'] for worker in uwsgi.workers() if worker['pid'] == os.getpid()]",
    "[app['mountpoint'] for worker in uwsgi.workers() for app in worker['apps']]",
    "[worker['id'] for worker in uwsgi.workers() if worker['pid'] == os.getpid()] == [uwsgi.worker_id()]",
    "type(uwsgi.total_requests()), type(uwsgi.request_id()), uwsgi.total_requests() >= uwsgi.request_id()",
    "[type(size) for size in uwsgi.mem()], uwsgi.mem()[1] > uwsgi.mem()[0] > 1_000_000",
    "uwsgi.listen_queue(), uwsgi.listen_queue(0)",
    "uwsgi.listen_queue(9)",
    "uwsgi.listen_queue('x')",
    "uwsgi.log('a line'), uwsgi.log('two\\nlines')",
    "uwsgi.log(1)",
    "type(uwsgi.logsize())",
    "abs(uwsgi.micros() / 1e6 - time.time()) < 10",
    "uwsgi.set_logvar('who', 'ann'), uwsgi.get_logvar('who'), uwsgi.get_logvar(b'who'), uwsgi.get_logvar('nobody')",
    "uwsgi.log_this_request()",
    "uwsgi.ready(), uwsgi.accepting()",
    "uwsgi.set_user_harakiri(100), uwsgi.set_user_harakiri(0)",
    "uwsgi.set_user_harakiri('x')",
    "uwsgidecorators.harakiri(100)(abs)(-5)",
    "uwsgi.setprocname('a title')",
    "uwsgi.setprocname(b'bytes')",
    "uwsgi.connection_fd() > 2, uwsgi.is_connected(uwsgi.connection_fd())",
    "uwsgi.is_connected(0), uwsgi.is_connected(999999)",
    "uwsgi.is_connected('x')",
    "uwsgi.lock(), uwsgi.is_locked(), uwsgi.is_locked(1), uwsgi.unlock(), uwsgi.is_locked()",
    "uwsgi.lock(1), uwsgi.is_locked(1), uwsgi.unlock(1), uwsgi.is_locked(1)",
    "uwsgi.unlock()",
    "uwsgi.lock(2)",
    "uwsgi.unlock(-1)",
    "uwsgi.is_locked(2)",
    "uwsgi.lock('x')",
    "uwsgi.lock(0.0)",
    "uwsgi.signal_registered(7), uwsgi.signal_registered(8), uwsgi.signal_registered(300)",
    "uwsgi.register_signal(9, 'worker', print), uwsgi.signal_registered(9), uwsgi.signal_registered(265)",
    "uwsgi.register_signal('x', 'worker', print)",
    "uwsgi.register_signal(10, b'worker', print)",
    "uwsgi.signal(200), uwsgi.signal(-1), uwsgi.signal(300)",
    "uwsgi.signal('x')",
    "uwsgi.add_timer(99, 1000), uwsgi.add_cron(99, 1, 1, 1, 1, 1), uwsgi.register_rpc('name', print)",
    "hasattr(uwsgi, 'no_such_name'), hasattr(uwsgi, 'post_fork_hook') or True",
    "guarded(5), uwsgi.is_locked()",
    "(lambda event: (aside(event) is not aside, event.wait(20)))(threading.Event())",
    "uwsgidecorators.timer(1000)(str.upper) is str.upper, uwsgidecorators.cron(1, 1, 1, 1, 1)(repr) is repr",
    "[hasattr(uwsgidecorators, name) for name in NAMES]",
)
DECORATORS = (
    *(
        "postfork",
        "spool",
        "spoolforever",
        "spoolraw",
        "timer",
        "rbtimer",
        "cron",
        "filemon",
        "signal",
        "lock",
        "thread",
    ),
    *("harakiri", "mulefunc", "mule", "muleloop", "mulemsg", "farm", "rpc"),
)


@pytest.mark.option("locks")
@pytest.mark.parametrize("expression", SAME)
def test_it_is_what_uwsgi_gives(instance: Penstock, original: Original, expression: str) -> None:
    expression = expression.replace("NAMES", repr(DECORATORS))
    assert ask(instance.http, expression) == ask(original.address, expression)


def test_every_name_of_uwsgi_s_is_there_or_says_what_to_use(instance: Penstock, original: Original) -> None:
    names = ast.literal_eval(ask(original.address, "[name for name in dir(uwsgi) if callable(getattr(uwsgi, name))]"))
    assert len(names) > 100
    missing = ast.literal_eval(ask(instance.http, f"[name for name in {names!r} if not hasattr(uwsgi, name)]"))
    assert len(missing) > 50
    # The hooks are its decorators' own.
    assert [name for name in missing if absent.reason(name) is None and not name.endswith("_hook")] == []
    assert "AttributeError: uwsgi.cache_get is not here" in ask(instance.http, "uwsgi.cache_get('key')")


def test_requests_are_counted_over_all_workers(instance: Penstock) -> None:
    before = int(ask(instance.http, "uwsgi.total_requests()"))
    for _ in range(5):
        ask(instance.http, "1")
    assert int(ask(instance.http, "uwsgi.total_requests()")) == before + 6
    sums = "uwsgi.total_requests() == sum(worker['requests'] for worker in uwsgi.workers())"
    assert ask(instance.http, sums) == "True"


def test_a_client_that_left_is_not_connected(instance: Penstock) -> None:
    seen = "(uwsgi.log('waiting for the client to leave'), wait_for(lambda: not uwsgi.is_connected(FD)))"
    expression = f"(lambda: {seen.replace('FD', 'uwsgi.connection_fd()')} + (uwsgi.log('it has left'),))()"
    with Connection(instance.http) as client:
        client.send(f"GET /?{quote(expression)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        instance.wait_log("waiting for the client to leave")
    instance.wait_log("^it has left")


def test_signals_are_handled_by_a_worker(instance: Penstock) -> None:
    ask(instance.http, "uwsgi.signal(7)")
    instance.wait_log("^signal 7 in worker [12]$")


def test_a_lock_is_free_when_its_holder_was_killed() -> None:
    with Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APP, "--processes", "2") as instance:
        pid = int(ask(instance.http, "(uwsgi.lock(), os.getpid())[1]"))
        assert ask(instance.http, "uwsgi.is_locked()") == "True"
        # The lock is that of all generations: new code does not enter while old code is inside.
        instance.reload()
        new = until("the new code answers", lambda: int(ask(instance.http, "uwsgi.is_a_reload and os.getpid()") or 0))
        assert new != pid
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        assert ask(instance.http, "uwsgi.lock(), uwsgi.unlock()") == "(None, None)"


def test_a_lock_lets_one_thread_of_one_worker_in_at_a_time(instance: Penstock, short_dir: Path) -> None:
    counter = short_dir / "counter"
    counter.write_text("0")
    threads = [threading.Thread(target=ask, args=(instance.http, f"count_up({str(counter)!r}, 50)")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.read_text() == "200"


def test_reload_and_stop() -> None:
    with Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APP) as instance:
        assert ask(instance.http, "uwsgi.is_a_reload, uwsgi.reload()") == "(False, True)"
        until("the new code answers", lambda: ask(instance.http, "uwsgi.is_a_reload") == "True")
        assert ask(instance.http, "uwsgi.stop()") == "True"
        assert instance.wait_exit() == 0


def test_workers_that_are_not_there_are_cheap(short_dir: Path) -> None:
    stats = short_dir / "stats"
    arguments = ("--processes", "3", "--cheaper", "1", "--stats", stats)
    with Penstock("--http-socket", "127.0.0.1:0", "--wsgi-file", APP, *arguments) as instance:
        told = ast.literal_eval(ask(instance.http, "[(w['id'], w['pid'], w['status']) for w in uwsgi.workers()]"))
        assert [status for _, _, status in told] == [b"busy", b"cheap", b"cheap"]
        shown = [(worker["id"], worker["pid"]) for worker in read_stats(str(stats))["workers"]]
        assert [(number, pid) for number, pid, _ in told] == shown
