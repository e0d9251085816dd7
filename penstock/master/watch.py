"""How a new generation fares while the one before it stands by: numbers in, a verdict out.

Two shares of 5xx are looked at: of all that the new generation has answered, and of what it has answered in the last
seconds, so that code which fails after a good beginning is noticed too. Either one has to be above the share of the
generation before it by more than the limit, over enough requests to mean something.
"""

from __future__ import annotations

from penstock.plan.process_types import WatchPlan
from penstock.values import dataclass, replace

WINDOW_S = 10.0
"""What "the last seconds" are."""

MOST_CRASHES = 2
"""So many workers of a watched generation may not die by themselves. One may be anything: the kernel short of memory,
somebody's kill, an old mistake."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a generation had answered at a moment."""

    at: float
    requests: int = 0
    errors: int = 0
    """Answered with a status of 500 or more, or cut by an exception."""

    def since(self, earlier: Tally) -> Tally:
        """Tell what was answered between two moments."""
        return Tally(self.at - earlier.at, self.requests - earlier.requests, self.errors - earlier.errors)

    @property
    def percent(self) -> float:
        """The share of errors."""
        return 100 * self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True, slots=True)
class Watch:
    """A watch that goes on, or what became of the last one."""

    generation: int = 0
    """The new one; 0 while nothing is watched."""
    before: int = 0
    """The one that stands by."""
    began_at: float = 0.0
    crashes: int = 0
    tallies: tuple[Tally, ...] = ()
    """Of the last seconds, the newest last."""
    before_percent: float = 0.0
    """The share of errors of the one that stands by."""
    over: str = ""
    """Why there is nothing to go back to any more."""

    def noted(self, new: Tally, old: Tally) -> Watch:
        """Take in what both generations have answered so far."""
        recent = tuple(one for one in self.tallies if one.at >= new.at - WINDOW_S)
        return replace(self, tallies=(*recent, new), before_percent=old.percent)


def verdict(plan: WatchPlan, watch: Watch) -> str:
    """Say why to go back, in words with numbers; empty to go on."""
    if not watch.tallies:
        return ""
    now = watch.tallies[-1]
    for earlier in (Tally(watch.began_at), watch.tallies[0]):
        answered = now.since(earlier)
        rise = answered.percent - watch.before_percent
        if answered.requests >= plan.requests and rise > plan.errors_percent:
            return (
                f"{answered.errors} of {answered.requests} requests failed with 5xx in {answered.at:.0f} seconds, "
                f"{answered.percent:.1f} %; before it were {watch.before_percent:.1f} %, and "
                f"reload-watch-errors = {plan.errors_percent} more are allowed"
            )
    return ""


def summary(watch: Watch) -> str:
    """Say how the new generation has fared."""
    if not watch.tallies or not watch.tallies[-1].requests:
        return "no request came"
    now = watch.tallies[-1]
    return f"{now.errors} of {now.requests} failed with 5xx, {now.percent:.1f} %; before {watch.before_percent:.1f} %"
