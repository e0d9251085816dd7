"""The command, run for real in a process of its own where exit status and output count."""

from __future__ import annotations

import os
import platform
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import penstock
from penstock.cli import main
from penstock.commands import COMMANDS, find
from penstock.commands.describe import details
from penstock.commands.help import overview
from penstock.commands.target import read_pid
from penstock.options.table import OPTIONS

ROOT = Path(__file__).parent.parent


def run(*argv: str, cwd: Path | None = None, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("UWSGI_", "PENSTOCK_"))}
    return subprocess.run(
        [sys.executable, "-m", "penstock", *argv],
        cwd=cwd or ROOT,
        env={**env, "PYTHONPATH": str(ROOT), **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_nothing_is_answered_with_the_usage() -> None:
    result = run()
    assert result.returncode == 1
    assert result.stderr.startswith("usage: penstock")
    assert not result.stdout


@pytest.mark.parametrize("words", [["--python-version"], ["python-version"], ["--http", ":0", "--python-version"]])
@pytest.mark.option("python-version")
def test_the_version_of_python_is_alone_in_its_line(words: list[str]) -> None:
    result = run(*words)
    assert (result.returncode, result.stdout) == (0, platform.python_version() + "\n")


@pytest.mark.parametrize("words", [["--version"], ["version"], ["--http", ":0", "--version", "--bogus"]])
def test_version(words: list[str]) -> None:
    result = run(*words)
    assert result.returncode == 0
    lines = result.stdout.splitlines()
    assert lines[0] == f"Penstock {penstock.__version__}"
    assert lines[1].startswith("Python 3.")
    assert lines[2].startswith("engine ")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_names_every_option(words: list[str]) -> None:
    result = run(*words, COLUMNS="80")
    assert result.returncode == 0 and not result.stderr
    assert all(f"--{option.name}" in result.stdout for option in OPTIONS if option.role != "command")
    assert all(f"  {command}" in result.stdout for command in COMMANDS)
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_of_one_option() -> None:
    result = run("help", "workers")
    assert "--processes N|auto" in result.stdout and "Also called: workers" in result.stdout
    assert run("--help", "workers").stdout == run("-h", "processes").stdout == result.stdout
    assert run("--help", "app.ini").stdout == run("--help").stdout
    assert run("-http", ":8001").stderr.startswith(
        "[penstock] error: -http: names of options have two dashes; write --http"
    )
    assert run("help", "-M").returncode == 0
    assert "did you mean processes?" in run("help", "proceses").stderr
    assert run("help", "proceses").returncode == 1


def test_help_of_an_option_that_is_not_supported() -> None:
    result = run("help", "chroot")
    assert result.returncode == 0 and result.stdout.startswith("--chroot VALUE\n  Not supported.\n")
    assert "A start with it is refused: without it the instance would run with more rights" in result.stdout
    assert run("help", "subscribe").stdout.count("Also called") == 1


def test_every_option_has_details() -> None:
    for option in OPTIONS:
        text = "\n".join(details(option, 80))
        assert option.name in text and "Since version" in text
    assert list(overview(60))


def test_every_command_has_its_parts() -> None:
    for name in COMMANDS:
        command = find(name)
        assert command.SUMMARY and not command.SUMMARY.endswith(".")
        assert isinstance(command.USAGE, str) and callable(command.run)


def test_a_wrong_configuration_is_refused_with_all_that_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_text("[uwsgi]\nhttp = 8000\nprocesses = many\nwork = 3\n")
    result = run("app.ini", cwd=tmp_path)
    assert result.returncode == 1
    assert "[penstock] error: app.ini:3: processes = many: this is not a number" in result.stderr
    assert "[penstock] warning: app.ini:4: there is no option work" in result.stderr
    assert "[penstock] not started: 1 error in the configuration" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_plan_that_can_not_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_text("[uwsgi]\nhttp = 8000\nmodule = app\nshow-config = true\n")
    result = run("app.ini", cwd=tmp_path)
    assert result.returncode == 1
    assert "[penstock] getting INI configuration from app.ini" in result.stderr
    assert "\nhttp = 8000\n" in result.stderr
    assert "[penstock] error: app.ini:2: http = 8000: a port alone is not an address; write :8000" in result.stderr


def test_no_app_has_a_status_of_its_own() -> None:
    assert run("--http", ":0").returncode == 22


def test_names_that_are_no_text_do_not_hide_the_message(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_bytes(b"[uwsgi]\n\xff\xfekey = 1\nprocesses = x\n")
    result = run("app.ini", cwd=tmp_path, LC_ALL="C")
    assert result.returncode == 1 and "this is not a number" in result.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    result = subprocess.run(
        f"{sys.executable} -m penstock --help | head -1; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0 and not result.stderr


@pytest.mark.parametrize("command", ["help", "schema", "version", "completion bash", "convert --gunicorn gunicorn"])
def test_output_that_can_not_be_written_is_said_in_one_line(command: str) -> None:
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "penstock", *command.split()],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
        )
    assert result.stderr == "[penstock] the output can not be written: No space left on device\n"
    assert result.returncode == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_outputs_are_no_traceback(closed: str) -> None:
    script = f"{sys.executable} -m penstock check --http 127.0.0.1:0 --wsgi-file /none/at/all.py {closed}"
    result = subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 2 and not result.stderr


def test_a_command_that_is_nearly_one_is_named() -> None:
    result = run("chek", "app.ini")
    assert result.returncode == 1
    assert result.stderr == "[penstock] error: there is no command chek; did you mean check?\n"
    assert "to serve it write --wsgi-file shw.py" in run("shw.py").stderr


def test_help_of_a_command() -> None:
    result = run("help", "check")
    assert result.returncode == 0 and result.stdout.startswith("usage: penstock check [--json]")


def test_explain_says_what_it_could_not_read(tmp_path: Path) -> None:
    result = run("explain", "harakiri", "none.ini", cwd=tmp_path)
    assert result.returncode == 2
    assert "can not read none.ini: No such file or directory" in result.stdout
    assert "It is not set" not in result.stdout
    (tmp_path / "app.ini").write_text("[uwsgi]\nprocesses = 2\n")
    assert "It is not set: the default is 0." in run("explain", "harakiri", "app.ini", cwd=tmp_path).stdout


def test_show_does_not_take_the_workers_for_the_limit_of_processes(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_text("[uwsgi]\nhttp = 127.0.0.1:0\nmodule = os\nprocesses = 2\n")
    result = run("show", "app.ini", cwd=tmp_path)
    assert "\n  processes: 2   (app.ini:4)\n" in result.stdout and "\n    processes: 0\n" in result.stdout


@pytest.mark.parametrize(
    ("content", "status", "piece"),
    [
        (None, 1, "can not read the pid file"),
        ("", 1, "it is empty"),
        ("one", 1, "does not hold a number"),
        ("-5", 1, "does not hold a number"),
        ("0", 1, "can not be a master"),
        ("1\n", 1, "can not be a master"),
        ("9" * 30, 1, "does not hold a number"),
        ("4194304999", 255, "is stale"),
    ],
)
@pytest.mark.parametrize("word", ["--reload", "--stop", "reload", "stop"])
def test_pid_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], word: str, content: str | None, status: int, piece: str
) -> None:
    path = tmp_path / "app.pid"
    if content is not None:
        path.write_text(content)
    assert main([word, str(path)]) == status
    captured = capsys.readouterr()
    assert piece in captured.err and not captured.out


def test_another_program_is_never_signalled(tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    path.write_text(f"{os.getppid() if os.getppid() > 1 else os.getpid()}\n")
    result = run("stop", str(path))
    assert result.returncode == 255
    assert "is not Penstock" in result.stderr


@pytest.mark.parametrize(("command", "number"), [("--reload", signal.SIGHUP), ("--stop", signal.SIGINT)])
def test_the_signal_reaches_the_master(tmp_path: Path, command: str, number: signal.Signals) -> None:
    """A stand-in with a command line like the master's: it dies of the signal and so tells which one came."""
    script = tmp_path / "penstock"
    script.write_text(
        "import signal\nfor number in (signal.SIGINT, signal.SIGHUP):\n    signal.signal(number, signal.SIG_DFL)\n"
        "print('ready', flush=True)\nsignal.pause()\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as stand_in:
        assert stand_in.stdout is not None and stand_in.stdout.readline() == b"ready\n"
        (tmp_path / "app.pid").write_text(f"{stand_in.pid}\n")
        result = run(command, str(tmp_path / "app.pid"))
        assert (result.returncode, result.stderr) == (0, "")
        assert stand_in.wait(30) == -number


def test_usage_of_the_commands() -> None:
    assert "usage: penstock reload [--no-wait] [--timeout SECONDS]" in run("reload").stderr
    assert run("stop", "a", "b").returncode == 1
    assert "usage: penstock connect-and-read ADDRESS" in run("connect-and-read").stderr
    assert "needs a value" in run("--reload").stderr


def test_pid_1_is_a_master_only_where_it_is_one(tmp_path: Path) -> None:
    (tmp_path / "p").write_text("1234")
    assert read_pid(str(tmp_path / "p")) == 1234


def serve_once(listener: socket.socket, text: bytes) -> threading.Thread:
    def answer() -> None:
        with listener, listener.accept()[0] as connection:
            connection.sendall(text)

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


@pytest.mark.parametrize("family", ["tcp", "unix", "abstract"])
def test_connect_and_read(short_dir: Path, family: str) -> None:
    if family == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    else:
        listener = socket.socket(socket.AF_UNIX)
        address = str(short_dir / "s") if family == "unix" else f"@{short_dir.name}"
        listener.bind(address if family == "unix" else f"\0{short_dir.name}")
        listener.listen()
    thread = serve_once(listener, b"x" * 100_000)
    result = run("--connect-and-read", address)
    thread.join(30)
    assert (result.returncode, len(result.stdout), result.stderr) == (0, 100_000, "")


@pytest.mark.parametrize(
    ("address", "piece"),
    [("/nowhere/stats.sock", "no such socket"), ("127.0.0.1:1", "nobody is listening"), ("9191", "write :9191")],
)
def test_connect_and_read_to_nobody(address: str, piece: str) -> None:
    result = run("connect-and-read", address)
    assert result.returncode == 1
    assert piece in result.stderr and "Traceback" not in result.stderr


def test_a_log_that_can_not_be_written_stops_nothing(tmp_path: Path) -> None:
    """A full disk, and the start has something to say: it comes as far as the app that is not there."""
    (tmp_path / "a.ini").write_text("[uwsgi]\nwork = 3\nhttp = 127.0.0.1:0\nmodule = not_there\n")
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "penstock", str(tmp_path / "a.ini")]
        done = subprocess.run(command, stderr=full, cwd=tmp_path, timeout=60)
    assert done.returncode == 22
