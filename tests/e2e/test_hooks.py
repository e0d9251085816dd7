"""What is done at the points of an instance's life, seen from outside."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, is_alive, run_penstock, until

OPTIONS = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "cases.py"), "--disable-logging")
START = ("asap", "pre-jail", "post-jail", "in-jail", "as-root", "as-user")


@pytest.mark.option(
    "exec-asap", "exec-pre-jail", "exec-post-jail", "exec-in-jail", "exec-as-root", "exec-as-user", "exec-pre-app",
    "exec-post-app", "exec-as-user-atexit", "hook-asap", "hook-pre-jail", "hook-post-jail", "hook-in-jail",
    "hook-as-root", "hook-as-user", "hook-pre-app", "hook-post-app", "hook-as-user-atexit", "hook-master-start",
    "hook-post-fork", "hook-accepting", "hook-accepting1",
)  # fmt: skip
def test_every_point_in_its_order(short_dir: Path) -> None:
    notes = short_dir / "notes"
    options: list[str] = ["--env", "WHO=hook", "--processes", "2"]
    for point in (*START, "pre-app", "post-app", "as-user-atexit"):
        options += [f"--exec-{point}", f"echo $WHO exec {point} >> {notes}"]
        options += [f"--hook-{point}", f"appendn:{notes} hook {point}"]
    for point in ("master-start", "post-fork", "accepting", "accepting1"):
        options += [f"--hook-{point}", f"appendn:{notes} {point}"]
    with Penstock(*OPTIONS, *options) as instance:
        assert get(instance.http, "/hello").status == 200
        instance.stop()
    lines = notes.read_text().splitlines()

    def both(*points: str) -> list[str]:
        return [line for point in points for line in (f"hook {point}", f"hook exec {point}")]

    assert lines[:13] == [*both(*START), "master-start"]
    assert lines[13:17] == both("pre-app", "post-app") and lines[-2:] == both("as-user-atexit")
    assert sorted(lines[17:-2]) == ["accepting", "accepting", "accepting1", "post-fork", "post-fork"]


@pytest.mark.option("hook-accepting-once", "hook-accepting1-once")
def test_once_is_once_for_a_worker_that_comes_back(short_dir: Path) -> None:
    notes = short_dir / "notes"
    points = ("accepting", "accepting-once", "accepting1-once")
    options = [word for point in points for word in (f"--hook-{point}", f"appendn:{notes} {point}")]
    with Penstock(*OPTIONS, *options) as instance:
        os.kill(instance.workers()[0], signal.SIGKILL)
        until("the next worker", lambda: notes.read_text().splitlines().count("accepting") == 2)
    assert sorted(notes.read_text().split()) == ["accepting", "accepting", "accepting-once", "accepting1-once"]


@pytest.mark.parametrize("option", ["--exec-asap", "--exec-as-user", "--exec-pre-app", "--exec-post-app"])
def test_command_that_fails_ends_the_start(short_dir: Path, option: str) -> None:
    pidfile = short_dir / "pid"
    result = run_penstock(*OPTIONS, "--pidfile", pidfile, option, "echo to the log; exit 3")
    assert result.returncode == 1 and not pidfile.exists()
    assert 'command "echo to the log; exit 3" exited with non-zero code: 3' in result.stderr
    assert f"({option})" in result.stderr and "to the log\n" in result.stderr and "Traceback" not in result.stderr


def test_command_that_is_killed_says_so() -> None:
    result = run_penstock(*OPTIONS, "--hook-as-root", "exec:kill -9 $$")
    assert result.returncode == 1 and "was killed by signal 9" in result.stderr


def test_command_that_may_fail(short_dir: Path) -> None:
    with Penstock(*OPTIONS, "--hook-as-user", "safeexec:exit 4") as instance:
        assert "exited with non-zero code: 4" in instance.log and get(instance.http, "/hello").status == 200


def test_reload_whose_command_fails_leaves_the_old_code_serving(short_dir: Path) -> None:
    marker = short_dir / "broken"
    with Penstock(*OPTIONS, "--exec-pre-app", f"test ! -e {marker}") as instance:
        marker.write_text("")
        instance.reload()
        assert "exited with non-zero code: 1" in instance.log and "generation 1 keeps serving" in instance.log
        assert get(instance.http, "/hello").status == 200


def test_actions_on_files_and_variables(short_dir: Path) -> None:
    folder, file = short_dir / "made", short_dir / "made" / "file"
    (short_dir / "gone").write_text("")
    (short_dir / "app.py").write_text(
        "import os\n"
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [os.environ['FROM_HOOK'].encode()]\n"
    )
    actions = (
        f"mkdir:{folder}", f"mkdir:{folder}", f"write:{file} one", f"append:{file}  two", f"appendn:{file} .",
        f"writen:{folder}/other a line", f"create:{folder}/empty", f"chmod:{file} 640", f"unlink:{short_dir}/gone",
        "putenv:FROM_HOOK=a=b", "print:said by a hook", f"chown:{file} {os.getuid()} {os.getgid()}", f"cd:{folder}",
        "exec:pwd > where",
    )  # fmt: skip
    hooks = [word for action in actions for word in ("--hook-as-user", action)]
    options = ("--http", "127.0.0.1:0", "--wsgi-file", short_dir / "app.py")
    with Penstock(*options, *hooks) as instance:
        assert get(instance.http).body == b"a=b"
        instance.wait_log("^said by a hook$")
    assert file.read_text() == "one two.\n" and file.stat().st_mode & 0o777 == 0o640
    assert (folder / "other").read_text() == "a line\n" and (folder / "empty").read_text() == ""
    assert (folder / "where").read_text() == f"{folder}\n" and not (short_dir / "gone").exists()


def test_action_that_fails_ends_the_start_and_names_its_line(short_dir: Path) -> None:
    ini = short_dir / "app.ini"
    ini.write_text("[uwsgi]\nneed-app = false\nhook-as-user = unlink:/nowhere/at/all\nhttp = 127.0.0.1:0\n")
    result = run_penstock("--ini", ini)
    assert result.returncode == 1 and "unlink:/nowhere/at/all failed" in result.stderr
    assert "app.ini:3" in result.stderr and "Traceback" not in result.stderr


def test_start_can_be_ended_with_a_status() -> None:
    assert run_penstock(*OPTIONS, "--hook-as-user", "exit:7").returncode == 7


def test_worker_whose_hook_fails_does_not_serve(short_dir: Path) -> None:
    marker = short_dir / "there"
    with Penstock(*OPTIONS, "--hook-post-fork", f"exec:test -e {marker}", wait=False) as instance:
        instance.wait_log("worker 1 .* can not serve: command")
        marker.write_text("")
        instance.wait_ready()
        assert get(instance.http, "/hello").status == 200


@pytest.mark.option("touch-exec", "hook-touch")
def test_touched_file_runs_what_belongs_to_it(short_dir: Path) -> None:
    one, other, notes = (short_dir / name for name in ("one", "other", "notes"))
    options = ("--touch-exec", f"{one} echo touched $(pwd) >> {notes}; exit 5", "--chdir", str(short_dir))
    with Penstock(*OPTIONS, *options, "--hook-touch", f"{other} appendn:{notes} hook") as instance:
        one.write_text("")
        instance.wait_log("exited with non-zero code: 5")
        assert notes.read_text() == f"touched {short_dir}\n"
        other.write_text("")
        until("the hook", lambda: notes.read_text().endswith("hook\n"))
        instance.reload()
        one.write_text("again")
        until("the command again", lambda: notes.read_text().count("touched") == 2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("option", ["--exec-asap", "--exec-as-user", "--hook-master-start=exec:"])
def test_a_stop_does_not_wait_for_a_command_of_the_start(short_dir: Path, option: str, number: signal.Signals) -> None:
    command = f"echo $$ >{short_dir}/pid.new; mv {short_dir}/pid.new {short_dir}/pid; sleep 600; true"
    words = (f"{option}{command}",) if option.endswith(":") else (option, command)
    with Penstock("--http", "127.0.0.1:0", "--wsgi-file", APPS / "hello.py", *words, wait=False) as instance:
        pid = int(until("the command runs", lambda: (short_dir / "pid").exists() and (short_dir / "pid").read_text()))
        log = instance.stop(number)
    assert f"{number.name} received... the start ends" in log
    assert not is_alive(pid)
