"""An upgrade of Penstock, as the policy has it: wait for quiet, try the new program, become it, reload.

The new program is tried before anything is given up, and becomes the master only while one generation serves and
nothing is under way. Its first act is a reload, so that the workers get the new engine through the same gates as new
code; if that fails, they go on with the old one under the new master.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.turn import Turn
from penstock.values import replace

CHECK_MOST_S = 60.0
"""How long the trial may take; it reads the configuration, which may run commands."""


class Upgrading(Turn):
    """The course of an upgrade."""

    def upgrade_requested(self, event: ev.UpgradeRequested) -> None:
        tickets = () if event.ticket is None else (event.ticket,)
        if self.fleet.is_leaving:
            self.log(f"upgrade ({event.source}) ignored: the instance is stopping")
            self.answer(tickets, "the instance is stopping")
            return
        self.fleet = replace(self.fleet, upgrade_tickets=self.fleet.upgrade_tickets + tickets)
        if self.fleet.upgrade:
            self.log(f"upgrade ({event.source}): one is under way already")
            return
        self.log(f"*** upgrade ({event.source}): looking at the Penstock that is installed now ***")
        self.fleet = replace(self.fleet, upgrade="wanted")

    def advance_upgrade(self) -> None:
        """Take the next step, if the fleet is quiet enough for it."""
        if not self.fleet.upgrade:
            return
        if self.fleet.is_leaving or self.fleet.mode == "ended":
            if self.fleet.upgrade == "checking":
                self.do(act.GiveUpCheck())
            self.end_upgrade("the instance was stopped")
        elif self.fleet.mode == "serving" and self.fleet.upgrade == "wanted":
            self.fleet = replace(self.fleet, upgrade="checking")
            self.set_timer(CHECK_MOST_S, "check")
            self.do(act.CheckUpgrade())
        elif self.fleet.mode == "serving" and self.fleet.upgrade == "checked":
            self.fleet = replace(self.fleet, upgrade="going")
            self.do(act.Upgrade())
        elif self.fleet.mode != "serving" and self.fleet.upgrade == "going":
            # Something else was seen at the same moment, and goes first.
            self.fleet = replace(self.fleet, upgrade="checked")

    def upgrade_checked(self, event: ev.UpgradeChecked) -> None:
        if self.fleet.upgrade != "checking":
            return
        self.clear_timers("check")
        if event.ok:
            self.log(f"*** Penstock {event.said} can take over ***")
            self.fleet = replace(self.fleet, upgrade="checked")
        else:
            self.give_up_upgrade(event.said)

    def check_overdue(self) -> None:
        if self.fleet.upgrade == "checking":
            self.do(act.GiveUpCheck())
            self.give_up_upgrade(f"the new Penstock did not answer within {int(CHECK_MOST_S)} seconds")

    def give_up_upgrade(self, reason: str) -> None:
        """Stay what this is."""
        self.log(f"*** the upgrade failed, and everything goes on as before: {reason} ***")
        self.end_upgrade(reason)

    def end_upgrade(self, reason: str) -> None:
        self.clear_timers("check")
        self.answer(self.fleet.upgrade_tickets, reason)
        self.fleet = replace(self.fleet, upgrade="", upgrade_tickets=())

    def upgraded(self, event: ev.Upgraded) -> None:
        """Go on as the new program."""
        tickets = self.fleet.upgrade_tickets
        self.fleet = replace(self.fleet, upgrade="", upgrade_tickets=())
        self.log(f"*** Penstock {event.version} has taken over from {event.before}, with the sockets and the pid ***")
        self.reload_for_upgrade(tickets)

    def answer(self, tickets: tuple[int, ...], reason: str) -> None:
        if tickets:
            self.do(act.AnswerReload(tickets, 0, ok=False, reason=reason))

    def reload_for_upgrade(self, tickets: tuple[int, ...]) -> None:
        """Bring the workers onto the new engine: how is the policy's."""
        raise AssertionError("the policy says how an instance reloads")
