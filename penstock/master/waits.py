"""How long requests wait for a free thread: in the kernel's queue, between workers, and inside of them.

A worker counts the waits of what it has read already. What it has no thread for stays in the kernel's queue or with all
workers, where nobody sees it come and go: how long that waits follows from how many there are at each look. Numbers in,
seconds out: neither clocks nor sockets are here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from penstock.observe.scoreboard import WorkerRow
from penstock.values import dataclass

WorkerKey = tuple[int, int, int]
"""Generation, slot and pid."""


@dataclass(frozen=True, slots=True)
class Queued:
    """What waits in front of all workers."""

    backlog: int = 0
    """Connections that nobody has accepted."""
    handed_over: int = 0
    """Connections that a worker has accepted and no worker has a free thread for."""
    ended_accepted: int = 0
    """Connections that were accepted by workers that are gone."""


class WaitMeter:
    """How long the connection at the head of the listeners' queues has waited, from what is seen once a second.

    The kernel tells how many wait and not since when. They are taken in the order in which they came: who waits now
    came after the last look at which everybody who had come by then has been taken by now. No more looks are kept than
    connections wait.
    """

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()
        """(when, how many had come) of each look, as long as it may matter."""

    def look(self, now_us: int, accepted: int, queue: int) -> float:
        """Take note of what is seen; return seconds: at most the time between two looks too many."""
        while len(self._seen) > 1 and self._seen[1][1] <= accepted:
            self._seen.popleft()
        since_us = self._seen[0][0] if self._seen else now_us
        if len(self._seen) > 1 and self._seen[-1][1] == accepted + queue:
            # Nobody has come since: of two equal looks the later one tells more.
            self._seen.pop()
        self._seen.append((now_us, accepted + queue))
        return (now_us - since_us) / 1e6 if queue else 0.0


class QueueMeter:
    """How long requests waited for a thread since the last look: never more than they did, as far as it is known.

    It is the longest of three. What waited inside the workers and has got a thread: its average over all requests that
    ended. What stands in front of them: as many as waited at both looks, divided by the rate at which requests end
    (Little's law). And the age of the oldest that waits still, as far as it is sure.
    """

    def __init__(self) -> None:
        self._before: dict[WorkerKey, WorkerRow] = {}
        self._at_us = 0
        self._queue = 0
        self._handed_since_us = 0
        """Since when some connections were on their way between workers at each look."""
        self._head = WaitMeter()

    def look(self, now_us: int, rows: Mapping[WorkerKey, WorkerRow], queued: Queued) -> float:
        """Take note of what is seen; return seconds."""
        past_us = now_us - self._at_us if self._at_us else 0
        known = [(row, self._before[key]) for key, row in rows.items() if key in self._before]
        ended = sum(max(0, now.requests - before.requests) for now, before in known)
        waited = sum(max(0, now.waited - before.waited) for now, before in known)
        waited_us = sum(max(0, now.waited_us - before.waited_us) for now, before in known)
        average_us = waited_us // max(1, waited, ended)

        accepted = queued.ended_accepted + sum(row.accepted for row in rows.values())
        # At most the time between two looks too many: that much less is sure.
        head_us = int(1e6 * self._head.look(now_us, accepted, queued.backlog))
        self._handed_since_us = (self._handed_since_us or now_us) if queued.handed_over else 0
        handed_us = now_us - self._handed_since_us if queued.handed_over else 0
        inside_us = max((now_us - row.waiting_since_us for row in rows.values() if row.waiting), default=0)
        oldest_us = max(head_us - past_us, inside_us)

        queue = queued.backlog + queued.handed_over
        standing_us = min(self._queue, queue) * past_us // max(1, ended)
        self._before, self._at_us, self._queue = dict(rows), now_us, queue
        return max(0, average_us, oldest_us, min(standing_us, max(head_us, handed_us))) / 1e6
