"""How long new code may take until it serves, and workers whose app has to answer something before they serve.

The processes know their time limits and end in time by themselves, with the line of code that took it. What is here is
for those that can not: code in C that keeps the interpreter to itself lets no thread of Python speak.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.fleet import Generation, WorkerHandle
from penstock.master.recycling import Recycling
from penstock.values import replace

MARGIN_S = 2.0
"""How much longer than its limit a process may take to say so."""

STACKS_S = 0.5
"""For writing its stacks, before a process is killed."""


def shortest(*limits_s: float) -> float:
    """Find the shortest of several time limits, of which 0 is none.

    >>> shortest(0.0, 30.0, 600.0), shortest(0.0, 0.0)
    (30.0, 0.0)
    """
    return min((limit for limit in limits_s if limit > 0), default=0.0)


class Gates(Recycling):
    """Time limits before a generation, or a worker, serves."""

    def limit_reload(self, one: Generation, began_at: float) -> None:
        """Give a generation that is to replace another one its time, or its next worker where they come one by one."""
        limit_s = shortest(self.fleet.timeout_s, one.rules.reload_timeout_s)
        if self.fleet.mode == "reloading" and limit_s:
            self.set_timer(began_at + limit_s + MARGIN_S - self.now, "overdue", generation=one.number)

    def reload_overdue(self, one: Generation) -> None:
        """A generation has not come to serve in time."""
        if not one.is_coming or self.fleet.mode != "reloading":
            return
        seconds = int(shortest(self.fleet.timeout_s, one.rules.reload_timeout_s))
        missing = [handle for handle in self.fleet.workers_of(one.number) if handle.state == "starting"]
        what = f"worker {missing[0].worker} was not ready" if missing else "it was still importing the app"
        for handle in missing:
            self.do(act.SignalWorker(handle.generation, handle.slot, "STACKS"))
        if not missing:
            self.do(act.ShowImport(one.number))
        self.reload_too_late(one, f"{what} after {seconds} seconds; its stacks are in the log")

    def reload_too_late(self, one: Generation, reason: str) -> None:
        """Give a generation up: how is the policy's."""
        raise AssertionError("the policy says how a reload fails")

    def worker_checking(self, event: ev.WorkerChecking) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is not None and handle.state == "starting":
            limit_s = self.rules_of(handle).gates_s + MARGIN_S
            self.set_timer(limit_s, "gate", event.generation, event.slot)

    def gate_overdue(self, handle: WorkerHandle) -> None:
        """A worker's app should have answered by now, and the worker itself did not notice."""
        if handle.state != "starting":
            return
        limit_s = self.rules_of(handle).gates_s
        reason = f"has not passed its warm-up and health check after {limit_s:g} seconds; its stacks are in the log"
        self.do(act.SignalWorker(handle.generation, handle.slot, "STACKS"))
        self.log(f"worker {handle.worker} (pid: {handle.pid}) {reason}")
        self.worker_failed(ev.WorkerFailed(handle.generation, handle.slot, "", reason, is_import=False))
        left = self.fleet.worker(handle.generation, handle.slot)
        if left is not None and left.state != "killed":
            self.put_worker(replace(left, state="killed", verdict="failed"))
            self.clear_timers("kill", handle.generation, handle.slot)
            self.set_timer(STACKS_S, "kill", handle.generation, handle.slot)

    def worker_failed(self, event: ev.WorkerFailed) -> None:
        """Decide about a worker that can not serve: how is the policy's."""
        raise AssertionError("the policy says what becomes of it")
