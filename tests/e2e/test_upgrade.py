"""An upgrade of Penstock under load: the same pid, the same sockets, and nobody notices.

The program that takes over is the same version here, except where a test puts a broken one, or another, in its place.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, ROOT, Gate, Penstock, is_alive, read_stats, run_penstock, until
from tests.e2e.load import Load

APP = ("--wsgi-file", str(APPS / "cases.py"), "--disable-logging")


OLD = """
def application(environ, start_response):
    start_response("200 OK", [])
    return [b"old"]
"""


def upgrade(pidfile: Path, *words: str, status: int = 0) -> str:
    """Run the command; what it says."""
    ended = run_penstock("upgrade", *words, pidfile, deadline_s=60.0)
    assert ended.returncode == status, ended.stderr
    return ended.stderr


def master_of(pid: int) -> str:
    """What tells one program image of a process from another: where the kernel has put its stack."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[25]


@pytest.mark.event("upgrade")
def test_upgrade_under_load_loses_no_request(short_dir: Path) -> None:
    path, pidfile = short_dir / "s", short_dir / "pid"
    options = ("--http", "127.0.0.1:0", "--http-socket", path, "--pidfile", pidfile, "--processes", "2")
    with Penstock(*options, "--threads", "2", *APP) as instance:
        images, before = [master_of(instance.pid)], instance.workers()
        with Load(instance.http) as tcp, Load(str(path)) as local:
            for _ in range(3):
                tcp.more(100)
                said = upgrade(pidfile)
                assert "has taken over" in said and "serves" in said
                images.append(master_of(instance.pid))
                local.more(100)
                tcp.more(100)
        assert tcp.failures == local.failures == []
        assert len(set(images)) == 4
        assert int(pidfile.read_text()) == instance.pid
        until("the old workers' end", lambda: not any(map(is_alive, before)))
        assert len(instance.workers()) == 2
        instance.reload()
        assert get(instance.http, "/hello").body == b"Hello world"
    assert not pidfile.exists()


def test_statistics_and_probes_are_given_throughout(short_dir: Path) -> None:
    pidfile, stats = short_dir / "pid", short_dir / "stats"
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile, "--stats", stats, "--admin", "127.0.0.1:0")
    with Penstock(*options, *APP, "--exit-on-reload") as instance:
        admin = instance.wait_log(r"probes are answered on (\S+)")[1]
        is_over = threading.Event()
        failures, answers = [], [0, 0]

        def ask(number: int, question: Callable[[], object]) -> None:
            while not is_over.is_set():
                try:
                    question()
                except Exception as error:
                    failures.append(repr(error))
                else:
                    answers[number] += 1

        questions = (lambda: read_stats(str(stats)), lambda: get(admin, "/livez"))
        threads = [threading.Thread(target=ask, args=one) for one in enumerate(questions)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                upgrade(pidfile)
                before = list(answers)
                until("more answers", lambda: answers[0] > before[0] and answers[1] > before[1])  # noqa: B023
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert failures == []
        # And an instance that ends instead of a reload goes on after an upgrade.
        assert get(instance.http, "/hello").status == 200
        instance.send(signal.SIGHUP)
        assert instance.wait_exit() == 0


def test_request_in_flight_and_what_was_counted_survive(short_dir: Path) -> None:
    pidfile, stats = short_dir / "pid", short_dir / "stats"
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile, "--stats", stats, "--master-fifo", short_dir / "fifo")
    with Gate(short_dir) as gate, Penstock(*options, *APP) as instance:
        for _ in range(5):
            get(instance.http, "/hello")
        with Connection(instance.http) as slow:
            slow.send(request_bytes("GET", gate.target))
            worker = gate.entered()
            # The letter that makes a new master in uWSGI.
            (short_dir / "fifo").write_text("f")
            instance.wait_log("has taken over")
            instance.wait_log(r"generation 2 serves")
            # The supervisor is told by the new program as it was by the old.
            instance._read_notices()
            assert instance.notices[-1] == "STATUS=generation 2 serves" and "RELOADING=1" in instance.notices
            assert is_alive(worker)
            gate.open()
            assert slow.read().status == 200
        until("the old worker's end", lambda: not is_alive(worker))
        assert read_stats(str(stats))["workers"][0]["requests"] == 6
        before = len(instance.log)
        (short_dir / "fifo").write_text("r")
        instance.wait_log("generation 3 serves", since=before)


def test_signals_that_come_meanwhile_are_obeyed_afterwards(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    with Penstock("--http", "127.0.0.1:0", "--pidfile", pidfile, *APP) as instance:
        upgrade(pidfile, "--no-wait")
        for _ in range(200):
            instance.send(signal.SIGWINCH)
            instance.send(signal.SIGUSR2)
        instance.wait_log("generation 2 serves", 30.0)
        assert get(instance.http, "/hello").status == 200


def test_killed_worker_is_noticed_by_the_new_master(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    with Penstock("--http", "127.0.0.1:0", "--pidfile", pidfile, "--processes", "2", *APP) as instance:
        upgrade(pidfile)
        victim = instance.workers()[0]
        os.kill(victim, signal.SIGKILL)
        instance.wait_log(rf"worker \d \(pid: {victim}\) died, killed by signal 9")
        until("two workers", lambda: len(instance.workers()) == 2)


def test_broken_code_keeps_the_old_workers_under_the_new_master(short_dir: Path) -> None:
    pidfile, app = short_dir / "pid", short_dir / "app.py"
    app.write_text(OLD)
    with Penstock("--http", "127.0.0.1:0", "--pidfile", pidfile, "--wsgi-file", app) as instance:
        app.write_text("syntax error here\n")
        said = upgrade(pidfile, status=3)
        assert "has taken over" in said and "SyntaxError" in said
        assert get(instance.http, "/").body == b"old"
        app.write_text(OLD.replace("old", "new"))
        instance.reload()
        assert get(instance.http, "/").body == b"new"


def test_configuration_that_the_new_program_refuses_changes_nothing(short_dir: Path) -> None:
    pidfile, config = short_dir / "pid", short_dir / "app.ini"
    text = f"[uwsgi]\nhttp = 127.0.0.1:0\npidfile = {pidfile}\nwsgi-file = {APPS / 'cases.py'}\n"
    config.write_text(text)
    with Penstock("--ini", config) as instance:
        before = master_of(instance.pid)
        config.write_text(text + "processes = many\n")
        said = upgrade(pidfile, status=3)
        assert "app.ini:5" in said and "everything goes on as before" in said
        assert master_of(instance.pid) == before
        assert get(instance.http, "/hello").status == 200
        config.write_text(text + "processes = 2\n")
        upgrade(pidfile)
        assert len(instance.workers()) == 2


@pytest.fixture
def installed(short_dir: Path) -> Path:
    """A copy of the package, which a test can break, as an installation in place does."""
    place = short_dir / "site"
    shutil.copytree(ROOT / "penstock", place / "penstock", ignore=shutil.ignore_patterns("__pycache__"))
    return place


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("cli.py", "raise ImportError('half installed')\n", "half installed"),
        ("cli.py", "import os\nos.abort()\n", "ended with status -6"),
        ("__init__.py", "import no_such_dependency\n", "no_such_dependency"),
        ("_engine.so", "", "engine can not be loaded"),
        ("master/handover.py", "FORMAT = 1", "can not go on from the state of"),
        ("master/fleet.py", "    is_chain: bool = False", "has another shape"),
    ],
)
def test_program_that_can_not_take_over_changes_nothing(
    installed: Path, short_dir: Path, file: str, content: str, says: str
) -> None:
    pidfile = short_dir / "pid"
    env = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    with Penstock("--http", "127.0.0.1:0", "--pidfile", pidfile, *APP, env=env) as instance:
        before, path = master_of(instance.pid), installed / "penstock" / file
        if file == "_engine.so":
            for engine in path.parent.glob("_engine.*.so"):
                # Not overwritten in place: the workers have it mapped.
                engine.unlink()
                engine.write_text("not an engine")
        elif content in ("FORMAT = 1", "    is_chain: bool = False"):
            changed = {"FORMAT = 1": "FORMAT = 2"}.get(content, "    is_chained: bool = False")
            path.write_text(path.read_text().replace(content, changed, 1))
        else:
            path.write_text(content)
        assert says in upgrade(pidfile, status=3)
        assert master_of(instance.pid) == before
        assert get(instance.http, "/hello").status == 200


def test_version_is_the_new_one_afterwards(installed: Path, short_dir: Path) -> None:
    pidfile, stats = short_dir / "pid", short_dir / "stats"
    env = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile, "--stats", stats)
    with Penstock(*options, *APP, env=env) as instance:
        version = installed / "penstock" / "__init__.py"
        before = read_stats(str(stats))["version"]
        version.write_text(version.read_text().replace(f'"{before}"', '"99.1"'))
        assert f"Penstock 99.1 has taken over from {before}" in upgrade(pidfile)
        assert read_stats(str(stats))["version"] == "99.1"
        assert get(instance.http, "/hello").status == 200


@pytest.mark.parametrize(
    ("place", "broken"),
    [
        ("    packed, unpacked = before", "    raise HandoverError('no')\n    packed, unpacked = before"),
        ("            unpacked,\n        )\n", "            unpacked,\n        )\n        raise KeyError('no')\n"),
    ],
)
def test_program_that_fails_after_its_trial_begins_anew_on_the_same_sockets(
    installed: Path, short_dir: Path, place: str, broken: str
) -> None:
    pidfile, path = short_dir / "pid", short_dir / "s"
    env = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ("--http", "127.0.0.1:0", "--http-socket", path, "--pidfile", pidfile, "--vacuum")
    with Penstock(*options, *APP, env=env) as instance:
        old = instance.workers()
        module = installed / "penstock" / "master" / "start.py"
        assert place in module.read_text()
        module.write_text(module.read_text().replace(place, broken))
        upgrade(pidfile, "--no-wait")
        instance.wait_log("the upgrade went wrong, the instance starts anew on the same sockets: .*no")
        with Connection(str(path)) as waiting:
            waiting.send(request_bytes("GET", "/hello"))
            assert waiting.read().body == b"Hello world"
        assert get(instance.http, "/hello").status == 200
        until("the old workers' end", lambda: not any(map(is_alive, old)), 5.0)
        assert int(pidfile.read_text()) == instance.pid
    assert not path.exists()


def test_logs_that_pass_through_the_master_lose_no_line_unnoticed(short_dir: Path) -> None:
    pidfile, log, requests = short_dir / "pid", short_dir / "log", short_dir / "requests"
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile, "--logger", f"file:{log}", "--log-master")
    options += ("--req-logger", f"file:{requests}", "--log-encoder", "nl", "--log-req-encoder", "nl")
    with Penstock(*options, "--wsgi-file", APPS / "cases.py", wait=False) as instance:
        instance.wait_ready()
        found = until("the address", lambda: re.search(r"bound to TCP address (\S+)", log.read_text()))
        address = found[1]
        count = 0
        for _ in range(2):
            upgrading = threading.Thread(target=upgrade, args=(pidfile,))
            upgrading.start()
            while upgrading.is_alive():
                assert get(address, "/hello").status == 200
                count += 1
        assert log.read_text().count("has taken over") == 2

        def told() -> bool:
            # What the pipe has no room for while one program follows the other, a worker drops and counts.
            text = requests.read_text()
            lost = sum(int(number) for number in re.findall(r"^(\d+) request lines were lost", text, re.M))
            return text.count(" GET /hello ") + lost == count

        until("every line", told)


def test_attached_program_lives_on_until_the_reload(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile)
    options += ("--attach-daemon2", "cmd=exec sleep 1000,reloadsignal=URG")
    with Penstock(*options, *APP) as instance:
        instance.wait_log('spawning "exec sleep')

        def program() -> int | None:
            for pid in instance.processes():
                # One may have gone since.
                with suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == "sleep":
                        return pid
            return None

        before = until("the program", program)
        upgrade(pidfile)
        assert program() == before
        # One that is started by the new program inherits nothing of what went over.
        os.kill(before, signal.SIGKILL)
        after = until("the next one", lambda: (found := program()) != before and found)
        assert sorted(os.listdir(f"/proc/{after}/fd")) == ["0", "1", "2"]


def test_program_that_begins_at_the_moment_of_the_upgrade_is_known_afterwards(short_dir: Path) -> None:
    config, app, fifo, slow = (short_dir / name for name in ("app.ini", "app.py", "fifo", "slow"))
    text = f"[uwsgi]\nhttp = 127.0.0.1:0\nmaster-fifo = {fifo}\nwsgi-file = {app}\n"
    config.write_text(text)
    app.write_text(f"import os\nif os.path.exists({str(slow)!r}): open({str(slow)!r}).read()\n{OLD}")
    with Penstock("--ini", config) as instance:
        config.write_text(f"{text}attach-daemon = exec sleep 1000\n")
        os.mkfifo(slow)
        fifo.write_text("f")
        instance.wait_log("looking at the Penstock that is installed now")
        instance.send(signal.SIGHUP)
        instance.wait_log("can take over")
        # The reload ends, and with it begins the program; the upgrade follows in the same moment.
        with slow.open("w"):
            slow.unlink()
        instance.wait_log("generation 3 serves", 30.0)
        # One that the master does not know would be left over when the instance ends, or keep it from ending.


@pytest.mark.parametrize("is_broken", [False, True])
def test_instance_in_the_background_stays_there(installed: Path, short_dir: Path, is_broken: bool) -> None:
    pidfile, path, log = short_dir / "pid", short_dir / "s", short_dir / "log"
    env = {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    options = ("--http-socket", path, "--pidfile", pidfile, "--daemonize", log, *APP)
    started = run_penstock(*options, env=env, cwd=short_dir)
    assert started.returncode == 0, started.stderr
    pid = int(pidfile.read_text())
    try:
        if is_broken:
            module = installed / "penstock" / "master" / "start.py"
            place = "    packed, unpacked = before"
            module.write_text(module.read_text().replace(place, f"    raise HandoverError('no')\n{place}"))
            upgrade(pidfile, "--no-wait")
            until("a new start", lambda: log.read_text().count("is ready: ") == 2, 30.0)
        else:
            upgrade(pidfile)
        assert int(pidfile.read_text()) == pid
        assert get(str(path), "/hello").status == 200
        assert run_penstock("stop", "--wait", pidfile).returncode == 0
        assert not is_alive(pid) and not pidfile.exists()
    finally:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def test_descriptors_do_not_gather(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    with Penstock("--http", "127.0.0.1:0", "--pidfile", pidfile, *APP) as instance:

        def held() -> list[str]:
            # What was handed over is let go of when the old generation has gone.
            until("one generation", lambda: len(instance.generations()) == 1)
            links = [os.readlink(f"/proc/{instance.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{instance.pid}/fd")]
            return sorted(re.sub(r"\d+", "N", link) for link in links)

        upgrade(pidfile)
        instance.wait_log("of generation 1 killed successfully")
        before = held()
        for generation in (2, 3):
            upgrade(pidfile)
            instance.wait_log(f"of generation {generation} killed successfully")
        until("no more of them", lambda: held() == before)


def test_generation_that_stands_by_goes_over(short_dir: Path) -> None:
    pidfile, app = short_dir / "pid", short_dir / "app.py"
    app.write_text(OLD)
    options = ("--http", "127.0.0.1:0", "--pidfile", pidfile, "--wsgi-file", app, "--reload-watch", "600")
    with Penstock(*options) as instance:
        app.write_text(OLD.replace("old", "new"))
        instance.reload()
        assert get(instance.http, "/").body == b"new"
        upgrade(pidfile)
        assert get(instance.http, "/").body == b"new"
        ended = run_penstock("rollback", pidfile)
        assert ended.returncode == 0, ended.stderr
        until("the old code", lambda: get(instance.http, "/").body == b"old")


def test_configuration_from_standard_input_goes_over(short_dir: Path) -> None:
    pidfile = short_dir / "pid"
    config = short_dir / "config"
    config.write_text(f"[uwsgi]\nhttp = 127.0.0.1:0\npidfile = {pidfile}\nwsgi-file = {APPS / 'cases.py'}\n")
    with Penstock("--ini", "-", prefix=("sh", "-c", f'exec "$@" < {config}', "sh")) as instance:
        upgrade(pidfile)
        assert get(instance.http, "/hello").status == 200


def test_command_explains_what_it_can_not_do(short_dir: Path) -> None:
    assert "can not read the pid file" in upgrade(short_dir / "none", status=1)
    for value in ("take:99", "take:x", "check:0", "nonsense"):
        ended = run_penstock("--http", ":0", env={"PENSTOCK_TAKE_OVER": value})
        assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
