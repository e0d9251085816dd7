"""The number of workers, carried out: those that are missing are spawned, those that are too many retire.

Workers 1 to `Scaling.wanted` should be there; `scaling` decides how many that are. Where the number is fixed it is the
same at all times, and everything here says so.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master import scaling
from penstock.master.fleet import Generation
from penstock.master.turn import Turn
from penstock.values import replace


class Workforce(Turn):
    """How many workers a generation has, from its import to its end."""

    def wanted(self, one: Generation) -> int:
        """Tell how many workers a generation should have."""
        return self.fleet.scaling.wanted if one.state == "serving" else one.required

    def wanted_now(self, one: Generation) -> int:
        """Tell with how many workers a generation takes over from the one that serves."""
        now = self.fleet.scaling
        return 0 if now.is_asleep else scaling.bounded(one.rules.scaling, one.rules.processes, now.wanted)

    def is_wanted(self, one: Generation, worker: int) -> bool:
        return worker <= self.wanted(one)

    def first_workers(self, one: Generation) -> Generation:
        """Spawn what a generation that has imported its app begins with."""
        plan = one.rules.scaling
        if self.fleet.mode == "starting":
            required = 0 if plan.starts_asleep else scaling.at_start(plan, one.rules.processes)
        else:
            required = self.wanted_now(one)
        one = replace(one, required=required)
        self.put_generation(one)
        # The others follow, where they take over one by one.
        first = required if one.strategy == "beside" else min(required, 1)
        for worker in range(1, first + 1):
            self.spawn(one, worker)
        return one

    def take_over(self, one: Generation) -> None:
        """Go on with the number of workers of a generation that serves from now on."""
        before, plan = self.fleet.scaling, one.rules.scaling
        asleep = not one.required
        # What was asked for meanwhile counts, as far as the new plan allows.
        is_first = self.fleet.mode == "starting" or before.is_asleep or asleep
        wanted = one.required if is_first else scaling.bounded(plan, one.rules.processes, before.wanted)
        self.fleet = replace(self.fleet, scaling=scaling.Scaling(wanted=wanted, is_asleep=asleep, quiet_since=self.now))

    def settle(self, one: Generation) -> None:
        """Bring the workers of the generation that serves to their number."""
        if self.fleet.scaling.is_asleep:
            self.fall_asleep()
        for handle in self.fleet.workers_of(one.number):
            if handle.is_held or self.is_wanted(one, handle.worker) or handle.state not in ("starting", "ready"):
                continue
            self.put_worker(replace(handle, verdict="cheap"))
            handle = replace(handle, verdict="cheap")
            if handle.state == "starting":
                self.stop_worker(handle)
            elif self.fleet.scaling.is_asleep:
                # Nobody is left to take its idle connections.
                self.rest_worker(handle)
            else:
                self.retire_worker(handle)
        self.forget_respawns(one)
        if not one.pid:
            return
        there = {handle.worker for handle in self.fleet.workers_of(one.number) if handle.state in ("starting", "ready")}
        for worker in range(1, self.wanted(one) + 1):
            is_there = worker in there or self.is_expected(worker) or not self.is_wanted(one, worker)
            if not is_there and not self.spawn(one, worker):
                self.set_timer(1.0, "respawn", one.number, -1, worker)

    def forget_respawns(self, one: Generation) -> None:
        """Let no timer bring back a worker that is not wanted any more."""
        self.fleet = replace(
            self.fleet,
            timers=tuple(
                timer
                for timer in self.fleet.timers
                if timer.kind != "respawn" or timer.generation != one.number or self.is_wanted(one, timer.worker)
            ),
        )

    def is_taken_over(self) -> bool:
        """Whether a reload replaces the workers one by one: their number changes when that is over."""
        coming = self.fleet.coming()
        return coming is not None and coming.strategy != "beside"

    def fall_asleep(self) -> None:
        self.log("cheap mode enabled: waiting for socket connection...")
        self.do(act.WatchListeners(watched=True))

    # --- events

    def load_measured(self, load: scaling.Load) -> None:
        one = self.fleet.serving()
        fleet = self.fleet
        if one is None or fleet.mode not in ("serving", "reloading") or fleet.paused or fleet.scaling.is_asleep:
            return
        if self.is_taken_over():
            return
        plan, before = fleet.rules.scaling, fleet.scaling
        note = scaling.window_note(plan, before, load)
        if note:
            self.log(note)
        after, reason = scaling.decide(plan, fleet.rules.processes, before, load, self.now)
        self.fleet = replace(fleet, scaling=after)
        if scaling.is_idle(plan, after, self.now):
            seconds = int(self.now - after.quiet_since)
            self.log(f"workers have been inactive for more than {int(plan.idle_s)} seconds ({seconds})")
            if plan.ends_when_idle:
                self.end_when_idle()
                return
            self.fleet = replace(self.fleet, scaling=replace(after, wanted=0, is_asleep=True))
            self.settle(one)
        elif reason:
            self.change(one, before.wanted, reason)

    def sleep(self, source: str) -> None:
        """Have no workers until somebody connects."""
        one, now = self.fleet.serving(), self.fleet.scaling
        modes = ("serving", "reloading")
        if one is None or self.fleet.mode not in modes or now.is_asleep or self.is_taken_over():
            self.log(f"{source}: workers can not be sent away now")
            return
        self.log(f"{source}: workers are sent away")
        self.fleet = replace(self.fleet, scaling=replace(now, wanted=0, is_asleep=True))
        self.settle(one)

    def change(self, one: Generation, before: int, reason: str) -> None:
        """Say that the number has changed, or why it has not, and bring it about."""
        wanted = self.fleet.scaling.wanted
        if wanted == before:
            self.log(f"*** {reason} ***")
            return
        self.log(f"*** {wanted} workers instead of {before}: {reason} ***")
        self.settle(one)

    def workers_requested(self, event: ev.WorkersRequested) -> None:
        """Somebody wants more or fewer workers than there are."""
        one, before, rules = self.fleet.serving(), self.fleet.scaling, self.fleet.rules
        if not rules.scaling.follows_load:
            self.log(f"{event.source}: the number of workers is fixed; set cheaper to change it while it runs")
            return
        modes = ("serving", "reloading")
        if one is None or self.fleet.mode not in modes or before.is_asleep or self.is_taken_over():
            self.log(f"{event.source}: the number of workers can not be changed now")
            return
        wanted = scaling.bounded(rules.scaling, rules.processes, before.wanted + event.more)
        if wanted == before.wanted:
            self.log(
                f"{event.source}: there are {wanted} workers, and no {'more' if event.more > 0 else 'fewer'} may be"
            )
            return
        self.fleet = replace(self.fleet, scaling=replace(before, wanted=wanted))
        self.change(one, before.wanted, event.source)

    def connection_waiting(self) -> None:
        """Somebody connected while there were no workers."""
        one, now = self.fleet.serving(), self.fleet.scaling
        self.do(act.WatchListeners(watched=False))
        if one is None or not now.is_asleep or self.fleet.mode not in ("serving", "reloading"):
            return
        wanted = scaling.at_start(self.fleet.rules.scaling, self.fleet.rules.processes)
        self.log("a connection waits: starting workers")
        self.fleet = replace(self.fleet, scaling=scaling.Scaling(wanted=wanted, quiet_since=self.now))
        self.settle(one)

    def end_when_idle(self) -> None:
        """End the instance (`die-on-idle`): how is the policy's."""
        raise AssertionError("the policy says how an instance ends")
