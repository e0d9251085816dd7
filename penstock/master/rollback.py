"""Going back: after a reload the generation before it stands by for a while, ready and idle, and serves again when the
new one turns out to be worse (`reload-watch`), or when somebody says so (`penstock rollback`).

- Standing by is the last generation that has stood its own watch: a second reload within the watch does not make
  unproven code what one goes back to.
- Workers that stand by take no request and give their idle connections away; what they have in flight they finish.
- A generation that has no workers left (they were replaced one by one) forks new ones from what it has imported; with
  `lazy-apps` it has imported nothing, and there is nothing to go back to.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.attached import Attached
from penstock.master.fleet import Generation, WorkerHandle
from penstock.master.turn import describe_status
from penstock.master.watch import MOST_CRASHES, Tally, Watch, summary, verdict
from penstock.master.workforce import Workforce
from penstock.values import replace


class Rollback(Attached, Workforce):
    """What becomes of the generation before, and when it comes back."""

    # --- standing by

    def standing_by(self) -> Generation | None:
        """Find the generation that one can go back to."""
        return next((one for one in self.fleet.generations if one.state == "parked"), None)

    def can_serve_again(self, one: Generation) -> bool:
        """Whether a generation has workers, or can make some of the code that it was started with."""
        has_workers = any(handle.state == "ready" for handle in self.fleet.workers_of(one.number))
        return bool(one.pid) and (has_workers or not one.rules.lazy)

    def succeed(self, one: Generation, before: list[Generation]) -> None:
        """A generation serves: what served before it leaves, or stands by while the new one is watched."""
        proven = self.standing_by()
        watch = self.fleet.watch
        if not one.is_reread:
            # It replaces one that has lost its process, and is no new code.
            for old in before:
                self.retire(old)
            if proven is not None:
                self.fleet = replace(
                    self.fleet, watch=Watch(one.number, proven.number, self.now, crashes=watch.crashes)
                )
            return
        candidate = proven or next((old for old in before if self.can_serve_again(old)), None)
        seconds = one.rules.watch.seconds
        for old in before:
            if old is not candidate or not seconds:
                self.retire(old)
        self.clear_timers("watch")
        if candidate is None or not seconds:
            if proven is not None:
                self.retire(proven)
            self.fleet = replace(self.fleet, watch=Watch(over=self.why_not(before) if seconds else ""))
            return
        if candidate is not proven:
            self.park(candidate)
        self.fleet = replace(self.fleet, watch=Watch(one.number, candidate.number, self.now))
        # Of the one that stands by: the one that serves may lose its process and be replaced.
        self.set_timer(seconds, "watch", generation=candidate.number)
        self.log(f"generation {candidate.number} stands by for {seconds:g} seconds (reload-watch)")

    @staticmethod
    def why_not(before: list[Generation]) -> str:
        """Say why the generation before does not stand by."""
        if not before:
            return "no generation served before this one"
        if before[0].pid:
            return "its workers were replaced one by one, and with lazy-apps they can not come back"
        return f"generation {before[0].number} had lost its process"

    def park(self, one: Generation) -> None:
        """Let a generation stand by."""
        self.put_generation(replace(one, state="parked"))
        for timer in ("respawn", "recycle"):
            self.clear_timers(timer, generation=one.number)
        for handle in self.fleet.workers_of(one.number):
            if handle.state == "ready":
                self.park_worker(handle)
            elif handle.state == "starting":
                self.stop_worker(handle)

    def park_worker(self, handle: WorkerHandle) -> None:
        """Let a worker take no more requests, and give its idle connections away."""
        if handle.is_held:
            return
        if not handle.is_stuck:
            handle = replace(handle, recycle="", is_urgent=False)
        self.put_worker(replace(handle, is_held=True, replaces=-1))
        self.tell(handle, "park")

    def give_up(self, one: Generation, why: str) -> None:
        """End the watch: there is no way back from now on."""
        self.clear_timers("watch")
        self.log(f"generation {one.number} stands by no longer: {why}")
        self.fleet = replace(self.fleet, watch=Watch(over=f"generation {one.number} stands by no longer: {why}"))
        self.retire(one)

    def watch_is_over(self) -> None:
        one, watch = self.standing_by(), self.fleet.watch
        if one is not None:
            seconds = self.now - watch.began_at
            self.give_up(one, f"generation {watch.generation} has served for {seconds:.0f} seconds ({summary(watch)})")

    def lost_while_parked(self, number: int) -> None:
        """A worker of a generation that stands by, or its process, is gone."""
        one = self.fleet.generation(number)
        if one is not None and one.state == "parked" and not self.can_serve_again(one):
            self.give_up(one, "nothing is left of it")

    # --- judging

    def answers_counted(self, event: ev.AnswersCounted) -> None:
        watch, one = self.fleet.watch, self.standing_by()
        found = {each.generation: each for each in event.each}
        new, old = found.get(watch.generation), found.get(watch.before)
        if one is None or new is None or old is None or self.fleet.is_leaving:
            return
        watch = watch.noted(Tally(self.now, new.requests, new.errors), Tally(self.now, old.requests, old.errors))
        self.fleet = replace(self.fleet, watch=watch)
        reason = verdict(self.fleet.rules.watch, watch)
        if reason:
            self.go_back(one, reason)

    def went_back(self, dead: WorkerHandle, status: int | None) -> bool:
        """Count a worker that died by itself, and go back if that is one too many."""
        watch, one = self.fleet.watch, self.standing_by()
        if one is None or dead.generation != watch.generation or self.fleet.is_leaving:
            return False
        watch = replace(watch, crashes=watch.crashes + 1)
        self.fleet = replace(self.fleet, watch=watch)
        if watch.crashes < MOST_CRASHES:
            return False
        seconds = self.now - watch.began_at
        end = "could not import the app" if dead.verdict == "failed" else describe_status(status)
        self.go_back(one, f"{watch.crashes} of its workers died within {seconds:.0f} seconds, the last one: {end}")
        return True

    # --- going back

    def rollback_requested(self, event: ev.RollbackRequested) -> None:
        """Somebody wants the code before the last reload."""
        coming, one = self.fleet.coming(), self.standing_by()
        why = ""
        if self.fleet.is_leaving:
            why = "the instance is stopping"
        elif self.fleet.mode == "reloading" and coming is not None:
            self.fail_reload(coming, f"{event.source} while it was starting", "")
        elif one is not None:
            self.go_back(one, event.source)
        elif not self.fleet.rules.watch.seconds:
            why = "there is no generation to go back to: reload-watch = 30s keeps the one before a reload for so long"
        else:
            why = f"there is no generation to go back to: {self.fleet.watch.over or 'nothing was reloaded'}"
        serving = self.fleet.serving()
        if why:
            self.log(f"{event.source} changes nothing: {why}")
        if event.ticket is not None:
            number = serving.number if serving else 0
            self.do(act.AnswerReload((event.ticket,), number, ok=not why, reason=why))

    def go_back(self, one: Generation, reason: str) -> None:
        """Let the generation that stands by serve again, in place of the one that serves."""
        bad = self.fleet.serving()
        self.clear_timers("watch")
        one = replace(one, state="serving", required=self.wanted_now(one))
        self.put_generation(one)
        self.take_over(one)
        self.fleet = replace(
            self.fleet,
            rules=one.rules,
            watch=Watch(over=f"it was gone back to generation {one.number} already"),
            records=tuple(replace(record, failures=0) for record in self.fleet.records),
        )
        self.do(act.CommitGeneration(one.number))
        self.release(one)
        has_workers = any(handle.state == "ready" for handle in self.fleet.workers_of(one.number))
        if bad is not None and has_workers:
            self.retire(bad)
        elif bad is not None:
            self.hand_over_to(bad)
        # After the workers have been told: who reads it shall hardly meet the new code any more.
        name = f"generation {bad.number}" if bad else "nothing"
        self.log(f"*** rollback from {name} to generation {one.number}: {reason} ***")
        self.settle(one)
        if bad is not None and bad.is_reread:
            self.reload_programs(one.rules)
        if self.fleet.mode == "serving":
            self.do(act.NotifySupervisor("ready", f"rolled back: generation {one.number} serves"))

    def hand_over_to(self, leaving: Generation) -> None:
        """Let a generation go whose workers serve until those of the same ids in the one that serves are ready."""
        for timer in ("respawn", "recycle"):
            self.clear_timers(timer, generation=leaving.number)
        self.end_generation(leaving)

    def relieve(self) -> None:
        """Let workers leave that only wait for those of the same ids in the generation that serves."""
        one = self.fleet.serving()
        leaving = {other.number for other in self.fleet.generations if other.state == "retiring"}
        waiting = [other for other in self.fleet.workers if other.generation in leaving and other.state == "ready"]
        if one is None or not waiting:
            return
        ids = {other.worker for other in self.fleet.workers_of(one.number) if other.state == "ready"}
        is_complete = ids >= set(range(1, self.wanted(one) + 1))
        for handle in waiting:
            if is_complete or handle.worker in ids:
                self.retire_worker(handle)

    # --- what the policy does

    def retire(self, one: Generation) -> None:
        """Let a generation and its workers leave: how is the policy's."""
        raise AssertionError("the policy says how a generation leaves")

    def end_generation(self, one: Generation) -> None:
        """Let a generation's process leave: how is the policy's."""
        raise AssertionError("the policy says how a process leaves")

    def fail_reload(self, one: Generation, reason: str, traceback: str) -> None:
        """Give up a generation that is being started: how is the policy's."""
        raise AssertionError("the policy says how a reload fails")
