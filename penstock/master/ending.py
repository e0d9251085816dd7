"""How an instance ends: it stops accepting, lets requests end, and leaves; or it leaves at once.

- A stop lets requests end for as long as the plan says; whoever asks again after a while does not want to wait.
- With `drain-delay` the end is announced first: whoever balances the load sees that the instance is not ready, and
  clients leave with their next answer, while everybody is still served.
- What is left when the last worker has gone (programs beside the workers) is stopped then.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master.attached import Attached
from penstock.master.fleet import Generation, Timer
from penstock.master.turn import EXIT_FAILURE, STOP_MERCY_S
from penstock.master.workforce import Workforce
from penstock.plan.process_types import ProgramPlan
from penstock.values import replace

SECOND_STOP_S = 1.0
"""A stop that comes sooner after the first is the same one: process managers pass on a Ctrl-C that the terminal has
sent to everybody already, and that must not cut requests."""


class Ending(Attached, Workforce):
    """The ways out."""

    def drain(self, source: str) -> None:
        """Stop accepting, let requests end, leave. Asked for once more, and not at the same moment, it means now."""
        fleet = self.fleet
        if fleet.is_leaving and fleet.mode != "stopping" and self.now - fleet.ending_since < SECOND_STOP_S:
            self.log(f"{source} received at the same moment: it is the same stop (once more, later, means now)")
        elif fleet.is_leaving:
            self.log(f"{source} received again: killing workers now...")
            if fleet.mode not in ("draining", "stopping"):
                self.begin_end("stopping")
            self.kill_all()
        elif fleet.rules.drain_delay_s and fleet.mode in ("serving", "reloading"):
            self.say_farewell(source)
        else:
            self.begin_drain(source)

    def end_gently(self, source: str) -> None:
        """Drain, unless that is going on: who asks by a command, and asks again, does not mean now."""
        if self.fleet.is_leaving:
            self.log(f"{source}: the instance is stopping already")
        else:
            self.drain(source)

    def say_farewell(self, source: str) -> None:
        """Go on as before for `drain-delay`, but let everybody see that this ends."""
        delay = self.fleet.rules.drain_delay_s
        self.log(f"{source} received: not ready any more, and drains in {delay:g} seconds (drain-delay)")
        waiting = self.fleet.queued_tickets
        self.fleet = replace(
            self.fleet, says_farewell=True, ending_since=self.now, reload_queued=False, queued_tickets=()
        )
        if waiting:
            self.do(act.AnswerReload(waiting, 0, ok=False, reason="the instance is stopping"))
        self.do(act.NotifySupervisor("stopping", f"not ready any more, draining in {delay:g} seconds"))
        for handle in self.fleet.workers:
            if handle.state == "ready":
                self.tell(handle, "farewell")
        self.set_timer(delay, "drain")

    def begin_drain(self, source: str) -> None:
        self.log(f"SIGINT/SIGTERM received ({source})...gracefully killing workers...")
        self.begin_end("draining")
        for handle in self.fleet.workers:
            # One that is not ready yet has no request, unless it became ready this very moment.
            self.drain_worker(handle, STOP_MERCY_S if handle.state == "starting" else None)

    def end_when_idle(self) -> None:
        self.begin_drain("die-on-idle")

    def end_with_program(self, plan: ProgramPlan) -> None:
        if self.fleet.mode not in ("draining", "stopping"):
            self.drain("attach-control-daemon")

    def stop(self, source: str) -> None:
        """Leave at once, without waiting for requests."""
        if self.fleet.mode == "stopping":
            self.kill_all()
            return
        self.log(f"{source} received...killing workers...")
        if self.fleet.mode != "draining":
            self.begin_end("stopping")
        self.fleet = replace(self.fleet, mode="stopping")
        for handle in self.fleet.workers:
            self.stop_worker(handle)

    def begin_end(self, mode: str) -> None:
        """Do what a drain and a stop have in common."""
        fleet = self.fleet
        waiting = fleet.tickets + fleet.queued_tickets
        was_starting = fleet.mode == "starting"
        self.fleet = replace(
            fleet,
            mode="draining" if mode == "draining" else "stopping",
            ending_since=self.now,
            tickets=(),
            queued_tickets=(),
            reload_queued=False,
            timers=self.timers_of_the_end(),
        )
        self.do(act.NotifySupervisor("stopping", "stopping"))
        self.do(act.CloseListeners())
        if waiting:
            self.do(act.AnswerReload(waiting, 0, ok=False, reason="the instance was stopped"))
        if was_starting:
            self.do(act.AnnounceFailure(EXIT_FAILURE, "the instance was stopped before it was ready"))
        for one in self.fleet.generations:
            if one.state != "retiring":
                self.end_generation(one)

    def timers_of_the_end(self) -> tuple[Timer, ...]:
        """List what still counts when the instance ends: whoever is to be killed is killed."""
        return tuple(one for one in self.fleet.timers if one.kind in ("kill", "gone", "end", "program-kill"))

    def end_generation(self, one: Generation) -> None:
        """Let a generation's process go; its workers are the caller's."""
        if one.pid and one.state in ("ready", "serving", "parked"):
            self.do(act.EndGeneration(one.number))
        elif one.pid:
            # An import does not read the channel, and there is nothing in it to be finished.
            self.do(act.KillGeneration(one.number))
        self.put_generation(replace(one, state="retiring"))

    def kill_all(self) -> None:
        self.fleet = replace(self.fleet, mode="stopping")
        for handle in self.fleet.workers:
            self.kill_worker(handle)
        self.kill_programs()
        for one in self.fleet.generations:
            if one.pid:
                self.do(act.KillGeneration(one.number))
