"""What the master sees of requests that take long: on the scoreboard, and in what workers say of them.

What is done about them is the policy's business (`stuck`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from penstock.master import events as ev
from penstock.master.fleet import WorkerHandle
from penstock.master.generation_link import GenerationLink
from penstock.master.stuck import engine_limit_s
from penstock.observe.scoreboard import IN_APP
from penstock.observe.stats import StuckView
from penstock.values import asdict

LOOK_INTERVAL_S = 0.25
"""How often the scoreboard is searched for stuck requests. One that is over its limit is seen twice before it counts,
because two cells of the scoreboard may be of different moments."""

REPORTS_KEPT = 2
"""Requests that took long, of each worker id, in the statistics."""
STACKS_KEPT = 16_000
"""Characters of the stacks of each of them."""

Thread = tuple[int, int, int, int]
"""Generation, slot, number, and since when its request is in the app."""


class LongRequests:
    """The master's memory of them."""

    def __init__(self, now: float) -> None:
        self.next_look = now
        self._suspects: set[Thread] = set()
        """Threads over the limit at the last look."""
        self._told: dict[int, tuple[StuckView, ...]] = {}

    def of(self, worker: int) -> tuple[StuckView, ...]:
        """List the last ones of a worker id."""
        return self._told.get(worker, ())

    def keep(self, worker: int, told: str) -> None:
        """Keep for the statistics what a worker says of a request that takes long: `CORE WHAT`, then the stacks."""
        head, _, stacks = told.partition("\n")
        core, _, what = head.partition(" ")
        view = StuckView(int(core), what.strip("* "), stacks[:STACKS_KEPT], int(time.time()))
        self._told[worker] = (*self.of(worker)[1 - REPORTS_KEPT :], view)

    def pack(self) -> dict[int, list[dict[str, Any]]]:
        """Pack what was told for an upgrade."""
        return {worker: [asdict(one) for one in told] for worker, told in self._told.items()}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on with what `pack` has packed, and JSON has carried."""
        self._told = {int(worker): tuple(StuckView(**one) for one in told) for worker, told in packed.items()}

    def look(
        self,
        now: float,
        workers: Sequence[WorkerHandle],
        links: Mapping[int, GenerationLink],
        waiting: Callable[[], int],
    ) -> Iterator[ev.RequestStuck]:
        """Search the scoreboards; tell the workers how many connections wait, where that counts."""
        self.next_look = now + LOOK_INTERVAL_S
        now_us = time.monotonic_ns() // 1000
        if any(link.plan.engine.harakiri.queue_threshold for link in links.values()):
            count = waiting()
            for each in links.values():
                each.scoreboard.set_waiting(count)
        suspects: set[Thread] = set()
        for handle in workers:
            link = links.get(handle.generation)
            limit_s = engine_limit_s(link.plan.engine) if link is not None else 0
            if link is None or not limit_s or not handle.pid or handle.state == "killed":
                continue
            over = {
                (handle.generation, handle.slot, number, row.since_us)
                for number, row in enumerate(link.scoreboard.threads_of(handle.slot, lines=False))
                if row.state == IN_APP and row.since_us and now_us - row.since_us > limit_s * 1_000_000
            }
            if over & self._suspects:
                yield _stuck(handle, link, {number for _, _, number, _ in over & self._suspects}, now_us)
            else:
                suspects |= over
        self._suspects = suspects


def are_limited(links: Mapping[int, GenerationLink]) -> bool:
    """Whether anybody has to look."""
    return any(link.plan.engine.harakiri.limit_s for link in links.values())


def _stuck(handle: WorkerHandle, link: GenerationLink, stuck: set[int], now_us: int) -> ev.RequestStuck:
    cores = [
        ev.BusyCore(number, row.line, (now_us - row.since_us) / 1e6, row.since_epoch_us // 1_000_000, number in stuck)
        for number, row in enumerate(link.scoreboard.threads_of(handle.slot))
        if row.state == IN_APP or number in stuck
    ]
    return ev.RequestStuck(handle.generation, handle.slot, tuple(cores))
