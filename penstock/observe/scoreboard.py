"""The scoreboard as the master sees it: made here, written by the workers' engines, read here.

The engine describes the layout (`catalogue()["scoreboard"]`); there is no second copy of it. Every cell is written
atomically and none is locked: a reader sees each number whole, and two numbers of slightly different moments.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any

from penstock.values import dataclass, fields

FREE, STARTING, ACCEPTING, PAUSED, DRAINING = range(5)
"""States of a worker."""

IN_APP = 1
"""State of a thread that is in the app."""

DETACHED = 2
"""State of a thread that is in the app with a request whose client was answered without it."""

LINE_TRIES = 3
"""Reads of a request line before it is given up as being written just now."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """One worker's cells. Counters start at 0 with its process; times are microseconds."""

    pid: int = 0
    state: int = FREE
    started_at_us: int = 0
    requests: int = 0
    exceptions: int = 0
    tx_bytes: int = 0
    running_time_us: int = 0
    average_response_us: int = 0
    connections: int = 0
    refused: int = 0
    signals: int = 0
    accepted: int = 0
    """Connections that were taken from a listener."""
    waiting: int = 0
    """Complete requests that wait for a thread."""
    waiting_since_us: int = 0
    """Since when the first of them does: CLOCK_MONOTONIC."""
    waited: int = 0
    """Requests that waited for a thread and have got one."""
    waited_us: int = 0
    """How long all of them together waited."""
    app_requests: tuple[int, ...] = ()
    """Of each app where there are several, by their ids; the last counts all that have no cell of their own."""
    app_exceptions: tuple[int, ...] = ()
    server_errors: int = 0
    """Answered with a status of 500 or more, or cut by an exception."""
    worker_id: int = 0
    """1 for the first worker."""


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """One app thread's cells."""

    state: int = 0
    since_us: int = 0
    """When the current or last request entered the app; CLOCK_MONOTONIC."""
    since_epoch_us: int = 0
    requests: int = 0
    static_requests: int = 0
    """Answered with a file."""
    routed_requests: int = 0
    """Ended by a rule of route or its kin, with a file or without."""
    read_errors: int = 0
    write_errors: int = 0
    exceptions: int = 0
    line: str = ""
    """`METHOD URI`, with what can not be printed replaced; empty if it could not be read whole."""

    @property
    def is_busy(self) -> bool:
        """Whether a request is with the thread, or was, and it has not come back."""
        return self.state in (IN_APP, DETACHED)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, as the engine tells it."""

    magic: int
    version: int
    header_bytes: int
    worker_bytes: int
    thread_bytes: int
    header_fields: Mapping[str, tuple[int, str]]
    worker_fields: Mapping[str, tuple[int, str]]
    thread_fields: Mapping[str, tuple[int, str]]

    @classmethod
    def of(cls, description: Mapping[str, Any]) -> Layout:
        """Take the engine's description, whose fields are name -> [offset, type]."""
        numbers = {key: int(description[key]) for key in _NUMBERS}
        blocks = {
            key: {name: (int(place[0]), str(place[1])) for name, place in description[key].items()} for key in _BLOCKS
        }
        return cls(**numbers, **blocks)  # type: ignore[arg-type]

    def slot_bytes(self, threads: int) -> int:
        """Size of one worker and its threads."""
        return self.worker_bytes + threads * self.thread_bytes


_NUMBERS = ("magic", "version", "header_bytes", "worker_bytes", "thread_bytes")
_BLOCKS = ("header_fields", "worker_fields", "thread_fields")
_FORMATS = {"u32": struct.Struct("=I"), "u64": struct.Struct("=Q"), "u64x16": struct.Struct("=16Q")}
_LISTS = ("app_requests", "app_exceptions")
"""Cells of several numbers."""
_WORKER_NAMES = tuple(field.name for field in fields(WorkerRow) if field.name not in _LISTS)
_THREAD_NAMES = tuple(field.name for field in fields(ThreadRow) if field.name != "line")


class Scoreboard:
    """The shared memory of one generation."""

    def __init__(self, layout: Layout, slots: int, threads: int) -> None:
        """Make it, all zero but for its header.

        Raises:
            OSError: no memory, or no more descriptors.
        """
        self.layout = layout
        self.slots = slots
        self.threads = threads
        size = layout.header_bytes + slots * layout.slot_bytes(threads)
        self.fd = os.memfd_create("penstock-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, size)
            # An app that made it smaller would take the master down with SIGBUS.
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
            self._memory = mmap.mmap(self.fd, size)
        except OSError:
            os.close(self.fd)
            raise
        header = {"magic": layout.magic, "version": layout.version, "slots": slots, "threads": threads}
        for name, value in header.items():
            offset, kind = layout.header_fields[name]
            _FORMATS[kind].pack_into(self._memory, offset, value)

    @classmethod
    def of(cls, layout: Layout, fd: int) -> Scoreboard:
        """Read one that the master has made, with the descriptor of its memory, which stays the caller's."""
        board = cls.__new__(cls)
        board.layout = layout
        board.fd = os.dup(fd)
        board._memory = mmap.mmap(board.fd, os.fstat(board.fd).st_size, prot=mmap.PROT_READ)
        board.slots, board.threads = (board._cell(0, layout.header_fields[name]) for name in ("slots", "threads"))
        return board

    @classmethod
    def adopt(cls, layout: Layout, fd: int, slots: int, threads: int) -> Scoreboard:
        """Go on with one that another process has made, whose layout may be that of another version.

        Raises:
            OSError: there is no such memory.
        """
        made = cls.__new__(cls)
        made.layout, made.slots, made.threads, made.fd = layout, slots, threads, fd
        made._memory = mmap.mmap(fd, layout.header_bytes + slots * layout.slot_bytes(threads))
        return made

    def worker(self, slot: int) -> WorkerRow:
        """Read a worker's cells."""
        base, places = self._base(slot), self.layout.worker_fields
        cells: dict[str, Any] = {**self._read(base, places, _WORKER_NAMES)}
        cells |= {name: self._counts(base, places[name]) for name in _LISTS if name in places}
        return WorkerRow(**cells)

    def threads_of(self, slot: int, lines: bool = True) -> tuple[ThreadRow, ...]:
        """Read the cells of a worker's threads; their request lines only where somebody wants them."""
        rows = []
        for thread in range(self.threads):
            base = self._base(slot) + self.layout.worker_bytes + thread * self.layout.thread_bytes
            cells = self._read(base, self.layout.thread_fields, _THREAD_NAMES)
            rows.append(ThreadRow(**cells, line=self._line(base) if lines else ""))
        return tuple(rows)

    def clear(self, slot: int) -> None:
        """Make a slot as new. Only for a slot whose worker is gone."""
        start = self._base(slot)
        size = self.layout.slot_bytes(self.threads)
        self._memory[start : start + size] = bytes(size)

    def set_waiting(self, connections: int) -> None:
        """Tell the workers how many connections wait."""
        offset, kind = self.layout.header_fields["waiting"]
        _FORMATS[kind].pack_into(self._memory, offset, connections)

    def close(self) -> None:
        """Give the memory back; workers that still have it keep it."""
        self._memory.close()
        os.close(self.fd)

    def _base(self, slot: int) -> int:
        return self.layout.header_bytes + slot * self.layout.slot_bytes(self.threads)

    def _read(self, base: int, places: Mapping[str, tuple[int, str]], names: tuple[str, ...]) -> dict[str, int]:
        return {name: self._cell(base, places[name]) for name in names if name in places}

    def _cell(self, base: int, place: tuple[int, str]) -> int:
        offset, kind = place
        value: int = _FORMATS[kind].unpack_from(self._memory, base + offset)[0]
        return value

    def _counts(self, base: int, place: tuple[int, str]) -> tuple[int, ...]:
        offset, kind = place
        counts = _FORMATS[kind].unpack_from(self._memory, base + offset)
        return counts if any(counts) else ()

    def _line(self, base: int) -> str:
        places = self.layout.thread_fields
        if "line" not in places:
            return ""
        offset, kind = places["line"]
        room = int(kind.removeprefix("bytes"))
        for _ in range(LINE_TRIES):
            before = self._cell(base, places["line_sequence"])
            length = min(self._cell(base, places["line_length"]), room)
            text = self._memory[base + offset : base + offset + length]
            if before % 2 == 0 and self._cell(base, places["line_sequence"]) == before:
                return "".join(c if c.isprintable() else "?" for c in text.decode("latin-1"))
        return ""
