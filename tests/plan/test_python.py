"""Why the Python of a virtual environment can not be run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from penstock.plan.python import can_be_run, not_started, why_not
from tests.plan.test_resolve import plan


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A virtual environment whose Python is a link, over a second one, to a program elsewhere."""
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "store" / "cpython" / "bin").mkdir(parents=True)
    program = tmp_path / "store" / "cpython" / "bin" / "python3.11"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / "venv" / "bin" / "python").symlink_to("python3")
    (tmp_path / "venv" / "bin" / "python3").symlink_to(program)
    return tmp_path / "venv"


def test_it_can_be_run(home: Path) -> None:
    assert can_be_run(str(home))
    assert not can_be_run(str(home / "bin"))


def test_a_closed_directory_behind_the_link_is_named(home: Path) -> None:
    store = str(home.parent / "store")
    why, cure = why_not(str(home), "alice", lambda directory: directory != store)
    assert why == f"bin/python leads to {store}/cpython/bin/python3.11, and user alice may not enter {store}"
    assert f"chmod a+x {store}," in cure


def test_a_closed_directory_before_it_is_named(home: Path) -> None:
    why, cure = why_not(str(home), "alice", lambda directory: directory != str(home))
    assert why == f"{home}/bin/python can not be reached, and user alice may not enter {home}"
    assert f"chmod a+x {home}," in cure


@pytest.mark.parametrize("inside", ["bin", "bin/python"])
def test_a_path_inside_the_environment(home: Path, inside: str) -> None:
    assert why_not(str(home / inside), "alice")[1] == f"did you mean {home}?"


def test_a_python_that_was_removed(home: Path) -> None:
    program = home.parent / "store" / "cpython" / "bin" / "python3.11"
    program.chmod(0o644)
    assert why_not(str(home), "alice")[0] == f"user alice may not run {program}"
    program.unlink()
    why, cure = why_not(str(home), "alice")
    assert why == f"bin/python leads to {program}, which does not exist"
    assert "--clear" in cure


def test_nothing_there(tmp_path: Path) -> None:
    assert f"python3 -m venv {tmp_path}" in why_not(str(tmp_path), "alice")[1]


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("python")
    assert "does not exist" in why_not(str(tmp_path), "alice")[0]


def test_a_program_that_can_not_be_started(tmp_path: Path) -> None:
    gone = FileNotFoundError(errno.ENOENT, "No such file or directory")
    assert not_started("/none/python", gone) == "/none/python can not be started: No such file or directory"
    denied = PermissionError(errno.EACCES, "Permission denied")
    (tmp_path / "python").touch()
    text = f"{tmp_path}/python can not be started by user {os.geteuid()}: Permission denied"
    assert not_started(str(tmp_path / "python"), denied) == text


def test_standard_input_may_be_kept() -> None:
    assert [plan(*argv).app.keeps_input for argv in ((), ("--honour-stdin",))] == [False, True]
