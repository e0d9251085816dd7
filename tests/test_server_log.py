"""The lines of the server, where they can not be written for a while."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.server_log import ServerLog


def test_lost_lines_are_told_once_and_counted(tmp_path: Path) -> None:
    fd = os.open("/dev/full", os.O_WRONLY)
    terminal = os.open(tmp_path / "terminal", os.O_WRONLY | os.O_CREAT)
    log = ServerLog(fd)
    log.terminal_fd = terminal
    log.write("one\ntwo")
    log.write("three")
    file = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, fd)
    log.write("four")
    log.write("five")
    for each in (fd, terminal, file):
        os.close(each)
    why = "No space left on device"
    assert (tmp_path / "log").read_text() == f"3 log lines of this process were lost: {why}\nfour\nfive\n"
    assert (tmp_path / "terminal").read_text().count(f"the log can not be written: {why}") == 1


def test_lines_are_held_until_it_is_certain_whose_log_it_is(tmp_path: Path) -> None:
    with (tmp_path / "log").open("wb") as file:
        log = ServerLog(file.fileno())
        log.hold()
        log.write("a")
        assert (tmp_path / "log").read_text() == ""
        log.release()
        log.write("b")
        log.hold()
        log.write("c")
        log.drop()
        log.write("d")
    assert (tmp_path / "log").read_text() == "a\nb\nd\n"
