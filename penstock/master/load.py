"""The load of an instance, measured: what the scoreboard and the kernel tell, as one value for the policy."""

from __future__ import annotations

import array
import fcntl
import socket
import termios
from collections.abc import Iterable, Sequence

from penstock.master.events import Room
from penstock.master.fleet import Fleet, WorkerHandle
from penstock.master.scaling import Load
from penstock.master.waits import Queued, QueueMeter, WorkerKey
from penstock.observe.room import free_bytes, used_bytes
from penstock.observe.scoreboard import IN_APP, ThreadRow, WorkerRow
from penstock.values import dataclass

LOAD_INTERVAL_S = 1.0
"""As uWSGI's master looks around: what counts looks (`cheaper-overload`) counts seconds."""


@dataclass(frozen=True, slots=True)
class LiveWorker:
    """A worker and its cells of the scoreboard."""

    handle: WorkerHandle
    row: WorkerRow
    threads: tuple[ThreadRow, ...]
    rss_bytes: int = 0

    def busy_us(self, now_us: int) -> int:
        """Time that its threads have spent in the app so far, requests in progress included."""
        current = sum(now_us - one.since_us for one in self.threads if one.state == IN_APP and one.since_us)
        return self.row.running_time_us + max(0, current)


class LoadMeter:
    """Remembers what it saw the last time, so that it can tell what happened since."""

    def __init__(self) -> None:
        self._before: dict[WorkerKey, int] = {}
        """Busy time."""
        self._at_us = 0
        self._waits = QueueMeter()
        self.wait_s = 0.0
        """What the last look found."""

    def measure(self, fleet: Fleet, workers: Sequence[LiveWorker], queued: Queued, ended: int, now_us: int) -> Load:
        """Make the load out of every living worker, the connections that wait and the requests of ended workers."""
        serving = fleet.serving()
        free = busy_threads = 0
        parts: list[float] = []
        seen: dict[WorkerKey, int] = {}
        rows: dict[WorkerKey, WorkerRow] = {}
        for one in workers:
            handle = one.handle
            busy = sum(thread.is_busy for thread in one.threads)
            busy_threads += busy
            key = (handle.generation, handle.slot, handle.pid)
            seen[key], rows[key] = one.busy_us(now_us), one.row
            if serving is None or handle.generation != serving.number or handle.state != "ready":
                continue
            free += busy < len(one.threads)
            room = (now_us - self._at_us) * len(one.threads)
            if key in self._before and room > 0:
                parts.append(min(1.0, max(0.0, (seen[key] - self._before[key]) / room)))
        starting = sum(
            one.state == "starting" for one in fleet.workers if serving is not None and one.generation == serving.number
        )
        self._before, self._at_us = seen, now_us
        self.wait_s = self._waits.look(now_us, rows, queued)
        return Load(
            free=free,
            starting=starting,
            busyness=sum(parts) / len(parts) if parts else 0.0,
            # A worker may have read requests already that none of its threads is free for.
            queue=queued.backlog + queued.handed_over + sum(one.row.waiting for one in workers),
            requests=ended + sum(one.row.requests for one in workers),
            busy_threads=busy_threads,
            rss_bytes=sum(one.rss_bytes for one in workers),
            wait_s=self.wait_s,
        )


def handed_over(receiver: socket.socket, names: Iterable[str]) -> int:
    """Tell how many connections workers have handed over that none has a free thread for.

    The kernel counts bytes, and each of them has three more than its listener's name: several names, what the PROXY
    protocol said, or bytes of a request make the number an estimate. It is 0 only where nobody waits.
    """
    waiting = array.array("i", [0])
    try:
        fcntl.ioctl(receiver, termios.FIONREAD, waiting)
    except OSError:
        return 0
    return max(1, waiting[0] // (3 + max(map(len, names), default=0))) if waiting[0] > 0 else 0


def room_beside(fleet: Fleet) -> Room | None:
    """Tell what the generation that serves takes, and what there is for another one."""
    serving, free = fleet.serving(), free_bytes()
    if serving is None or free is None:
        return None
    workers = [one.pid for one in fleet.workers_of(serving.number)]
    needed = used_bytes(pid for pid in (serving.pid, *workers) if pid)
    return Room(free.size_bytes, needed, free.source)
