"""Commands that are run: who hears them, how they end, and what they get of the environment."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path

import pytest

from penstock.deploy.running import Command, Machine, Recorder
from penstock.deploy.services import running_pid


def python(code: str, **fields: object) -> Command:
    """A command of a few lines of Python."""
    return Command((sys.executable, "-c", code), **fields)  # type: ignore[arg-type]


def test_lines_are_heard_and_kept_from_both_streams() -> None:
    heard: list[str] = []
    code = (
        "import sys; print('one'); sys.stdout.flush(); print('two', file=sys.stderr); sys.stdout.buffer.write(b'\\xff')"
    )
    done = Machine(heard.append).run(python(code))
    assert (done.status, done.output) == (0, "one\ntwo\n\\xff\n")
    assert heard == ["one", "two", "\\xff"]


def test_a_daemon_that_keeps_the_output_open_is_not_waited_for() -> None:
    code = "import os, signal\nif os.fork() == 0:\n    os.setsid(); signal.pause()\nprint(os.getpid())"
    done = Machine().run(python(code))
    assert done.is_good and done.output.strip().isdigit()
    # The child is in no group of ours: its parent's number was the group it left.
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                is_it = code.encode() in file.read()
        except OSError:
            continue
        if is_it:
            os.kill(int(entry), 9)


def test_a_command_that_fails_has_its_end_shown() -> None:
    done = Machine().run(python("for number in range(100): print(number)\nraise SystemExit(3)"))
    assert done.status == 3 and done.tail.splitlines() == [str(number) for number in range(60, 100)]
    assert Machine().run(Command(("/nowhere/at-all",))).status == 127
    assert "no user" in Machine().run(python("", user="nobody-of-that-name")).output
    assert Machine().run(python("import os; os.kill(os.getpid(), 9)")).status == -9


def test_nothing_of_a_session_reaches_a_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV", "PYTHONPATH", "SECRET"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("PIP_INDEX_URL", "https://packages.example.org")
    done = Machine().run(python("import os; print(*sorted(os.environ))", env=(("OWN", "1"),), cwd="/tmp"))
    assert set(done.output.split()) & {"DJANGO_SETTINGS_MODULE", "VIRTUAL_ENV", "PYTHONPATH", "SECRET"} == set()
    assert {"PIP_INDEX_URL", "OWN", "PATH", "HOME"} <= set(done.output.split())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_user_is_become_with_its_groups_and_its_home() -> None:
    command = Command(("sh", "-c", "id -un; id -gn; echo $HOME; umask"), user="nobody")
    home = pwd.getpwnam("nobody").pw_dir
    assert Machine().run(command).output.split() == ["nobody", "nogroup", home, "0022"]


def test_a_command_is_shown_as_it_would_be_typed() -> None:
    command = Command(("python", "manage.py", "x y"), cwd="/srv/a b", user="shop", env=(("A", "1 2"),))
    assert str(command) == "cd '/srv/a b' && runuser -u shop -- env A='1 2' python manage.py 'x y'"
    recorder = Recorder()
    assert recorder.run(command).is_good and recorder.commands == [command]


def test_what_somebody_planted_for_a_pid_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "other").write_text(f"{os.getpid()}\n")
    program = Path(f"/proc/{os.getpid()}/cmdline").read_bytes().split(b"\0")[0]
    assert running_pid(str(tmp_path / "other"), program) == os.getpid()
    (tmp_path / "link").symlink_to("other")
    os.mkfifo(tmp_path / "pipe")
    # Nobody writes into the pipe: who waited for that would wait for good.
    assert [running_pid(str(tmp_path / name), program) for name in ("link", "pipe", "none")] == [0, 0, 0]
