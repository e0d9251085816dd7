"""Starting, reloading, recycling and stopping: signals, pid file, exit statuses, and what clients notice of it."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, Cut, connect, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, is_alive, read_stats, run_penstock, state, until
from tests.e2e.load import Load

HTTP = ("--http", "127.0.0.1:0")
CASES = (*HTTP, "--wsgi-file", str(APPS / "cases.py"), "--master")

VERSIONED = """
VERSION = {version!r}
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION.encode()]
"""


@pytest.fixture
def versioned(short_dir: Path) -> Callable[[str], Path]:
    """Writes an app that answers with its version; call it again to deploy another one."""

    def write(version: str) -> Path:
        path = short_dir / "versioned.py"
        new = short_dir / "versioned.new"
        new.write_text(VERSIONED.format(version=version))
        new.rename(path)
        return path

    return write


# -- starting ----------------------------------------------------------------------------------------------------------


@pytest.mark.option("processes")
def test_the_process_tree() -> None:
    with Penstock(*CASES, "--processes", "3", "--threads", "2") as instance:
        assert len(instance.generations()) == 1
        assert len(instance.workers()) == 3
        assert len(instance.processes()) == 5


@pytest.mark.event("start")
def test_the_socket_listens_before_the_app_is_imported(short_dir: Path) -> None:
    os.mkfifo(short_dir / "go")
    app = short_dir / "slow.py"
    app.write_text(f"open({str(short_dir / 'go')!r}).close()\n" + VERSIONED.format(version="slow"))
    instance = Penstock(*HTTP, "--wsgi-file", app, wait=False)
    with instance:
        instance.wait_log("bound to TCP address")
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", "/"))
            assert "READY=1" not in instance.notices
            (short_dir / "go").write_text("")
            assert connection.read().body == b"slow"
        instance.wait_ready()


@pytest.mark.stress
def test_who_connects_during_an_import_of_20_seconds_is_served(short_dir: Path) -> None:
    app = short_dir / "slow.py"
    app.write_text("import time\ntime.sleep(20)\n" + VERSIONED.format(version="slow"))
    with Penstock(*HTTP, "--wsgi-file", app, wait=False) as instance:
        instance.wait_log("bound to TCP address")
        with Connection(instance.http, timeout_s=40) as connection:
            connection.send(request_bytes("GET", "/"))
            assert connection.read().body == b"slow"


def test_no_app_is_22(short_dir: Path) -> None:
    result = run_penstock(*HTTP, "--wsgi-file", short_dir / "nothing.py")
    assert result.returncode == 22
    assert "nothing.py" in result.stderr


def test_an_app_that_does_not_import_is_22_with_its_traceback(short_dir: Path) -> None:
    (short_dir / "broken.py").write_text("import a_module_that_is_nowhere\n")
    result = run_penstock(*HTTP, "--chdir", short_dir, "--module", "broken")
    assert result.returncode == 22
    assert "Traceback" in result.stderr
    assert "No module named 'a_module_that_is_nowhere'" in result.stderr


def test_a_callable_that_is_not_there_is_22(versioned: Callable[[str], Path]) -> None:
    result = run_penstock(*HTTP, "--wsgi-file", versioned("1"), "--callable", "app")
    assert result.returncode == 22
    assert "app" in result.stderr


def test_sys_exit_at_import_is_22_and_names_the_number(short_dir: Path) -> None:
    (short_dir / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    result = run_penstock(*HTTP, "--chdir", short_dir, "--module", "leaves")
    assert result.returncode == 22
    assert re.search(r"sys\.exit\(3\)|exit(ed)? .*\b3\b", result.stderr)


def test_lazy_apps_that_do_not_import_are_22(short_dir: Path) -> None:
    (short_dir / "broken.py").write_text("raise RuntimeError('lazily broken')\n")
    result = run_penstock(*HTTP, "--chdir", short_dir, "--module", "broken", "--lazy-apps", "--processes", "2")
    assert result.returncode == 22
    assert "lazily broken" in result.stderr


@pytest.mark.option("need-app")
def test_without_need_app_it_starts(short_dir: Path) -> None:
    config = short_dir / "app.ini"
    config.write_text("[uwsgi]\nhttp = 127.0.0.1:0\nmodule = a_module_that_is_nowhere\nneed-app = false\n")
    with Penstock("--ini", config) as instance:
        assert get(instance.http).status >= 500


@pytest.mark.option("lazy-apps")
def test_lazy_apps(versioned: Callable[[str], Path]) -> None:
    with Penstock(*HTTP, "--wsgi-file", versioned("lazy"), "--lazy-apps", "--processes", "2") as instance:
        assert get(instance.http).body == b"lazy"


def test_a_wrong_value_is_1_and_named(short_dir: Path) -> None:
    config = short_dir / "app.ini"
    config.write_text("[uwsgi]\nhttp = 127.0.0.1:0\nprocesses = many\n")
    result = run_penstock("--ini", config)
    assert result.returncode == 1
    assert "app.ini:3" in result.stderr
    assert "processes" in result.stderr


def test_an_unknown_option_in_a_file_is_reported_and_does_not_stop_the_start(
    versioned: Callable[[str], Path], short_dir: Path
) -> None:
    config = short_dir / "app.ini"
    config.write_text(f"[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = {versioned('1')}\nwork=20\n")
    with Penstock(config) as instance:
        assert get(instance.http).body == b"1"
        line = instance.wait_log("^.*work.*did you mean.*$")[0]
        assert "app.ini:4" in line
        assert "workers" in line
    config.write_text(config.read_text() + "strict = true\n")
    result = run_penstock(config)
    assert result.returncode == 1
    assert "did you mean" in result.stderr


def test_an_address_in_use_is_1(versioned: Callable[[str], Path]) -> None:
    with Penstock(*HTTP, "--wsgi-file", versioned("1")) as instance:
        result = run_penstock("--http", instance.http, "--wsgi-file", versioned("1"))
        assert result.returncode == 1
        assert instance.http in result.stderr


def test_a_stale_socket_is_replaced_and_a_live_one_refused(versioned: Callable[[str], Path], short_dir: Path) -> None:
    path = short_dir / "app.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with Penstock("--http-socket", path, "--wsgi-file", versioned("1")):
        assert get(str(path)).body == b"1"
        result = run_penstock("--http-socket", path, "--wsgi-file", versioned("2"))
        assert result.returncode == 1
        assert str(path) in result.stderr
        assert get(str(path)).body == b"1"


def test_a_file_that_is_no_socket_is_not_replaced(versioned: Callable[[str], Path], short_dir: Path) -> None:
    path = short_dir / "precious"
    path.write_text("data")
    assert run_penstock("--http-socket", path, "--wsgi-file", versioned("1")).returncode == 1
    assert path.read_text() == "data"


def test_an_abstract_socket(versioned: Callable[[str], Path]) -> None:
    name = f"@penstock-{os.getpid()}"
    with Penstock("--http-socket", name, "--wsgi-file", versioned("1")):
        assert get(name).body == b"1"


@pytest.mark.option("chmod-socket", "http-socket", "umask", "vacuum")
def test_chmod_socket_and_vacuum(versioned: Callable[[str], Path], short_dir: Path) -> None:
    path = short_dir / "app.sock"
    with Penstock("--http-socket", path, "--wsgi-file", versioned("1"), "--chmod-socket=660", "--vacuum"):
        assert path.stat().st_mode & 0o777 == 0o660
    assert not path.exists()
    with Penstock("--http-socket", path, "--wsgi-file", versioned("1"), "--umask", "077"):
        assert path.stat().st_mode & 0o077 == 0
    assert path.exists(), "without vacuum it stays, as with uWSGI"


# -- the pid file ------------------------------------------------------------------------------------------------------


@pytest.mark.option("pidfile")
def test_the_pid_file(versioned: Callable[[str], Path], short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    for how in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile) as instance:
            assert pidfile.read_text().strip() == str(instance.pid)
            instance.reload()
            assert pidfile.read_text().strip() == str(instance.pid)
            instance.stop(how)
        assert not pidfile.exists(), how


def test_a_second_instance_is_refused(versioned: Callable[[str], Path], short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile) as instance:
        result = run_penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile)
        assert result.returncode == 1
        assert str(instance.pid) in result.stderr
        assert str(pidfile) in result.stderr
        assert pidfile.read_text().strip() == str(instance.pid)
        assert get(instance.http).status == 200


def test_a_stale_pid_file_is_replaced(versioned: Callable[[str], Path], short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    with subprocess.Popen(["true"]) as gone:
        pass
    pidfile.write_text(f"{gone.pid}\n")
    with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile) as instance:
        assert pidfile.read_text().strip() == str(instance.pid)


def test_a_pid_that_belongs_to_somebody_else_is_no_second_instance(
    versioned: Callable[[str], Path], short_dir: Path
) -> None:
    pidfile = short_dir / "app.pid"
    pidfile.write_text(f"{os.getpid()}\n")
    with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile) as instance:
        assert pidfile.read_text().strip() == str(instance.pid)


def test_reload_and_stop_by_pid_file(versioned: Callable[[str], Path], short_dir: Path) -> None:
    pidfile = short_dir / "app.pid"
    with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--pidfile", pidfile) as instance:
        versioned("2")
        assert run_penstock("--reload", pidfile).returncode == 0
        until("the new version", lambda: get(instance.http).body == b"2")
        assert run_penstock("--stop", pidfile).returncode == 0
        assert instance.wait_exit() == 0


@pytest.mark.parametrize("command", ["--reload", "--stop"])
def test_commands_without_an_instance(short_dir: Path, command: str) -> None:
    result = run_penstock(command, short_dir / "nothing.pid")
    assert result.returncode == 1
    assert "nothing.pid" in result.stderr
    with subprocess.Popen(["true"]) as gone:
        pass
    (short_dir / "stale.pid").write_text(f"{gone.pid}\n")
    result = run_penstock(command, short_dir / "stale.pid")
    assert result.returncode == 255
    assert str(gone.pid) in result.stderr


def test_a_start_that_is_refused_leaves_one_line_in_the_log_of_the_instance_that_runs(
    versioned: Callable[[str], Path], short_dir: Path
) -> None:
    log, pidfile = short_dir / "app.log", short_dir / "app.pid"
    options = ("--http-socket", short_dir / "app.sock", "--wsgi-file", versioned("1"), "--logto", log)
    with Penstock(*options, "--pidfile", pidfile):
        before = log.read_text()
        for more in (("--pidfile", pidfile), ()):
            refused = run_penstock(*options, *more)
            assert refused.returncode == 1 and "is running" in refused.stderr
        lines = log.read_text()[len(before) :].splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["*** a second start was refused"] * 2


# -- daemonize ---------------------------------------------------------------------------------------------------------


@pytest.mark.option("daemonize")
def test_a_daemon_does_not_hold_the_streams_of_who_started_it(
    versioned: Callable[[str], Path], short_dir: Path
) -> None:
    log, pidfile = short_dir / "app.log", short_dir / "app.pid"
    options = ("--http-socket", short_dir / "app.sock", "--wsgi-file", versioned("1"), "--pidfile", pidfile)
    # It reads to the end of both streams.
    started = run_penstock(*options, "--daemonize", log)
    assert started.returncode == 0 and "penstock is ready" in started.stderr
    pid = int(pidfile.read_text())
    assert run_penstock("--stop", pidfile).returncode == 0
    until("the daemon is gone", lambda: not is_alive(pid))


@pytest.mark.option("daemonize")
def test_daemonize_returns_when_the_app_has_answered(versioned: Callable[[str], Path], short_dir: Path) -> None:
    log, pidfile = short_dir / "app.log", short_dir / "app.pid"
    instance = Penstock(
        "--http-socket", short_dir / "app.sock", "--wsgi-file", versioned("1"), "--daemonize", log,
        "--pidfile", pidfile, wait=False,
    )  # fmt: skip
    with instance:
        assert instance.wait_exit() == 0, instance.log
        assert get(str(short_dir / "app.sock")).body == b"1"
        pid = int(pidfile.read_text())
        assert pid != instance.pid
        assert os.getsid(pid) != os.getsid(0)
        assert get(str(short_dir / "app.sock")).body == b"1"
        until("a request line", lambda: "GET /" in log.read_text())
        assert run_penstock("--stop", pidfile).returncode == 0
        until("the end", lambda: not is_alive(pid))
        assert not pidfile.exists()


def test_daemonize_shows_the_traceback_and_fails(short_dir: Path) -> None:
    (short_dir / "broken.py").write_text("raise RuntimeError('broken at import')\n")
    result = run_penstock(
        *HTTP, "--chdir", short_dir, "--module", "broken", "--daemonize", short_dir / "app.log", "--pidfile",
        short_dir / "app.pid",
    )  # fmt: skip
    assert result.returncode == 22
    assert "RuntimeError: broken at import" in result.stdout + result.stderr
    assert "RuntimeError: broken at import" in (short_dir / "app.log").read_text()
    assert not (short_dir / "app.pid").exists()


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.mark.event("stop")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_term_and_int_let_requests_end(gate: Gate, how: signal.Signals) -> None:
    with Penstock(*CASES) as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(how)

        def is_refused() -> bool:
            try:
                connect(instance.http).close()
            except ConnectionRefusedError:
                return True
            return False

        until("new connections are refused", is_refused)
        gate.open()
        assert connection.read().body == b"waited"
        assert connection.is_closed()
        assert instance.wait_exit() == 0


@pytest.mark.event("stop-again")
def test_a_second_signal_means_now(gate: Gate) -> None:
    with Penstock(*CASES) as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(signal.SIGTERM)
        instance.wait_log("gracefully killing workers")

        def is_heard() -> bool:
            # One that comes at the same moment as the first does not count.
            if "killing workers now" not in instance.log:
                instance.send(signal.SIGTERM)
            return "killing workers now" in instance.log

        until("the second signal is taken for one", is_heard)
        assert instance.wait_exit(5) == 0
        with pytest.raises((Cut, ConnectionError)):
            connection.read()


@pytest.mark.event("stop-now")
def test_quit_stops_now(gate: Gate) -> None:
    with Penstock(*CASES) as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(signal.SIGQUIT)
        assert instance.wait_exit(5) == 0
        with pytest.raises((Cut, ConnectionError)):
            connection.read()


@pytest.mark.event("stop")
def test_an_idle_instance_stops_at_once() -> None:
    with Penstock(*CASES, "--processes", "2") as instance, Connection(instance.http) as connection:
        connection.request("GET", "/hello")
        begin = time.monotonic()
        instance.stop()
        assert time.monotonic() - begin < 3, "an idle keep-alive connection is nothing to wait for"


def test_ctrl_c_reaches_the_whole_process_group() -> None:
    with Penstock(*CASES, "--processes", "2") as instance:
        os.killpg(instance.pid, signal.SIGINT)
        assert instance.wait_exit() == 0
        assert "Traceback" not in instance.log
        assert "KeyboardInterrupt" not in instance.log


def test_ctrl_c_under_a_shell() -> None:
    with Penstock(*CASES, prefix=("sh", "-c", '"$@"; true', "sh")) as instance:
        os.killpg(instance.pid, signal.SIGINT)
        instance.wait_exit()
        until("the end of every process", lambda: not instance.processes())
        assert "Traceback" not in instance.log
        # What the shell's own exit status is, is the shell's affair.
        instance.clean()


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGALRM, signal.SIGWINCH, signal.SIGPIPE, signal.SIGURG])
def test_other_signals_are_ignored(number: signal.Signals) -> None:
    with Penstock(*CASES) as instance:
        before = instance.workers()
        instance.send(number)
        if number in (signal.SIGUSR2, signal.SIGALRM):
            instance.wait_log(f"{number.name} received")
        for pid in (*instance.workers(), *instance.generations()):
            os.kill(pid, number)
        assert get(instance.http, "/hello").status == 200
        assert instance.workers() == before


def test_workers_ignore_what_is_the_masters() -> None:
    with Penstock(*CASES, "--processes", "2") as instance:
        before = instance.workers()
        for pid in (*before, *instance.generations()):
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
                os.kill(pid, number)
        assert get(instance.http, "/hello").status == 200
        assert instance.workers() == before


@pytest.mark.event("pause")
def test_tstp_pauses_and_resumes(short_dir: Path) -> None:
    stats = str(short_dir / "stats")
    with Penstock(*CASES, "--stats", stats) as instance:
        instance.send(signal.SIGTSTP)
        until("paused", lambda: not any(worker["accepting"] for worker in read_stats(stats)["workers"]))
        with Connection(instance.http, timeout_s=0.3) as connection:
            connection.send(request_bytes("GET", "/hello"))
            with pytest.raises(TimeoutError):
                connection.read()
            instance.send(signal.SIGTSTP)
            connection.sock.settimeout(10)
            assert connection.read().body == b"Hello world"


def test_what_term_does_is_said_only_where_it_differs_and_nobody_asked(short_dir: Path) -> None:
    def log_of(*lines: str) -> str:
        config = short_dir / "app.ini"
        config.write_text("\n".join(["[uwsgi]", "http = 127.0.0.1:0", f"wsgi-file = {APPS}/hello.py", *lines, ""]))
        with Penstock(config) as instance:
            return instance.stop()

    for _ in range(2):
        assert log_of().count("SIGTERM stops Penstock, where uWSGI reloads") == 1, "once in each start"
    asked = log_of("die-on-term = true")
    assert "SIGTERM stops" not in asked and "die-on-term" not in asked


@pytest.mark.option("die-on-term")
def test_die_on_term_false_makes_term_reload(short_dir: Path, versioned: Callable[[str], Path]) -> None:
    config = short_dir / "app.ini"
    config.write_text(f"[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = {versioned('1')}\ndie-on-term = false\n")
    with Penstock(config) as instance:
        versioned("2")
        instance.send(signal.SIGTERM)
        until("the new version", lambda: get(instance.http).body == b"2")
        instance.stop(signal.SIGINT)


# -- PID 1 -------------------------------------------------------------------------------------------------------------


def test_as_pid_1() -> None:
    namespace = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*namespace, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine gives nobody a PID namespace of their own")
    with Penstock(*CASES, prefix=namespace) as instance:
        (master,) = (pid for pid, parent in instance.processes().items() if parent == instance.pid)
        assert get(instance.http, "/hello").status == 200
        os.kill(master, signal.SIGTERM)
        assert instance.wait_exit() == 0


def test_orphans_of_the_app_are_reaped(short_dir: Path) -> None:
    app = short_dir / "orphans.py"
    app.write_text(
        """
import os
def application(environ, start_response):
    read, write = os.pipe()
    if not (child := os.fork()):
        if not (grandchild := os.fork()):
            os._exit(0)
        os.write(write, str(grandchild).encode())
        os._exit(0)
    os.waitpid(child, 0)
    start_response("200 OK", [])
    return [os.read(read, 20)]
"""
    )
    with Penstock(*HTTP, "--wsgi-file", app) as instance:
        orphan = int(get(instance.http).body)
        until("the orphan is gone, not a zombie", lambda: state(orphan) is None)


# -- reloading ---------------------------------------------------------------------------------------------------------


@pytest.mark.event("reload")
def test_hup_brings_new_code_and_lets_old_requests_end(short_dir: Path, gate: Gate) -> None:
    app = short_dir / "app.py"
    app.write_text((APPS / "cases.py").read_text())
    with Penstock(*HTTP, "--wsgi-file", app) as instance, Connection(instance.http) as connection:
        old = instance.workers()
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        app.write_text(app.read_text().replace('b"Hello world"', 'b"Hello again"'))
        instance.reload()
        assert get(instance.http, "/hello").body == b"Hello again"
        gate.open()
        assert connection.read().body == b"waited"
        until("the old worker leaves", lambda: not any(is_alive(pid) for pid in old))


def test_a_reload_reads_the_configuration_again(short_dir: Path) -> None:
    config = short_dir / "app.ini"
    text = f"[uwsgi]\nhttp = 127.0.0.1:0\nwsgi-file = {APPS}/cases.py\nprocesses = "
    config.write_text(text + "1\n")
    with Penstock(config) as instance:
        assert len(instance.workers()) == 1
        config.write_text(text + "3\n")
        instance.reload()
        until("three workers", lambda: len(instance.workers()) == 3)


@pytest.mark.event("reload-broken")
@pytest.mark.parametrize("lazy", [(), ("--lazy-apps",)])
@pytest.mark.parametrize(
    "text", ["def (:", "raise RuntimeError('broken')", "import sys; sys.exit(4)", "application = None"]
)
def test_a_reload_to_broken_code_changes_nothing(
    versioned: Callable[[str], Path], text: str, lazy: tuple[str, ...]
) -> None:
    app = versioned("1")
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2", *lazy) as instance:
        before = instance.workers()
        app.write_text(text)
        instance.reload()
        if "None" not in text and "exit" not in text:
            instance.wait_log(r"SyntaxError|RuntimeError: broken")
        for _ in range(5):
            assert get(instance.http).body == b"1"
        until("nothing is left of the try", lambda: instance.workers() == before and len(instance.generations()) == 1)
        versioned("2")
        instance.reload()
        assert get(instance.http).body == b"2"


@pytest.mark.event("reload")
@pytest.mark.option("touch-reload")
def test_touch_reload(versioned: Callable[[str], Path], short_dir: Path) -> None:
    trigger = short_dir / "reload.me"
    trigger.touch()
    with Penstock(*HTTP, "--wsgi-file", versioned("1"), "--touch-reload", trigger) as instance:
        versioned("2")
        os.utime(trigger, (1, 1))
        until("the new version", lambda: get(instance.http).body == b"2")


@pytest.mark.event("reload")
def test_twenty_reloads_under_load_lose_nothing(versioned: Callable[[str], Path]) -> None:
    app = versioned("0")
    with Penstock(*HTTP, "--wsgi-file", app, "--processes", "2", "--threads", "2", "--disable-logging") as instance:
        with Load(instance.http, "/") as load:
            load.more(50)
            for number in range(1, 21):
                versioned(str(number))
                instance.reload()
                load.more(20)
        assert load.failures == []
        assert load.answers[b"20"] > 0
        until("one generation is left", lambda: len(instance.generations()) == 1 and len(instance.workers()) == 2, 30)


@pytest.mark.event("reload")
def test_a_reload_on_a_unix_socket_loses_nothing(versioned: Callable[[str], Path], short_dir: Path) -> None:
    address = str(short_dir / "app.sock")
    with Penstock("--http-socket", address, "--wsgi-file", versioned("0"), "--disable-logging") as instance:
        with Load(address, "/") as load:
            for _ in range(3):
                instance.reload()
                load.more(20)
        assert load.failures == []


# -- workers that end --------------------------------------------------------------------------------------------------


@pytest.mark.event("worker-killed")
def test_a_worker_that_dies_is_replaced() -> None:
    with Penstock(*CASES) as instance:
        (old,) = instance.workers()
        with pytest.raises((Cut, ConnectionError)):
            get(instance.http, "/hard-exit")
        instance.wait_log(r"DAMN ! worker 1 \(pid: \d+\) died")
        (new,) = until("a new worker", instance.workers)
        assert new != old
        assert get(instance.http, "/hello").status == 200


@pytest.mark.event("worker-killed")
def test_twenty_killed_workers_lose_no_request_but_their_own() -> None:
    with Penstock(*CASES, "--processes", "4", "--disable-logging") as instance:
        for number in range(20):
            until("four workers", lambda: len(instance.workers()) == 4)
            victim = instance.workers()[number % 4]
            os.kill(victim, signal.SIGKILL)
            until("it is dead", lambda: not is_alive(victim))  # noqa: B023  # called in this turn
            for _ in range(5):
                assert get(instance.http, "/hello").status == 200


@pytest.mark.event("worker-killed")
def test_killed_workers_under_load_lose_only_what_they_had() -> None:
    with Penstock(*CASES, "--processes", "4", "--disable-logging") as instance:
        with Load(instance.http, clients=4) as load:
            for _ in range(5):
                workers = until("workers", instance.workers)
                os.kill(workers[0], signal.SIGKILL)
                load.more(50)
        assert len(load.failures) <= 5 * 4, load.failures
        assert not [failure for failure in load.failures if "Refused" in failure or "status" in failure]


@pytest.mark.event("generation-killed")
def test_the_generation_process_may_die_too() -> None:
    with Penstock(*CASES, "--processes", "2") as instance:
        (generation,) = instance.generations()
        os.kill(generation, signal.SIGKILL)
        until("it is dead", lambda: not is_alive(generation))
        for _ in range(10):
            assert get(instance.http, "/hello").status == 200

        def is_whole() -> bool:
            tree = instance.processes()
            return len(tree) == 4 and len(instance.workers()) == 2

        until("a new generation with two workers", is_whole, 20)


@pytest.mark.event("master-killed")
@pytest.mark.parametrize("in_flight", [False, True])
def test_a_killed_master_takes_its_workers_along_within_two_seconds(gate: Gate, in_flight: bool) -> None:
    instance = Penstock(*CASES, "--processes", "3")
    try:
        workers = instance.workers()
        with Connection(instance.http) as connection, Connection(instance.http) as idle:
            idle.request("GET", "/hello")
            if in_flight:
                connection.send(request_bytes("GET", gate.target))
                gate.entered()
            os.kill(instance.pid, signal.SIGKILL)
            instance.wait_exit()
            until("workers are gone", lambda: not any(is_alive(pid) for pid in workers), 2.0)
            until("everything is gone", lambda: not instance.processes(), 2.0)
    finally:
        instance.clean()


@pytest.mark.event("master-killed")
def test_a_request_that_ends_soon_after_the_master_was_killed_is_answered(gate: Gate) -> None:
    instance = Penstock(*CASES)
    try:
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", gate.target))
            gate.entered()
            os.kill(instance.pid, signal.SIGKILL)
            instance.wait_exit()
            gate.open()
            assert connection.read().body == b"waited"
        until("everything is gone", lambda: not instance.processes())
    finally:
        instance.clean()


@pytest.mark.event("recycle")
@pytest.mark.option("max-requests")
def test_max_requests_recycles_without_losing_a_request() -> None:
    with Penstock(
        *HTTP, "--wsgi-file", APPS / "cases.py", "--processes", "2", "--threads", "2", "--max-requests", "50",
        "--min-worker-lifetime", "0", "--disable-logging",
    ) as instance:  # fmt: skip
        first = set(instance.workers())
        with Load(instance.http) as load:
            until("both workers are replaced", lambda: not first & set(instance.workers()), 30)
            load.more(300)
        assert load.failures == []


@pytest.mark.option("min-worker-lifetime")
def test_a_worker_is_not_recycled_before_min_worker_lifetime() -> None:
    with Penstock(*CASES, "--max-requests", "5", "--min-worker-lifetime", "600") as instance:
        before = instance.workers()
        for _ in range(20):
            assert get(instance.http, "/hello").status == 200
        assert instance.workers() == before


@pytest.mark.event("harakiri")
@pytest.mark.option("harakiri")
def test_harakiri_shows_the_stack_and_replaces_the_worker(gate: Gate) -> None:
    with Penstock(*CASES, "--harakiri", "1") as instance, Connection(instance.http) as connection:
        connection.send(request_bytes("GET", gate.target))
        pid = gate.entered()
        assert connection.read().status == 504
        instance.wait_log(r"HARAKIRI ON WORKER 1")
        instance.wait_log(r"HARAKIRI \[core 0\].*/wait")
        instance.wait_log(r'File ".*cases\.py", line \d+, in wait')
        until("it is gone", lambda: not is_alive(pid))
        assert get(instance.http, "/hello").status == 200


def test_harakiri_leaves_short_requests_alone() -> None:
    with Penstock(*CASES, "--harakiri", "1", "--threads", "2") as instance:
        before = instance.workers()
        begin = time.monotonic()
        while time.monotonic() - begin < 1.5:
            assert get(instance.http, "/busy?ms=20").status == 200
        assert instance.workers() == before
