"""Reload strategies: how the workers of a new generation take over from those of the one that serves.

- beside: all of them stand ready before any of them serves, and then all at once. The safest, and the default; for a
  moment there are two of everything.
- rolling: one at a time, and each waits until the memory of the worker before it is free. There is never more than the
  imported app and one worker too much.
- chain: one at a time, each as soon as the one before it is ready, as uWSGI's chain reload.

In all three new code is imported by a new generation first, and nothing has changed if that fails. When a worker of the
new generation fails, the old one comes back: its process is there until all is over.
"""

from __future__ import annotations

from penstock.master import events as ev
from penstock.master.fleet import Generation, WorkerHandle
from penstock.master.gates import Gates
from penstock.master.rollback import Rollback
from penstock.master.supervision import Supervised
from penstock.plan.process_types import Strategy
from penstock.values import replace

HEADROOM = 1.1
"""How much more than the running generation a second one is taken to need."""


def choose(wanted: Strategy, room: ev.Room | None) -> tuple[Strategy, str]:
    """Tell how to reload, and why if that was not said by anybody."""
    if wanted != "auto":
        return wanted, ""
    if room is None or room.free_bytes >= room.needed_bytes * HEADROOM:
        return "beside", ""
    return "rolling", (
        f"a second generation beside the running one, which takes {megabytes(room.needed_bytes)}, "
        f"does not fit into the {megabytes(room.free_bytes)} that are free ({room.source})"
    )


def megabytes(size: int) -> str:
    """Say a size.

    >>> megabytes(123456789)
    '118 MB'
    """
    return f"{size / (1 << 20):.0f} MB"


class Rolling(Rollback, Supervised, Gates):
    """The course of a reload that is not done at once."""

    def choose_strategy(self, one: Generation, room: ev.Room | None) -> Generation:
        """Decide how a generation that is starting will take over, and say so."""
        if self.fleet.mode != "reloading":
            return one
        strategy, reason = choose(one.rules.strategy, room)
        if strategy != "beside":
            why = f": {reason}" if reason else ""
            self.log(f"generation {one.number} replaces the workers one by one ({strategy}){why}")
        return replace(one, strategy=strategy)

    def rolls(self, one: Generation | None) -> bool:
        """Whether the workers of a generation that is starting take over one by one."""
        return one is not None and one.is_coming and one.strategy in ("rolling", "chain")

    def has_begun_to_serve(self, one: Generation) -> bool:
        """Whether workers of a generation that is starting take requests already."""
        mine = self.fleet.workers_of(one.number)
        return self.rolls(one) and any(handle.takes_requests for handle in mine)

    def rolled_over(self, worker: int) -> bool:
        """Whether a worker of the coming generation serves in the place of this one."""
        coming = self.fleet.coming()
        return (
            coming is not None
            and self.rolls(coming)
            and any(other.worker == worker and other.takes_requests for other in self.fleet.workers_of(coming.number))
        )

    def is_wanted(self, one: Generation, worker: int) -> bool:
        return super().is_wanted(one, worker) and not (one.state == "serving" and self.rolled_over(worker))

    def take_place(self, handle: WorkerHandle, one: Generation) -> None:
        """A worker of a generation that takes over one by one is ready: the one of its id leaves."""
        if not self.rolls(one):
            return
        self.release_worker(handle)
        # It takes as long as the requests of the old workers do.
        self.clear_timers("overdue", generation=one.number)
        serving = self.fleet.serving()
        for old in self.fleet.workers_of(serving.number) if serving else ():
            if old.worker != handle.worker or old.state not in ("starting", "ready"):
                continue
            if one.strategy == "chain" and one.rules.watch.seconds and old.state == "ready":
                self.park_worker(old)
            elif old.state == "starting":
                self.stop_worker(old)
            else:
                self.retire_worker(old)
        if serving is not None:
            self.forget_respawns(serving)

    def advance_rolling(self) -> None:
        """Start the next worker of a generation that takes over one by one, if it is its turn."""
        one, serving = self.fleet.coming(), self.fleet.serving()
        if one is None or one.state != "ready" or not self.rolls(one) or self.fleet.mode != "reloading":
            return
        mine = self.fleet.workers_of(one.number)
        if any(handle.state == "starting" for handle in mine):
            return
        if one.strategy == "rolling" and serving is not None:
            taken = {handle.worker for handle in mine}
            if any(old.worker in taken for old in self.fleet.workers_of(serving.number)):
                return
        there = {handle.worker for handle in mine if handle.state == "ready"}
        missing = next((worker for worker in range(1, one.required + 1) if worker not in there), 0)
        if missing and self.spawn(one, missing):
            self.limit_reload(one, self.now)

    def roll_back(self, one: Generation) -> bool:
        """Give up a generation some of whose workers serve already: they leave when the old ones are there again.

        False if none of them serves.
        """
        mine = self.fleet.workers_of(one.number)
        serving = self.fleet.serving()
        if serving is None or not self.has_begun_to_serve(one):
            return False
        self.log(f"generation {serving.number} forks the workers again that were replaced already")
        for handle in mine:
            if handle.state == "starting":
                self.stop_worker(handle)
        self.forget_start(one.number)
        self.hand_over_to(one)
        return True

    def restore(self, serving: Generation, given_up: Generation) -> None:
        """Bring back the workers that another generation had replaced already, whether its own live or not."""
        if self.rolls(given_up):
            self.release(serving)
            self.settle(serving)
