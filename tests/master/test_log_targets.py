"""Targets never wait, and tell what they lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.master.errors import StartError
from penstock.master.log_files import FileRules, LogFile
from penstock.master.log_targets import KEEP_BYTES, DatagramTarget, StreamTarget
from penstock.plan.types import LoggerPlan


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read_end, write_end = os.pipe()
    os.set_blocking(read_end, False)
    yield read_end, write_end
    for fd in (read_end, write_end):
        os.close(fd)


def read_all(fd: int) -> bytes:
    data = b""
    while True:
        try:
            piece = os.read(fd, 1 << 20)
        except BlockingIOError:
            return data
        data += piece


def test_a_stream_gets_lines(pipe: tuple[int, int]) -> None:
    target = StreamTarget(pipe[1])
    target.send(b"one")
    target.send(b"two\n")
    assert read_all(pipe[0]) == b"one\ntwo\n"


def test_a_full_pipe_keeps_lines_then_counts_them_and_tells(pipe: tuple[int, int]) -> None:
    target = StreamTarget(pipe[1])
    line = b"x" * 999
    sent = 4 * KEEP_BYTES // 1000
    for _ in range(sent):
        target.send(line)
    assert not target.flush()
    data = b""
    while not target.flush():
        data += read_all(pipe[0])
    data += read_all(pipe[0])
    *lines, told, rest = data.split(b"\n")
    assert rest == b"" and set(lines) == {line}
    lost = int(told.split()[0])
    assert told == b"%d log lines were lost: its reader does not keep up" % lost
    assert len(lines) + lost == sent


def test_a_pipe_whose_reader_is_gone_is_no_problem() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    target = StreamTarget(write_end, is_own=True)
    for _ in range(10):
        target.send(b"x" * 10_000)
    assert target.flush()
    target.close()


def test_a_receiver_that_comes_later_hears_what_was_lost(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    target = DatagramTarget.open(LoggerPlan("socket", "here", path=path, prefix="p "))
    target.send(b"one")
    target.send(b"two")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        target.send(b"three")
        assert receiver.recv(100) == b"2 log lines were lost: No such file or directory\n"
        assert receiver.recv(100) == b"p three"
    target.close()


def test_a_receiver_that_is_slow_loses_nothing_within_limits(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)
        target = DatagramTarget.open(LoggerPlan("socket", "here", path=path))
        for number in range(500):
            target.send(b"%d" % number)
        heard: list[int] = []
        while len(heard) < 500:
            try:
                heard.append(int(receiver.recv(100)))
            except BlockingIOError:
                target.flush()
        assert heard == list(range(500))
    target.close()


def test_a_datagram_that_is_too_large_is_lost_alone() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10)
        target = DatagramTarget.open(LoggerPlan("socket", "here", host="127.0.0.1", port=receiver.getsockname()[1]))
        target.send(b"x" * 100_000)
        target.send(b"small")
        assert receiver.recv(1000).startswith(b"1 log lines were lost: Message too long")
        assert receiver.recv(1000) == b"small"
    target.close()


def test_a_host_that_has_no_address_is_told() -> None:
    with pytest.raises(StartError, match=r"nowhere\.invalid"):
        DatagramTarget.open(LoggerPlan("rsyslog", "app.ini:3", host="nowhere.invalid", port=1))


# -- files


def test_a_file_is_opened_as_it_should_be(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("old\n")
    file = LogFile(str(path), FileRules(mode=0o604))
    os.write(file.fd, b"new\n")
    assert path.read_text() == "old\nnew\n" and path.stat().st_mode & 0o777 == 0o604
    os.close(file.fd)
    file = LogFile(str(path), FileRules(truncate=True))
    assert path.read_text() == "" and not file.is_too_large()
    os.close(file.fd)


def test_no_log_file_beside_the_standard_streams_is_inherited(tmp_path: Path, pipe: tuple[int, int]) -> None:
    file = LogFile(str(tmp_path / "log"), FileRules(), (pipe[1],))
    assert not os.get_inheritable(file.fd)
    assert file.reopen() is None and not os.get_inheritable(file.fd)


def test_what_was_open_goes_on_in_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    file = LogFile(str(path), FileRules(max_bytes=3))
    os.write(file.fd, b"one\n")
    assert file.is_too_large() and file.size_bytes() == 4
    fd, backup = file.fd, file.backup_name()
    assert file.rotate(backup) is None
    assert file.fd == fd and not file.is_too_large()
    os.write(fd, b"two\n")
    assert (Path(backup).read_text(), path.read_text()) == ("one\n", "two\n")
    # A second rotation in the same second overwrites nothing.
    assert file.backup_name() not in (backup, "")
    assert not Path(file.backup_name()).exists()
    os.close(fd)


def test_a_file_that_can_not_be_opened_anew_is_written_on(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    file = LogFile(str(folder / "log"), FileRules(backup=str(tmp_path / "no" / "old")))
    complaint = file.rotate(file.backup_name())
    assert complaint is not None and "can not become" in complaint
    (folder / "log").rename(tmp_path / "moved")
    folder.rmdir()
    complaint = file.reopen()
    assert complaint is not None and "the old file is written on" in complaint
    os.write(file.fd, b"still here")
    assert (tmp_path / "moved").read_text() == "still here"
    os.close(file.fd)
