"""One step of the policy under way: the fleet so far, the actions so far, and what any rule may do to both.

Rules stand elsewhere: the course of starts, reloads and stops in `policy`, planned replacement in `recycling`. Here is
what they share, so that a worker is spawned, told to leave and killed in one way.
"""

from __future__ import annotations

import os
import signal

from penstock.master import actions as act
from penstock.master.fleet import (
    Fleet,
    Generation,
    Rules,
    Timer,
    TimerKind,
    WorkerHandle,
    WorkerRecord,
    slots_for,
)
from penstock.values import replace

EXIT_FAILURE = 1
EXIT_NO_APP = 22
"""As uWSGI's `need-app`."""

MERCY_MARGIN_S = 0.5
"""The engine cuts connections itself when a drain's time is over; the kill comes this much later, so that a stop takes
no more than a second longer than it may."""

STOP_MERCY_S = 2.0
"""How long a worker that was told to leave now may take to leave by itself."""


class Turn:
    """One step under way: the fleet so far and the actions so far."""

    def __init__(self, fleet: Fleet, now: float) -> None:
        self.fleet = fleet
        self.now = now
        self.actions: list[act.Action] = []

    def spawn(self, one: Generation, worker: int, replaces: int = -1) -> bool:
        """Ask for a worker; False if the generation has no slot for it."""
        taken = {handle.slot for handle in self.fleet.workers_of(one.number)}
        slot = next((slot for slot in range(slots_for(one.rules.processes)) if slot not in taken), None)
        if slot is None:
            return False
        entry: act.Entry = "replacement"
        if one.state != "serving":
            entry = "reload" if self.fleet.mode == "reloading" else "start"
        is_held = entry == "reload"
        handle = WorkerHandle(one.number, slot, worker, "starting", self.now, replaces=replaces, is_held=is_held)
        record = self.fleet.record(worker)
        self.put_worker(handle)
        self.put_record(replace(record, spawns=record.spawns + 1, spawned_at=self.now))
        self.do(act.SpawnWorker(one.number, worker, slot, entry, is_paused=is_held or self.fleet.paused))
        return True

    def release(self, one: Generation) -> None:
        """Let the workers of a generation take requests, now that it serves."""
        for handle in self.fleet.workers_of(one.number):
            self.release_worker(handle)

    def release_worker(self, handle: WorkerHandle) -> None:
        if handle.is_held:
            self.put_worker(replace(handle, is_held=False))
            if not self.fleet.paused:
                self.tell(handle, "resume")

    def rules_of(self, handle: WorkerHandle) -> Rules:
        """The rules that a worker was started under."""
        one = self.fleet.generation(handle.generation)
        return one.rules if one else self.fleet.rules

    def is_expected(self, worker: int) -> bool:
        """Whether a timer will spawn a worker of this id."""
        return any(timer.kind == "respawn" and timer.worker == worker for timer in self.fleet.timers)

    def drain_worker(self, handle: WorkerHandle, mercy_s: float | None = None) -> None:
        """Let a worker finish its requests and leave, because the instance ends; kill it when its time is over."""
        if handle.state == "killed":
            return
        self.tell(handle, "drain")
        if handle.state == "draining":
            # It retires: nobody will take its idle connections any more.
            return
        self.let_go(handle, mercy_s)

    def retire_worker(self, handle: WorkerHandle) -> None:
        """Let a worker finish its requests and leave while others go on, which take its idle connections."""
        if handle.state in ("draining", "killed"):
            return
        self.tell(handle, "retire")
        self.let_go(handle)

    def rest_worker(self, handle: WorkerHandle) -> None:
        """Let a worker finish its requests and leave; there will be no others until somebody connects."""
        if handle.state in ("draining", "killed"):
            return
        self.tell(handle, "rest")
        self.let_go(handle)

    def let_go(self, handle: WorkerHandle, mercy_s: float | None = None) -> None:
        """Note that a worker leaves, and kill it when its time is over."""
        self.put_worker(replace(handle, state="draining"))
        self.clear_timers("recycle", handle.generation, handle.slot)
        if mercy_s is None:
            mercy_s = self.rules_of(handle).drain_timeout_s + MERCY_MARGIN_S
        self.set_timer(mercy_s, "kill", handle.generation, handle.slot)

    def stop_worker(self, handle: WorkerHandle) -> None:
        """Let a worker leave without its requests."""
        if handle.state == "killed":
            return
        self.tell(handle, "stop")
        self.put_worker(replace(handle, state="draining"))
        self.clear_timers("kill", handle.generation, handle.slot)
        self.set_timer(STOP_MERCY_S, "kill", handle.generation, handle.slot)

    def kill_worker(self, handle: WorkerHandle) -> None:
        if handle.pid:
            self.do(act.SignalWorker(handle.generation, handle.slot, "KILL"))
        self.clear_timers("kill", handle.generation, handle.slot)
        self.put_worker(replace(handle, state="killed"))

    # --- the fleet's parts

    def do(self, action: act.Action) -> None:
        self.actions.append(action)

    def log(self, text: str) -> None:
        self.actions.append(act.Log(text))

    def tell(self, handle: WorkerHandle, word: act.Word) -> None:
        self.do(act.TellWorker(handle.generation, handle.slot, word))

    def put_generation(self, one: Generation) -> None:
        self.fleet = replace(
            self.fleet,
            generations=tuple(one if other.number == one.number else other for other in self.fleet.generations),
        )

    def put_worker(self, handle: WorkerHandle) -> None:
        others = tuple(other for other in self.fleet.workers if not same_worker(other, handle))
        if len(others) == len(self.fleet.workers):
            self.fleet = replace(self.fleet, workers=(*others, handle))
        else:
            workers = tuple(handle if same_worker(other, handle) else other for other in self.fleet.workers)
            self.fleet = replace(self.fleet, workers=workers)

    def put_record(self, record: WorkerRecord) -> None:
        others = tuple(other for other in self.fleet.records if other.worker != record.worker)
        records = tuple(sorted((*others, record), key=lambda one: one.worker))
        self.fleet = replace(self.fleet, records=records)

    def set_timer(self, delay_s: float, kind: TimerKind, generation: int = 0, slot: int = -1, worker: int = 0) -> None:
        timer = Timer(self.now + delay_s, kind, generation, slot, worker)
        self.fleet = replace(self.fleet, timers=(*self.fleet.timers, timer))

    def clear_timers(self, kind: str, generation: int | None = None, slot: int | None = None) -> None:
        self.fleet = replace(
            self.fleet,
            timers=tuple(
                timer
                for timer in self.fleet.timers
                if timer.kind != kind
                or (generation is not None and timer.generation != generation)
                or (slot is not None and timer.slot != slot)
            ),
        )


def same_worker(one: WorkerHandle, other: WorkerHandle) -> bool:
    """Whether two values are of the same worker."""
    return (one.generation, one.slot) == (other.generation, other.slot)


def describe_status(status: int | None) -> str:
    """Say how a process ended.

    >>> describe_status(9), describe_status(256)
    ('killed by signal 9 (SIGKILL)', 'exit status 1')
    """
    if status is None:
        return "nobody saw how"
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unnamed"
    return f"killed by signal {-code} ({name})"
