"""The admin listener of an instance: whether it lives, whether it is ready, how busy it is; never an app's business.

What the pages say is decided here, from the fleet and the scoreboards, by functions that are pure. How they are asked
for is a matter of `observe.probe_server`.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Sequence

import penstock
from penstock.master.fleet import Fleet
from penstock.master.load import LiveWorker
from penstock.master.waits import WaitMeter
from penstock.observe.probe_server import Page, ProbeServer
from penstock.values import dataclass

OK, UNAVAILABLE = 200, 503

SAMPLE_INTERVAL_S = 1.0
"""How often the listeners' queues are looked at: the age of who waits there is known as well as that."""

CRASH_LOOP = 2
"""Deaths in a row, soon after the start, that are no accident any more."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the master sees at one moment."""

    fleet: Fleet
    workers: Sequence[LiveWorker]
    backlog: int
    """Connections that nobody has accepted."""
    backlog_limit: int
    handed_over: int
    """Connections that a worker has accepted and no worker has a free thread for."""
    ended_accepted: int
    """Connections that were accepted by workers that are gone."""
    now_us: int
    """CLOCK_MONOTONIC."""


def readiness(fleet: Fleet) -> Page:
    """Whether new requests should come here: `/readyz`."""
    reason = detail = ""
    if fleet.is_leaving:
        reason, detail = "draining", "the instance is stopping"
    elif fleet.mode == "starting":
        reason, detail = "starting", _what_start_waits_for(fleet)
    elif fleet.paused:
        reason, detail = "paused", "the instance was told to pause"
    elif not fleet.scaling.is_asleep and not any(one.takes_requests for one in fleet.workers):
        worst = max((fleet.record(one).failures for one in range(1, fleet.rules.processes + 1)), default=0)
        if worst >= CRASH_LOOP:
            reason, detail = "crash-loop", f"workers died {worst} times in a row soon after their start: see the log"
        else:
            reason, detail = "no-workers", "no worker is ready"
    if reason:
        return Page(UNAVAILABLE, {"ready": False, "reason": reason, "detail": detail})
    return Page(OK, {"ready": True})


def _what_start_waits_for(fleet: Fleet) -> str:
    coming = fleet.coming()
    if coming is None or coming.state != "ready":
        return "the application is being imported"
    ready = {one.worker for one in fleet.workers_of(coming.number) if one.state == "ready"}
    return f"{len(ready)} of {coming.required} workers are ready"


def saturation(look: Look, oldest_wait_s: float) -> Page:
    """How much of what there is to serve with is in use: `/saturation`; 503 where every thread is busy."""
    threads = busy = waiting = 0
    for one in look.workers:
        waiting += one.row.waiting
        if one.handle.takes_requests:
            threads += len(one.threads)
            busy += sum(thread.is_busy for thread in one.threads)
    asleep = look.fleet.scaling.is_asleep
    share = busy / threads if threads else (0.0 if asleep else 1.0)
    content = {
        "saturation": round(share, 3),
        "busy": busy,
        "threads": threads,
        "waiting": waiting + look.backlog + look.handed_over,
        "oldest_wait_s": round(oldest_wait_s, 3),
        "backlog": look.backlog,
        "backlog_limit": look.backlog_limit,
    }
    return Page(OK if share < 1.0 else UNAVAILABLE, content)


class Probes:
    """The pages, and the server that gives them."""

    def __init__(
        self,
        listener: socket.socket,
        selector: selectors.BaseSelector,
        look: Callable[[], Look],
        clock: Callable[[], float],
    ) -> None:
        """Serve on `listener`; `look` looks at the instance."""
        self._look = look
        self._clock = clock
        self._waits = WaitMeter()
        self._handed_since_us = 0
        """Since when some connections were on their way between workers at each look."""
        self._next_sample = clock()
        pages = {
            "/livez": lambda: Page(OK, {"live": True}),
            "/readyz": lambda: readiness(look().fleet),
            "/saturation": self._saturation,
            "/version": lambda: Page(OK, {"version": penstock.__version__}),
        }
        self._server = ProbeServer(listener, selector, pages, clock)

    def next_deadline(self) -> float:
        """Tell when `expire` should be called next."""
        deadline = self._server.next_deadline()
        return self._next_sample if deadline is None else min(deadline, self._next_sample)

    def expire(self) -> None:
        """Drop the clients whose time is over, and look at the queues when it is time for that."""
        self._server.expire()
        now = self._clock()
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_INTERVAL_S
            self._oldest_wait_s(self._look())

    def settle(self, within_s: float) -> None:
        """Serve those who are connected to their end, and nobody else."""
        self._server.settle(within_s)

    def close(self) -> None:
        """Stop serving."""
        self._server.close()

    def _saturation(self) -> Page:
        look = self._look()
        return saturation(look, self._oldest_wait_s(look))

    def _oldest_wait_s(self, look: Look) -> float:
        accepted = look.ended_accepted + sum(one.row.accepted for one in look.workers)
        in_kernel = self._waits.look(look.now_us, accepted, look.backlog)
        self._handed_since_us = (self._handed_since_us or look.now_us) if look.handed_over else 0
        since_us = [one.row.waiting_since_us for one in look.workers if one.row.waiting]
        since_us += [self._handed_since_us] if look.handed_over else []
        return max(in_kernel, (look.now_us - min(since_us, default=look.now_us)) / 1e6)
