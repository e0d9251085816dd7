"""Programs beside the workers: real ones, that are killed, that hang, and that belong to themselves."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, MARK, Gate, Penstock, is_alive, read_stats, run_penstock, until
from tests.e2e.load import Load

OPTIONS = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--disable-logging")

UNMARKED = f"exec env -u {MARK}"
"""So that a program that outlives its instance does not count as something that was left behind."""

PROGRAM = """
import os, signal, sys
folder, how = sys.argv[1:3]
def note(text):
    with open(folder + "/notes", "a") as file:
        file.write(f"{text} {os.getpid()}\\n")
if how == "background" and os.fork():
    os._exit(0)
if how == "background":
    os.setsid()
    with open(folder + "/pid.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(folder + "/pid.new", folder + "/pid")
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
for number in (signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, lambda got, frame: note(f"signal {got}"))
note("began")
note("fds " + ",".join(sorted(os.listdir("/proc/self/fd"), key=int)))
note("says " + os.environ.get("SAYS", "") + " " + os.getcwd())
while True:
    signal.pause()
"""


class Program:
    """A program that notes what happens to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "program.py").write_text(PROGRAM)
        self.pidfile = folder / "pid"

    def command(self, how: str = "plain") -> str:
        return f"{sys.executable} {self.folder}/program.py {self.folder} {how}"

    def notes(self, word: str) -> list[list[str]]:
        path = self.folder / "notes"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line.split() for line in lines if line.startswith(word)]

    def began(self, count: int = 1) -> int:
        """Wait until it has begun so often; the pid of the last one."""
        return int(until(f"begin {count}", lambda: self.notes("began")[count - 1 : count])[0][-1])


@pytest.fixture
def program(short_dir: Path) -> Iterator[Program]:
    made = Program(short_dir)
    yield made
    for *_, pid in made.notes("began"):
        if is_alive(int(pid)):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.option("attach-daemon")
def test_program_is_started_again_and_leaves_with_the_instance(program: Program) -> None:
    options = ("--env", "SAYS=hello", "--chdir", program.folder, "--attach-daemon", program.command())
    with Penstock(*OPTIONS, "--stats", "127.0.0.1:0", *options) as instance:
        first = program.began()
        os.kill(first, signal.SIGKILL)
        second = program.began(2)
        until("its notes", lambda: program.notes("says")[1:])
        assert program.notes("says")[1][1:3] == ["hello", str(program.folder)]
        assert program.notes("fds")[1][1] == "0,1,2,3", "3 is the listing itself"
        assert os.getsid(second) == second and os.getppid() != second
        address = instance.wait_log(r"Stats server enabled on (\S+)")[1]
        assert read_stats(address)["daemons"] == [{"cmd": program.command(), "pid": second, "respawns": 1}]
        assert "ended: signal 9" in instance.log
        instance.stop()
    assert not is_alive(second) and len(program.notes("began")) == 2


def test_program_outlives_the_last_request_and_is_not_started_again(program: Program, short_dir: Path) -> None:
    with Gate(short_dir) as gate, Penstock(*OPTIONS, "--attach-daemon", program.command()) as instance:
        pid = program.began()
        with Connection(instance.http) as connection:
            connection.send(request_bytes("GET", gate.target))
            gate.entered()
            instance.send(signal.SIGTERM)
            instance.wait_log("gracefully killing workers")
            assert is_alive(pid)
            os.kill(pid, signal.SIGKILL)
            instance.wait_log(r"\(pid: \d+\) has ended")
            gate.open()
            assert connection.read().status == 200
        assert instance.wait_exit() == 0
    assert len(program.notes("began")) == 1


@pytest.mark.option("daemons-honour-stdin", "attach-daemon", "attach-daemon2")
@pytest.mark.parametrize(
    ("options", "found"),
    [
        (("--attach-daemon", "cat; exec sleep 60"), ""),
        (("--daemons-honour-stdin", "--attach-daemon", "cat; exec sleep 60"), "typed"),
        (("--attach-daemon2", "cmd=cat; exec sleep 60,stdin=1"), "typed"),
        (("--attach-daemon2", "cmd=cat; exec sleep 60,stdin=0"), ""),
    ],
)
def test_program_may_read_what_is_typed(short_dir: Path, options: tuple[str, ...], found: str) -> None:
    (short_dir / "typed").write_text("typed\n")
    prefix = ("sh", "-c", f'exec "$@" <{short_dir}/typed', "sh")
    with Penstock(*OPTIONS, *options, prefix=prefix) as instance:
        until("cat has ended", lambda: any(is_sleep(pid) for pid in instance.processes()))
        assert ("\ntyped\n" in instance.log) is bool(found)


def is_sleep(pid: int) -> bool:
    """Whether the process is a sleep(1)."""
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "sleep\n"
    except OSError:
        return False


@pytest.mark.option("touch-logreopen", "attach-daemon")
def test_program_writes_to_the_log_that_has_been_opened_anew(short_dir: Path) -> None:
    log, old, touched = short_dir / "log", short_dir / "log.1", short_dir / "touch"
    touched.touch()
    command = "while :; do echo tick >&2; echo tock; sleep 0.05; done"
    options = ("--logto", log, "--touch-logreopen", touched, "--attach-daemon", command)
    with Penstock(*OPTIONS, *options):
        until("it is in the log", lambda: {"tick", "tock"} <= set(log.read_text().splitlines()))
        log.rename(old)
        touched.write_text("now")
        until("it is in the new log", lambda: log.exists() and {"tick", "tock"} <= set(log.read_text().splitlines()))
        size = old.stat().st_size
        written = log.stat().st_size
        until("it goes on there", lambda: log.stat().st_size > written + 50)
        assert old.stat().st_size == size


@pytest.mark.option("reload-mercy")
def test_program_that_does_not_leave_is_killed_after_its_mercy(program: Program) -> None:
    with Penstock(*OPTIONS, "--attach-daemon", program.command("deaf"), "--reload-mercy", "1") as instance:
        pid = program.began()
        log = instance.stop()
    assert f"(pid: {pid}) does not leave: it is killed" in log and not is_alive(pid)


def test_reload_starts_programs_anew_and_loses_no_request(program: Program) -> None:
    with Penstock(*OPTIONS, "--attach-daemon", program.command()) as instance:
        first = program.began()
        with Load(instance.http) as load:
            instance.reload()
            second = program.began(2)
            load.more(20)
        assert load.failures == [] and first != second and not is_alive(first)


def test_master_that_is_killed_takes_programs_with_it(program: Program) -> None:
    with Penstock(*OPTIONS, "--attach-daemon", program.command()) as instance:
        pid = program.began()
        instance.send(signal.SIGKILL)
        until("the program is gone", lambda: not is_alive(pid))
        assert instance.wait_exit() == -9
        until("everything is gone", lambda: not instance.processes())
        instance.clean()


def test_ctrl_c_reaches_programs_in_their_turn(program: Program) -> None:
    with Penstock(*OPTIONS, "--attach-daemon", program.command()) as instance:
        program.began()
        os.killpg(instance.pid, signal.SIGINT)
        assert instance.wait_exit() == 0
        assert len(program.notes("began")) == 1 and "is started again" not in instance.log


def test_command_that_is_not_there_is_tried_later_and_later() -> None:
    with Penstock(*OPTIONS, "--attach-daemon", "/nowhere/at-all --x") as instance:
        instance.wait_log("is started again in 0.5 seconds")
        instance.wait_log("is started again in 1 seconds")
        assert "exit status 127" in instance.log and get(instance.http, "/hello").status == 200


@pytest.mark.option("attach-control-daemon")
def test_instance_ends_with_its_control_program(program: Program) -> None:
    with Penstock(*OPTIONS, "--attach-control-daemon", program.command()) as instance:
        os.kill(program.began(), signal.SIGKILL)
        assert instance.wait_exit() == 0
        assert len(program.notes("began")) == 1


@pytest.mark.option("smart-attach-daemon")
def test_program_of_its_own_survives_reload_and_stop(program: Program) -> None:
    options = (*OPTIONS, "--smart-attach-daemon", f"{program.pidfile},1 {UNMARKED} {program.command('background')}")
    with Penstock(*options) as instance:
        first = program.began()
        instance.wait_log(rf"runs \(pid: {first}\)")
        instance.reload()
        os.kill(first, signal.SIGKILL)
        second = program.began(2)
        instance.wait_log(rf"runs \(pid: {second}\)")
        instance.stop()
        assert is_alive(second)
    with Penstock(*options) as instance:
        instance.wait_log(rf"runs \(pid: {second}\)")
        assert len(program.notes("began")) == 2


@pytest.mark.option("smart-attach-daemon2")
def test_pid_file_is_written_for_a_program_that_writes_none(program: Program) -> None:
    options = (*OPTIONS, "--smart-attach-daemon2", f"{program.pidfile},1 {UNMARKED} {program.command()}")
    with Penstock(*options) as instance:
        first = program.began()
        assert int(program.pidfile.read_text()) == first
        os.kill(first, signal.SIGKILL)
        second = program.began(2)
        until("its pid file", lambda: program.pidfile.read_text() == f"{second}\n")
        instance.stop()
        assert is_alive(second)
    with Penstock(*options) as instance:
        instance.wait_log(rf"runs \(pid: {second}\)")
        assert len(program.notes("began")) == 2


@pytest.mark.option("attach-daemon2")
def test_keys_of_a_program(program: Program) -> None:
    (program.folder / "sub").mkdir()
    touched = program.folder / "touched"
    keys = f"cmd={program.command()},chdir={program.folder}/sub,reloadsignal=HUP,stopsignal=9,touch={touched}"
    with Penstock(*OPTIONS, "--attach-daemon2", keys) as instance:
        program.began()
        until("its directory", lambda: program.notes("says"))
        assert program.notes("says")[0][-2] == f"{program.folder}/sub"
        touched.write_text("")
        until("the signal of the touched file", lambda: program.notes("signal 1"))
        instance.reload()
        until("the signal of a reload", lambda: program.notes("signal 1")[1:])
        instance.stop()
    assert len(program.notes("began")) == 1


def test_what_can_not_be_read_stops_the_start() -> None:
    result = run_penstock(*OPTIONS, "--attach-daemon2", "cmd=true,colour=red")
    assert result.returncode == 1 and "there is no key 'colour'" in result.stderr
