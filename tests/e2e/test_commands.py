"""Commands that uWSGI has as options: what they print, what they do to a running instance, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import Connection, get, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, clean_environment, read_stats, run_penstock, until

HELLO = ("--http", "127.0.0.1:0", "--wsgi-file", str(APPS / "hello.py"))

SCRIPT = """
import json, os, sys, uwsgi
print(json.dumps({
    "argv": sys.argv, "name": __name__, "cwd": os.getcwd(), "path": sys.path[:2], "colour": os.environ.get("COLOUR"),
    "app": "hello" in sys.modules, "opt": uwsgi.opt["module"].decode(), "typed": sys.stdin.read(),
    "signals": __import__("signal").getsignal(2) is __import__("signal").default_int_handler,
}))
assert uwsgi.workers()[0]["requests"] == uwsgi.total_requests() == 0 and uwsgi.worker_id() == 1
uwsgi.lock(), uwsgi.unlock()
sys.exit(int(os.environ.get("STATUS", "0")))
"""


# -- pause, suspend, resume --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["--pause", "--suspend", "pause"])
def test_an_instance_that_is_paused_answers_after_resume(short_dir: Path, command: str) -> None:
    pidfile, stats = short_dir / "pid", str(short_dir / "stats")
    with Penstock(*HELLO, "--pidfile", pidfile, "--stats", stats) as instance:
        assert get(instance.http).status == 200
        for _ in range(2):  # In uWSGI the second one would resume it.
            assert run_penstock(command, pidfile).returncode == 0
        until("paused", lambda: not any(worker["accepting"] for worker in read_stats(stats)["workers"]))
        with Connection(instance.http, timeout_s=0.3) as connection:
            connection.send(request_bytes("GET", "/"))
            with pytest.raises(TimeoutError):
                connection.read()
            assert run_penstock("--resume", pidfile).returncode == 0
            connection.sock.settimeout(10)
            assert connection.read().status == 200
        assert run_penstock("resume", pidfile).returncode == 0
        assert get(instance.http).status == 200


@pytest.mark.parametrize("command", ["--pause", "--resume", "--suspend"])
def test_what_can_not_be_paused(short_dir: Path, command: str) -> None:
    missing = run_penstock(command, short_dir / "nothing.pid")
    assert missing.returncode == 1 and "is the instance running?" in missing.stderr
    with subprocess.Popen(["true"]) as gone:
        pass
    (short_dir / "stale.pid").write_text(f"{gone.pid}\n")
    assert run_penstock(command, short_dir / "stale.pid").returncode == 255


# -- ping --------------------------------------------------------------------------------------------------------------


@pytest.mark.option("ping-timeout")
def test_workers_answer_a_ping(short_dir: Path) -> None:
    socket = short_dir / "app.sock"
    gate_options = ("--socket", socket, "--wsgi-file", APPS / "cases.py")
    with Gate(short_dir) as gate, Penstock(*gate_options, "--http", "127.0.0.1:0") as instance:
        for words in (("--ping", socket), ("ping", socket), ("--ping-timeout", "5", "--ping", socket)):
            done = run_penstock(*words)
            assert done.returncode == 0 and "answered in" in done.stdout, done.stderr
        wrong = run_penstock("--ping", instance.http)
        assert wrong.returncode == 1 and "is it a uwsgi socket" in wrong.stderr
        with Connection(instance.http) as busy:
            busy.send(request_bytes("GET", gate.target))
            gate.entered()
            silent = run_penstock("--ping", socket, "--ping-timeout=1")
            assert silent.returncode == 1 and "no answer within 1 seconds" in silent.stderr
            gate.open()
            assert busy.read().status == 200


def test_a_ping_that_nobody_answers(short_dir: Path) -> None:
    assert "is the instance running?" in run_penstock("--ping", short_dir / "nobody").stderr
    for words in (("ping",), ("ping", "--timeout", "x", "a"), ("ping", "--timeout")):
        refused = run_penstock(*words)
        assert refused.returncode == 1 and "usage: penstock ping" in refused.stderr


# -- extract -----------------------------------------------------------------------------------------------------------


def test_extract_prints_bytes_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"\0\xff\r\n" * 3)
    command = [sys.executable, "-m", "penstock", "--extract"]
    for name in ("blob", f"file://{tmp_path}/blob", "exec://cat blob"):
        done = subprocess.run([*command, name], cwd=tmp_path, env=clean_environment(), capture_output=True, check=True)
        assert done.stdout == b"\0\xff\r\n" * 3
    missing = run_penstock("--extract", "nothing", cwd=tmp_path)
    assert missing.stderr == "[penstock] nothing: No such file or directory\n"
    refused = run_penstock("extract", "http://127.0.0.1:1/x")
    assert refused.returncode == 1 and "is not fetched" in refused.stderr
    assert "there is no scheme odd://" in run_penstock("extract", "odd://x").stderr


# -- pyrun, test -------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(short_dir: Path) -> Path:
    """A configuration, an application and a script that tells what surrounds it."""
    (short_dir / "hello.py").write_text((APPS / "hello.py").read_text())
    (short_dir / "script.py").write_text(SCRIPT)
    (short_dir / "broken.py").write_text("def inner():\n    raise KeyError('lost')\ninner()\n")
    (short_dir / "app.ini").write_text(
        f"[uwsgi]\nsocket = {short_dir}/app.sock\nmodule = hello\nenv = COLOUR=blue\npidfile = {short_dir}/pid\n"
        f"chdir = {short_dir}\npyargv = -v shop\ndaemonize = {short_dir}/log\nprocesses = 4\n"
    )
    return short_dir


@pytest.mark.option("pyrun")
def test_a_script_runs_where_the_application_would(project: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "--ini", str(project / "app.ini"), "--pyrun", "script.py"],
        env={**clean_environment(), "STATUS": "7"}, input="a line", capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 7, done.stderr
    assert json.loads(done.stdout) == {
        "argv": ["script.py", "-v", "shop"], "name": "__main__", "cwd": str(project),
        "path": [str(project), standard_library()], "colour": "blue", "app": True,
        "opt": "hello", "typed": "a line", "signals": True,
    }  # fmt: skip
    assert not [path.name for path in project.iterdir() if path.name in ("app.sock", "pid", "log")]


def standard_library() -> str:
    """What stands in `sys.path` behind the directory of the application."""
    command = [sys.executable, "-I", "-c", "import sys; print(sys.path[0])"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.option("pyrun")
def test_a_script_that_fails_is_told_as_python_tells_it(project: Path) -> None:
    failed = run_penstock("--ini", project / "app.ini", "--pyrun", "broken.py")
    assert failed.returncode == 1
    assert failed.stderr.endswith(
        'Traceback (most recent call last):\n  File "broken.py", line 3, in <module>\n    inner()\n'
        "  File \"broken.py\", line 2, in inner\n    raise KeyError('lost')\nKeyError: 'lost'\n"
    ), failed.stderr
    missing = run_penstock("--ini", project / "app.ini", "--pyrun", "nothing.py")
    assert missing.returncode == 1 and "pyrun = nothing.py: there is no file" in missing.stderr
    (project / "hello.py").write_text("raise RuntimeError('no app')")
    no_app = run_penstock("--ini", project / "app.ini", "--pyrun", "script.py")
    assert no_app.returncode == 22 and "RuntimeError: no app" in no_app.stderr and not no_app.stdout


@pytest.mark.option("test")
def test_a_module_is_imported_for_a_test(project: Path) -> None:
    fine = run_penstock("--chdir", project, "-J", "hello")
    assert (fine.returncode, fine.stdout) == (0, ""), fine.stderr
    failed = run_penstock("--ini", project / "app.ini", "--test", "broken")
    assert failed.returncode == 1
    assert 'broken.py", line 2, in inner' in failed.stderr and "worker/script.py" not in failed.stderr


# -- pyshell -----------------------------------------------------------------------------------------------------------


@pytest.mark.option("pyshell", "pyshell-oneshot")
@pytest.mark.parametrize(
    ("option", "typed", "said"),
    [
        ("--pyshell", "uwsgi.worker_id() + 41\napplication\n", [">>> 42", "<function application at"]),
        ("--pyshell-oneshot", "print('one', uwsgi.worker_id())\nexit()\n", ["one 1", "the Python prompt has ended"]),
        ("--pyshell=print('ran', uwsgi.worker_id())", "", ["ran 1", "the Python prompt has ended"]),
        ("--pyshell=1/0", "", ["ZeroDivisionError", "the Python prompt has ended"]),
    ],
)
def test_a_prompt_in_the_first_worker(tmp_path: Path, option: str, typed: str, said: list[str]) -> None:
    (tmp_path / "typed").write_text(typed)
    prefix = ("sh", "-c", f'exec "$@" <{tmp_path}/typed', "sh")
    with Penstock(*HELLO, option, "--processes", "2", prefix=prefix) as instance:
        for text in said:
            until(f"{text} in the log", lambda text=text: text in instance.log)  # type: ignore[misc]
        assert get(instance.http).status == 200
        assert instance.log.count(said[0]) == 1


@pytest.mark.option("pyshell", "pyshell-oneshot")
@pytest.mark.parametrize("option", ["--pyshell=false", "--pyshell-oneshot=off"])
def test_no_prompt(option: str) -> None:
    with Penstock(*HELLO, option) as instance:
        assert get(instance.http).status == 200
        assert "prompt" not in instance.log


# -- eval --------------------------------------------------------------------------------------------------------------


@pytest.mark.option("eval")
def test_the_application_is_a_line_of_a_configuration(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_text(
        "[uwsgi]\nhttp = 127.0.0.1:0\ncallable = app\n"
        "eval = app = lambda environ, start: (start('200 OK', []), [b'from eval'])[1]\n"
    )
    with Penstock("--ini", tmp_path / "app.ini") as instance:
        assert get(instance.http).body == b"from eval"
    for code, message in (("x = 1", "the code of eval has no attribute application"), ("1 +", "SyntaxError")):
        refused = run_penstock("--http", "127.0.0.1:0", "--eval", code)
        assert refused.returncode == 22 and message in refused.stderr, refused.stderr
