"""The FIFO: letters in, events out."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from penstock.master import events as ev
from penstock.master.fifo import COMMANDS, NOT_HERE, MasterFifo


def write(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)


def test_letters_are_commands(tmp_path: Path) -> None:
    path, said = tmp_path / "fifo", list[str]()
    fifo = MasterFifo([str(path)], said.append)
    assert stat.S_ISFIFO(path.stat().st_mode) and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fifo.read() == []
    write(path, "r+-\n")
    assert fifo.read() == [COMMANDS["r"], ev.WorkersRequested(1, "master-fifo"), ev.WorkersRequested(-1, "master-fifo")]
    write(path, "Q")
    assert fifo.read() == [ev.StopRequested(now=True)], "a writer that has left is no end"
    fifo.close()
    assert not path.exists()


def test_what_is_no_command_is_said(tmp_path: Path) -> None:
    path, said = tmp_path / "fifo", list[str]()
    fifo = MasterFifo([str(path)], said.append)
    write(path, "E?\u00e97")
    assert fifo.read() == [] and len(said) == 5
    assert "no Emperor" in said[0].replace("there is no Emperor", "no Emperor")
    assert not set(COMMANDS) & set(NOT_HERE)
    fifo.close()


def test_every_letter_is_answered_and_none_ends_the_master(tmp_path: Path) -> None:
    path, said = tmp_path / "fifo", list[str]()
    fifo = MasterFifo([str(path)], said.append)
    for code in range(256):
        path.write_bytes(bytes([code]))
        fifo.read()
    told = "\n".join(said)
    for letter, reason in NOT_HERE.items():
        assert f"{letter} is ignored, {reason}" in told
    fifo.close()


def test_letters_that_are_none_of_the_policys_business(tmp_path: Path) -> None:
    done = list[str]()
    fifo = MasterFifo([str(tmp_path / "fifo")], done.append, {"l": lambda: done.append("reopened")})
    write(tmp_path / "fifo", "l")
    assert fifo.read() == [] and done == ["reopened"]
    fifo.close()


def test_digits_choose_a_fifo(tmp_path: Path) -> None:
    paths, said = [tmp_path / "a", tmp_path / "b"], list[str]()
    fifo = MasterFifo([str(path) for path in paths], said.append)
    write(paths[1], "s")
    assert fifo.read() == []
    write(paths[0], "1")
    assert fifo.read() == [] and said == [f"active master fifo is now {paths[1]}"]
    assert fifo.read() == [COMMANDS["s"]]
    fifo.close()


def test_only_a_fifo_is_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "old")
    (tmp_path / "precious").write_text("data")
    said = list[str]()
    fifo = MasterFifo([str(tmp_path / "precious"), str(tmp_path / "old"), "/nowhere/fifo"], said.append)
    assert (tmp_path / "precious").read_text() == "data" and len(said) == 2 and fifo.fileno() >= 0
    (tmp_path / "old").unlink()
    (tmp_path / "old").write_text("somebody else's")
    fifo.close()
    assert (tmp_path / "old").exists()
    assert MasterFifo([], said.append).fileno() == -1
