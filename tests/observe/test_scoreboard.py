"""The scoreboard's reader, against the engine's own layout where there is an engine, and against a small one."""

from __future__ import annotations

import importlib
import mmap
import os
import struct
from typing import Any

import pytest

from penstock.observe.scoreboard import Layout, Scoreboard, ThreadRow, WorkerRow
from penstock.values import fields
from tests.master.fake_layout import MAGIC, catalogue


@pytest.fixture
def board() -> Any:
    made = Scoreboard(Layout.of(catalogue()["scoreboard"]), slots=3, threads=2)
    yield made
    made.close()


def put(board: Scoreboard, slot: int, block: str, name: str, value: int | bytes, thread: int = 0) -> None:
    """Write a cell as a worker would."""
    layout = board.layout
    base = layout.header_bytes + slot * layout.slot_bytes(board.threads)
    fields = layout.worker_fields
    if block == "thread":
        base += layout.worker_bytes + thread * layout.thread_bytes
        fields = layout.thread_fields
    with mmap.mmap(board.fd, 0) as memory:
        if isinstance(value, bytes):
            start = base + fields[name][0]
            memory[start : start + len(value)] = value
        else:
            struct.pack_into("=Q", memory, base + fields[name][0], value)


def test_header_tells_the_size(board: Scoreboard) -> None:
    with mmap.mmap(board.fd, 0) as memory:
        assert struct.unpack_from("=QIII", memory, 0) == (MAGIC, 7, 3, 2)
        assert len(memory) == 32 + 3 * (48 + 2 * 264)


def test_nobody_can_make_it_smaller(board: Scoreboard) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(board.fd, 0)


def test_new_slots_are_blank(board: Scoreboard) -> None:
    assert board.worker(2) == WorkerRow()
    assert board.threads_of(2) == (ThreadRow(), ThreadRow())


def test_each_cell_is_read_from_its_place(board: Scoreboard) -> None:
    put(board, 1, "worker", "pid", 4711)
    put(board, 1, "worker", "requests", 2**40)
    put(board, 1, "thread", "requests", 12, thread=1)
    assert board.worker(1) == WorkerRow(pid=4711, requests=2**40)
    assert [row.requests for row in board.threads_of(1)] == [0, 12]
    assert board.worker(0) == board.worker(2) == WorkerRow()
    board.clear(1)
    assert board.worker(1) == WorkerRow()


def test_request_line_is_read_whole_or_not_at_all(board: Scoreboard) -> None:
    put(board, 0, "thread", "line", b"GET /a\xe9\x07b")
    put(board, 0, "thread", "line_length", 9)
    put(board, 0, "thread", "line_sequence", 2)
    assert board.threads_of(0)[0].line == "GET /a\u00e9?b"
    assert board.threads_of(0, lines=False)[0].line == ""
    put(board, 0, "thread", "line_sequence", 3)
    assert board.threads_of(0)[0].line == ""


def test_length_that_makes_no_sense_is_bounded(board: Scoreboard) -> None:
    put(board, 0, "thread", "line_length", 2**63)
    assert len(board.threads_of(0)[0].line) == 200


def test_layout_of_the_engine_has_every_cell() -> None:
    engine = pytest.importorskip("penstock._engine")
    layout = Layout.of(importlib.import_module(engine.__name__).catalogue()["scoreboard"])
    assert {each.name for each in fields(WorkerRow)} <= set(layout.worker_fields)
    assert {each.name for each in fields(ThreadRow)} <= set(layout.thread_fields)
    made = Scoreboard(layout, slots=4, threads=3)
    assert made.worker(3) == WorkerRow() and len(made.threads_of(3)) == 3
    put(made, 3, "worker", "app_requests", struct.pack("=16Q", *range(16)))
    assert made.worker(3) == WorkerRow(app_requests=tuple(range(16)))
    made.close()
