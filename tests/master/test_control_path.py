"""Where the control socket is, and which directories are not to be trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.master import control_path


@pytest.fixture
def only(short_dir: Path) -> Path:
    """The one directory that may be used."""
    return short_dir / "penstock"


def test_both_sides_look_in_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert control_path.directories(7) == (
        Path("/run/penstock-7"),
        Path("/run/user/7/penstock"),
        Path("/tmp/penstock-7"),
    )
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert control_path.directories(0)[0] == Path("/run/penstock")


def test_directory_is_private(only: Path) -> None:
    assert control_path.make_directory(os.geteuid(), os.getegid(), [only]) == only
    assert only.stat().st_mode & 0o777 == 0o700
    only.chmod(0o777)
    assert control_path.make_directory(os.geteuid(), os.getegid(), [only]) == only
    assert only.stat().st_mode & 0o777 == 0o700


def test_link_is_not_followed(only: Path, short_dir: Path) -> None:
    (short_dir / "elsewhere").mkdir()
    only.symlink_to(short_dir / "elsewhere")
    assert control_path.make_directory(os.geteuid(), os.getegid(), [only]) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_directory_of_somebody_else_is_not_used(only: Path) -> None:
    only.mkdir()
    os.chown(only, 65534, 65534)
    assert control_path.make_directory(0, 0, [only]) is None
    assert control_path.make_directory(65534, 65534, [only]) == only


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_makes_it_for_the_user_that_the_instance_becomes(only: Path) -> None:
    assert control_path.make_directory(65534, 65534, [only]) == only
    assert only.stat().st_uid == 65534


def test_no_place_is_no_error(only: Path) -> None:
    assert control_path.make_directory(os.geteuid(), os.getegid(), [only / "deeper"]) is None
    assert control_path.make_directory(os.geteuid(), os.getegid(), [only / "deeper", only]) == only


def test_owner_of_a_process_is_the_user_it_runs_as() -> None:
    assert control_path.owner_of(os.getpid()) == os.geteuid()
    assert control_path.owner_of(2**22 + 1) is None
