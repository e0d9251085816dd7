"""What the module `uwsgi` tells about all workers, read from the scoreboard of this generation."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from penstock._engine import catalogue
from penstock.observe.proc import listen_queue, memory_bytes
from penstock.observe.scoreboard import ACCEPTING, DRAINING, PAUSED, Layout, Scoreboard, WorkerRow
from penstock.worker.channel import Start


class InstanceView:
    """Looks at the workers of a generation from inside one of its processes."""

    def __init__(self, start: Start) -> None:
        """Map the scoreboard. Raises OSError."""
        self._start = start
        self._board = Scoreboard.of(Layout.of(catalogue()["scoreboard"]), start.scoreboard_fd)

    def workers(self) -> tuple[dict[str, Any], ...]:
        """Make `uwsgi.workers()`: one dict for each worker of the configuration, with the counters of its process."""
        newest = self._newest()
        return tuple(self._worker(number, *newest.get(number, (-1, None))) for number in self._numbers(newest))

    def total_requests(self) -> int:
        """Add up what the living workers of this generation have answered."""
        return sum(self._board.worker(slot).requests for slot in range(self._board.slots))

    def request_id(self, worker: int, core: int) -> int:
        """Count the requests that one app thread of a worker has answered before the one that it is busy with."""
        slot, _ = self._newest().get(worker, (-1, None))
        return self._board.threads_of(slot, lines=False)[core].requests if slot >= 0 else 0

    def _numbers(self, newest: dict[int, Any]) -> range:
        return range(1, max([self._start.processes, *newest]) + 1)

    def _newest(self) -> dict[int, tuple[int, WorkerRow]]:
        """By worker id: slot and row of the worker that takes requests, where one is just being replaced."""
        found: dict[int, tuple[int, WorkerRow]] = {}
        for slot in range(self._board.slots):
            row = self._board.worker(slot)
            if row.worker_id and (
                row.worker_id not in found or row.started_at_us > found[row.worker_id][1].started_at_us
            ):
                found[row.worker_id] = slot, row
        return found

    def _worker(self, number: int, slot: int, row: WorkerRow | None) -> dict[str, Any]:
        is_alive = row is not None and row.pid != 0
        row = row or WorkerRow()
        rss, vsz = memory_bytes(row.pid) if is_alive else (0, 0)
        return {
            "id": number,
            "pid": row.pid,
            "requests": row.requests,
            "delta_requests": row.requests,
            "signals": row.signals,
            "exceptions": row.exceptions,
            "status": self._status(slot, row) if is_alive else b"cheap",
            "rss": rss,
            "vsz": vsz,
            "running_time": row.running_time_us,
            "last_spawn": row.started_at_us // 1_000_000,
            "respawn_count": 0,
            "tx": row.tx_bytes,
            "avg_rt": row.average_response_us,
            "apps": self._apps(row) if is_alive else (),
        }

    def _status(self, slot: int, row: WorkerRow) -> bytes:
        if any(thread.is_busy for thread in self._board.threads_of(slot, lines=False)):
            return b"busy"
        if row.state in (PAUSED, DRAINING):
            return b"pause"
        return b"idle" if row.state == ACCEPTING else b"cheap"

    def _apps(self, row: WorkerRow) -> tuple[dict[str, Any], ...]:
        mounting = self._start.engine.mounting
        points = ["", *mounting.points] if mounting.first_id else list(mounting.points)
        requests = row.app_requests if mounting.count > 1 else (row.requests,)
        exceptions = row.app_exceptions if mounting.count > 1 else (row.exceptions,)
        return tuple(
            {
                "id": app,
                "modifier1": 0,
                "mountpoint": os.fsencode(point),
                "startup_time": 0,
                "interpreter": id(sys.modules),
                "callable": 0,
                "requests": requests[app] if app < len(requests) else 0,
                "exceptions": exceptions[app] if app < len(exceptions) else 0,
                "chdir": b"",
            }
            for app, point in enumerate(points or [""])
        )


def waiting_connections(descriptor: int) -> int:
    """Count the connections that wait at a listener."""
    with socket.socket(fileno=os.dup(descriptor)) as listener:
        return listen_queue(listener)[0]
