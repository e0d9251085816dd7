"""Which instance a command is about: pids, pid files, configuration files, and what is said where there is none."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.commands.target import NO_FILE, NO_PROCESS, Refused, Target, find_target

USAGE = "penstock reload ..."


@pytest.fixture
def master(tmp_path: Path) -> Iterator[int]:
    """A process with the command line of a master."""
    script = tmp_path / "penstock"
    script.write_text("import signal\nprint('ready', flush=True)\nsignal.pause()\n")
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as stand_in:
        assert stand_in.stdout is not None and stand_in.stdout.readline() == b"ready\n"
        yield stand_in.pid
        stand_in.kill()


def refused(*words: str, pid: str | None = None) -> Refused:
    with pytest.raises(Refused) as caught:
        find_target(USAGE, words, pid)
    return caught.value


def test_a_pid_or_its_file(master: int, tmp_path: Path) -> None:
    assert find_target(USAGE, [], str(master)) == Target(master, "")
    path = tmp_path / "app.pid"
    path.write_text(f"{master}\n")
    assert find_target(USAGE, [str(path)]) == Target(master, str(path))


@pytest.mark.parametrize("option", ["pidfile", "pidfile2", "safe-pidfile"])
def test_a_configuration_names_its_pid_file(
    master: int, tmp_path: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "app.pid").write_text(f"{master}\n")
    text = f"[uwsgi]\n{option} = %drun/app.pid\n[other]\nhttp = :0\n"
    (tmp_path / "app.ini").write_text(text)
    expected = Target(master, str(tmp_path / "run" / "app.pid"))
    assert find_target(USAGE, [str(tmp_path / "app.ini")]) == expected
    assert find_target(USAGE, ["--ini", "app.ini"]) == expected
    message = str(refused("app.ini:other"))
    assert "app.ini:other names no pidfile: name the instance by --pid PID" in message


def test_a_configuration_that_can_not_be_read_is_told_before_the_instance_is(tmp_path: Path) -> None:
    (tmp_path / "app.ini").write_text("[uwsgi]\npidfile = /tmp/x\nprocesses = many\n")
    found = refused(str(tmp_path / "app.ini"))
    assert found.status == NO_FILE
    assert str(found).startswith(f"{tmp_path}/app.ini:3: processes = many") and "nothing was asked for" in str(found)
    assert "no-such.ini" in str(refused(str(tmp_path / "no-such.ini")))


def test_a_stale_pid_file(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as gone:
        pass
    path = tmp_path / "app.pid"
    path.write_text(str(gone.pid))
    found = refused(str(path))
    assert found.status == NO_PROCESS
    assert str(found) == f"there is no process {gone.pid}; {path} is stale and can be removed"
    assert str(refused(pid=str(gone.pid))) == f"there is no process {gone.pid}"


def test_a_process_that_is_no_master(tmp_path: Path) -> None:
    path = tmp_path / "app.pid"
    path.write_text(str(os.getpid()))
    found = refused(str(path))
    assert found.status == NO_PROCESS and "is not Penstock; the file is stale and can be removed" in str(found)
    assert "is not Penstock; name a master" in str(refused(pid=str(os.getpid())))


AS_NOBODY = """
import encodings.ascii, os, sys
from penstock.commands.target import Refused, find_target
os.seteuid(65534)
try:
    find_target("usage", [], sys.argv[1])
except Refused as refused:
    print(refused.status, refused)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_somebody_elses_instance(master: int) -> None:
    done = subprocess.run([sys.executable, "-c", AS_NOBODY, str(master)], capture_output=True, text=True, check=True)
    assert done.stdout == f"255 process {master} belongs to the user root: only that user and root may ask it\n"


@pytest.mark.parametrize("pid", ["", "0", "1", "-5", "x", "9" * 30])
def test_what_is_no_pid(pid: str) -> None:
    found = refused(pid=pid)
    assert found.status == NO_FILE and "is no process id" in str(found)


def test_both_and_neither() -> None:
    assert "both name an instance" in str(refused("a.pid", pid="5"))
    assert str(refused()).startswith(f"usage: {USAGE}")
