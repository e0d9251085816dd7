"""What a supervisor (systemd) is told beside the states of the instance: that a start goes on, and that all is well."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master.fleet import Fleet, Generation
from penstock.master.turn import Turn

EXTEND_EVERY_S = 5.0
"""How often a start that lasts is mentioned to the supervisor, which gives it 20 more seconds each time."""

EXTEND_MOST_S = 600.0
"""From then on the supervisor's own limit (TimeoutStartSec) counts: code that hangs while it is imported must not be
waited for without end."""


class Supervised(Turn):
    """The start of a generation as the supervisor sees it."""

    def watch_start(self, one: Generation) -> None:
        """Mention a start for as long as it lasts."""
        self.set_timer(EXTEND_EVERY_S, "extend", generation=one.number)

    def forget_start(self, number: int) -> None:
        """Mention the start of a generation no more, in the log or to the supervisor, nor wait for its end."""
        for timer in ("importing", "extend", "overdue"):
            self.clear_timers(timer, generation=number)

    def extend_start(self, one: Generation) -> None:
        """Say that a generation is still on its way."""
        lasted = self.now - one.started_at
        if not one.is_coming or lasted > EXTEND_MOST_S:
            return
        doing = "is importing the app" if one.state == "importing" else "waits for its workers"
        self.do(act.NotifySupervisor("importing", f"generation {one.number} {doing} ({int(lasted)} seconds)"))
        self.watch_start(one)


def is_healthy(fleet: Fleet) -> bool:
    """Tell whether an instance does what it is there for, as far as the master can see.

    The loop that asks is not stuck, which is the most of it. Beside that some worker has to be ready, unless none is
    wanted: a supervisor whose patience ends while none is (`WatchdogSec`) may start the instance anew.
    """
    if fleet.mode not in ("serving", "reloading") or fleet.scaling.is_asleep:
        return True
    return any(one.takes_requests for one in fleet.workers)
