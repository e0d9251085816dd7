"""The pid file: who owns it, who may take it over."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.master.errors import StartError
from penstock.master.pidfile import PidFile, _program, is_instance, read


def test_holds_this_process_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    owned = PidFile.claim(str(path))
    assert path.read_text() == f"{os.getpid()}\n" and read(str(path)) == os.getpid()
    owned.release()
    assert not path.exists()


def test_second_claim_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    owned = PidFile.claim(str(path))
    with pytest.raises(StartError, match=f"instance that is running \\(pid {os.getpid()}\\)"):
        PidFile.claim(str(path))
    owned.release()


@pytest.mark.parametrize("content", ["", "\n", "4194999\n", "1\n", "99999999999999999999\n"])
def test_stale_content_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "pid"
    path.write_text(content)
    owned = PidFile.claim(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    owned.release()


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("#!/usr/bin/env python3\nimport os\n", "'#!/usr/bin/env python3' ..."),
        ("12 apples\n", "'12 apples'"),
        ("7\nwords\n", "'7' ..."),
        ("x" * 100, f"'{'x' * 40}' ..."),
    ],
)
def test_file_of_somebody_else_is_left_alone(tmp_path: Path, content: str, shown: str) -> None:
    """One slip (`pidfile = manage.py`) must not cost the file."""
    path = tmp_path / "manage.py"
    path.write_text(content)
    with pytest.raises(StartError) as caught:
        PidFile.claim(str(path))
    assert f"is no pid file: it holds {shown}; name another one with pidfile" in str(caught.value)
    assert caught.value.status == 1
    assert path.read_text() == content


def test_own_number_from_an_earlier_life_is_replaced(tmp_path: Path) -> None:
    """In a container the master is always process 1."""
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    PidFile.claim(str(path)).release()


def named(directory: Path, *argv: str) -> subprocess.Popen[bytes]:
    """Start a process that waits for its standard input, with a command line that ends like `argv`."""
    script = directory / argv[0]
    script.write_text("import sys; print(flush=True); sys.stdin.read()")
    process = subprocess.Popen(
        [sys.executable, str(script), *argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=directory
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.kill()


def test_living_instance_is_recognised_without_a_lock(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    process = named(tmp_path, "penstock", "app.ini")
    try:
        path.write_text(f"{process.pid}\n")
        with pytest.raises(StartError, match=f"penstock --stop {path}"):
            PidFile.claim(str(path))
        assert path.read_text() == f"{process.pid}\n"
    finally:
        end(process)
    PidFile.claim(str(path)).release()


def test_other_program_with_the_number_does_not_count(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    process = named(tmp_path, "editor", "penstock.ini")
    try:
        assert not is_instance(process.pid)
        path.write_text(f"{process.pid}\n")
        PidFile.claim(str(path)).release()
    finally:
        end(process)


@pytest.mark.parametrize(
    ("line", "program"),
    [
        ("/opt/bin/penstock app.ini", "penstock"),
        ("/usr/bin/python3 /opt/bin/penstock app.ini", "penstock"),
        ("python3 -W error -X dev -m penstock --http :80", "penstock"),
        ("python3 -I /x/penstock/__main__.py", "penstock"),
        ("python3 -c pass -m penstock", ""),
        ("python3 /x/penstock/worker/boot.py", "boot.py"),
        ("python3 -m pytest penstock", "pytest"),
        ("vim penstock", "penstock"),
        ("tail -f penstock.log", "penstock.log"),
        ("python3", ""),
        ("", ""),
    ],
)
def test_program_of_a_command_line_is_found(line: str, program: str) -> None:
    """`vim penstock` is the price of not knowing every name of Python."""
    assert _program(line.split()) == program


def test_process_that_does_not_exist_is_no_instance() -> None:
    assert not is_instance(2**22 + 1)


def test_file_that_was_replaced_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    owned = PidFile.claim(str(path))
    path.unlink()
    path.write_text("123\n")
    owned.release()
    assert path.read_text() == "123\n"


def test_file_that_is_gone_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    owned = PidFile.claim(str(path))
    path.unlink()
    owned.release()


def test_directory_that_does_not_exist_is_explained(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"No such file or directory: create the directory {tmp_path}/no first"):
        PidFile.claim(str(tmp_path / "no" / "pid"))


def test_link_is_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the directory could otherwise let root overwrite, and give away, any file."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "pid").symlink_to(precious)
    with pytest.raises(StartError, match="symbolic link"):
        PidFile.claim(str(tmp_path / "pid"))
    assert precious.read_text() == "precious"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pid")
    with pytest.raises(StartError, match="no regular file"):
        PidFile.claim(str(tmp_path / "pid"))
