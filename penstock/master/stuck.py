"""Requests that take too long (`harakiri`).

The worker itself answers the client, interrupts the thread and tells the master, which replaces the worker: the
replacement first, because the other threads of the worker go on. A worker whose engine does nothing about such a
request is killed.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.turn import Turn
from penstock.plan.types import EnginePlan
from penstock.values import replace

HARAKIRI_KILL_S = 0.3
"""Between the stack dump and the kill of a worker whose engine does nothing."""

ENGINE_GRACE_S = 3
"""How much longer than `harakiri` a request may last that its worker does nothing about."""

Source = Literal["option", "rule", "user"]


def engine_limit_s(plan: EnginePlan) -> int:
    """Tell how long a request may last before its worker's engine is known to do nothing; 0 where that can not be told.

    Requests may have longer limits by rules, and none while few connections wait.
    """
    rules = plan.routes.request
    if not plan.harakiri.limit_s or plan.harakiri.queue_threshold or any(one.action == "harakiri" for one in rules):
        return 0
    return plan.harakiri.limit_s + ENGINE_GRACE_S


def parse_detached(generation: int, slot: int, text: str) -> ev.RequestDetached:
    """Read what a worker says: core, number, since, milliseconds, source, outcome, client, and the request line.

    Raises:
        ValueError: the worker says something else.
    """
    core, number, since, elapsed_ms, source, outcome, client, *line = text.split(" ", 7)
    if source not in get_args(Source):
        raise ValueError(source)
    return ev.RequestDetached(
        generation=generation,
        slot=slot,
        core=int(core),
        line=line[0] if line else "",
        client=client,
        number=int(number),
        elapsed_s=int(elapsed_ms) / 1000,
        since_epoch_s=int(since),
        source=cast(Source, source),
        was_cut=outcome == "cut",
        was_complete=outcome == "complete",
        has_left=outcome == "left",
    )


def _outcome(event: ev.RequestDetached) -> str:
    if event.was_complete:
        return "its response was complete"
    if event.has_left:
        return "its client had left"
    return "cut off" if event.was_cut else "answered with 504"


class Stuck(Turn):
    """What is done about a worker with a request that takes too long."""

    def request_detached(self, event: ev.RequestDetached) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is None or handle.state == "killed":
            return
        record = self.fleet.record(handle.worker)
        record = replace(record, harakiris=record.harakiris + 1)
        self.put_record(record)
        name = f"worker {handle.worker}"
        kind = "(user) " if event.source == "user" else ""
        self.log(
            "\n".join(
                [
                    f"*** HARAKIRI ON WORKER {handle.worker} (pid: {handle.pid}, try: {record.harakiris}, "
                    "graceful: yes) ***",
                    f"HARAKIRI !!! {name} status !!!",
                    f"HARAKIRI [core {event.core}] {event.client} - {event.line} since {event.since_epoch_s} "
                    f"({event.elapsed_s:.1f} s, request {event.number}, "
                    f"{_outcome(event)})",
                    f"HARAKIRI !!! end of {name} status !!!",
                    f"HARAKIRI {kind}triggered by {name} core {event.core} !!!",
                ]
            )
        )
        if handle.state == "ready":
            self.put_worker(replace(handle, recycle="harakiri", is_urgent=True, is_stuck=True))

    def request_stuck(self, event: ev.RequestStuck) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is None or handle.state == "killed" or not handle.pid:
            return
        record = self.fleet.record(handle.worker)
        record = replace(record, harakiris=record.harakiris + 1)
        self.put_record(record)
        name = f"worker {handle.worker}"
        self.log(
            f"*** HARAKIRI ON WORKER {handle.worker} (pid: {handle.pid}, try: {record.harakiris}, graceful: no) ***"
        )
        self.log(f"HARAKIRI !!! {name} status !!!")
        for core in event.cores:
            self.log(f"HARAKIRI [core {core.core}] {core.line} since {core.since_epoch_s} ({core.elapsed_s:.1f} s)")
        self.log(f"HARAKIRI !!! end of {name} status !!!")
        for core in event.cores:
            if core.stuck:
                self.log(f"HARAKIRI triggered by {name} core {core.core} !!!")
        self.do(act.SignalWorker(handle.generation, handle.slot, "STACKS"))
        if handle.state != "draining":
            # Its listeners and idle connections belong to the others from now on.
            self.tell(handle, "retire")
        self.put_worker(replace(handle, state="killed", verdict="harakiri"))
        self.clear_timers("kill", handle.generation, handle.slot)
        self.set_timer(HARAKIRI_KILL_S, "kill", handle.generation, handle.slot)
