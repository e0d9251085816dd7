"""Users and groups, and the limit of open files."""

from __future__ import annotations

import os
import resource

import pytest

from penstock.master import privileges
from penstock.master.errors import StartError
from penstock.master.privileges import Identity


def test_nothing_asked_for_changes_nothing() -> None:
    assert privileges.resolve(None, None) is None
    before = os.getresuid(), os.getgroups()
    assert privileges.drop(None) == []
    assert (os.getresuid(), os.getgroups()) == before


def test_names_and_numbers_are_resolved() -> None:
    assert privileges.resolve("root", None) == Identity(0, 0, "root")
    assert privileges.resolve("65534", "12") == Identity(65534, 12, "nobody")
    assert privileges.resolve("4000000", None) == Identity(4000000, 4000000, "")


def test_user_that_does_not_exist_is_named() -> None:
    with pytest.raises(StartError, match="no user 'nobody-at-all'"):
        privileges.resolve("nobody-at-all", None)
    with pytest.raises(StartError, match="no group 'no-such-group'"):
        privileges.resolve(None, "no-such-group")


@pytest.mark.parametrize("number", ["4294967295", "99999999999", "9" * 30, "٣"])
def test_numbers_that_no_user_can_have_are_refused_before_the_kernel_sees_them(number: str) -> None:
    with pytest.raises(StartError, match="there is no user"):
        privileges.resolve(number, None)
    with pytest.raises(StartError, match="there is no group"):
        privileges.resolve("0", number)


def in_child(user: str | None, group: str | None, start_as: int = 0) -> str:
    """Drop privileges in a child; return what became of it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.setuid(start_as)
            lines = privileges.drop(privileges.resolve(user, group))
            text = f"{os.getresuid()} {os.getresgid()} {sorted(os.getgroups())} {lines}"
        except BaseException as error:
            text = repr(error)
        os.write(write_end, text.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_becomes_somebody_for_good() -> None:
    said = in_child("nobody", "12")
    assert said.startswith("(65534, 65534, 65534) (12, 12, 12) ")
    assert "'setgid() to 12', 'setuid() to 65534'" in said
    assert in_child("4000000", "12").startswith("(4000000, 4000000, 4000000) (12, 12, 12) [12] ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_group_alone_is_changed_too() -> None:
    assert in_child(None, "12").startswith("(0, 0, 0) (12, 12, 12) ")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_others_than_root_stay_who_they_are() -> None:
    assert in_child("nobody", "0", start_as=65534).endswith(" []")
    said = in_child("33", None, start_as=65534)
    assert said.startswith("(65534, 65534, 65534)") and "uid = 33 is not followed: only root can" in said
    assert "gid = 12 is not followed: only root can" in in_child("nobody", "12", start_as=65534)


def test_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, before[1]))
        raised = privileges.raise_file_limit()
        assert raised == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 128
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
