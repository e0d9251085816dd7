"""How many workers there should be: uWSGI's `cheaper` algorithms, `cheap` and `idle`, as rules over what was measured.

`decide` is pure: a plan, what is remembered, what was measured in the last second, and the time give a new number. What
is measured is better than what uWSGI has: busyness is time in the app, not a count of cycles; connections that wait are
seen on unix sockets too, and those of kept-alive clients that found every thread busy; and how long requests waited for
a thread is measured, so that an algorithm does not depend on what is there in the instant of a look.

A worker that is no longer needed retires: it finishes what it has in flight.
"""

from __future__ import annotations

from penstock.plan.process_types import ScalingPlan
from penstock.values import dataclass, replace

WAIT_S = 0.1
"""Requests that waited for a thread as long as this should not have had to. What a visitor does not notice is less, and
below it are the waits that are the machine's: bursts, and a call that keeps the interpreter."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one look at the instance found."""

    free: int
    """Ready workers with a thread that is not in the app."""
    starting: int
    """Workers that are on their way."""
    busyness: float
    """Part of the last second that the threads of the ready workers spent in the app: 0.0 to 1.0."""
    queue: int
    """Connections that nobody has accepted, or that no worker had a thread for."""
    requests: int
    """Requests since the start."""
    busy_threads: int = 0
    rss_bytes: int = 0
    """Of all workers together; 0 where nobody wants to know."""
    wait_s: float = 0.0
    """How long requests waited for a thread in the last second."""

    @property
    def has_waits(self) -> bool:
        """Whether they waited for too long."""
        return self.wait_s >= WAIT_S

    @property
    def wait_text(self) -> str:
        """What messages say of it."""
        return f"queue wait {round(1000 * self.wait_s)} ms"


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is remembered from one look to the next."""

    wanted: int = 0
    """Workers 1 to this should be there."""
    is_asleep: bool = False
    """There are no workers until somebody connects."""
    overloaded: int = 0
    """Looks in a row at which no worker was free, or requests had waited."""
    idle: int = 0
    """Looks in a row at which one was, and none had."""
    looks: int = 0
    """In this window, with the sum of their busyness."""
    busyness: float = 0.0
    waits: int = 0
    """Looks of this window at which requests had waited."""
    low_windows: int = 0
    extra_windows: int = 0
    """What penalties have added to `idle_windows`."""
    windows_since_less: int = -1
    """Windows since a worker was taken away; -1: that is long ago."""
    emergency: int = 0
    """Workers that were started because of the queue."""
    queue_since: float = -1.0
    """Since when connections wait without a pause; -1.0: none do."""
    requests: int = -1
    quiet_since: float = 0.0
    """When there was something to do for the last time."""
    limited_by_memory: bool = False


def bounded(plan: ScalingPlan, processes: int, wanted: int) -> int:
    """Bring a number of workers into what a plan allows."""
    return min(processes, max(plan.least, wanted)) if plan.follows_load else processes


def at_start(plan: ScalingPlan, processes: int) -> int:
    """Tell how many workers there are when somebody comes for the first time."""
    return bounded(plan, processes, plan.initial or plan.least)


def decide(plan: ScalingPlan, processes: int, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """Tell how many workers there should be after one more look, and why that changed; no reason where it did not."""
    if now.requests != load.requests or load.busy_threads or load.queue:
        now = replace(now, requests=load.requests, quiet_since=time_s)
    if not plan.follows_load:
        return now, ""
    wanted, (after, reason) = now.wanted, _ALGORITHMS[plan.algorithm](plan, now, load, time_s)
    after = replace(after, wanted=bounded(plan, processes, after.wanted))
    if after.wanted <= wanted:
        after = replace(after, emergency=min(after.emergency, now.emergency))
    after, by_memory = _limit_by_memory(plan, wanted, after, load)
    return after, by_memory or (f"{reason}, {load.wait_text}" if after.wanted != wanted else "")


def window_note(plan: ScalingPlan, now: Scaling, load: Load) -> str:
    """Say what a window came to, if this look ends one and somebody wants to know (`cheaper-busyness-verbose`)."""
    if not plan.is_verbose or plan.algorithm != "busyness" or now.looks + 1 < plan.overload:
        return ""
    percent = round(100 * (now.busyness + load.busyness) / (now.looks + 1))
    calm = f"{now.low_windows} of {plan.idle_windows + now.extra_windows} calm windows before it"
    busy = f"{percent} % busy in {now.looks + 1} seconds"
    return f"[busyness] {now.wanted} workers, {busy}, {load.queue} connections wait, {calm}, {load.wait_text}"


def is_idle(plan: ScalingPlan, now: Scaling, time_s: float) -> bool:
    """Whether nothing was asked for in as long as `idle` says."""
    return 0 < plan.idle_s <= time_s - now.quiet_since


def _spare(plan: ScalingPlan, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """More when nobody was free, or requests waited, for longer than `overload` looks; one less after as many without
    that and with two free or more."""
    if load.free == 0 or load.has_waits:
        now = replace(now, idle=0, overloaded=0 if load.starting else now.overloaded + 1)
        if now.overloaded > plan.overload:
            what = "requests waited" if load.free else "every worker was busy"
            reason = f"{what} for {now.overloaded} seconds"
            return replace(now, wanted=now.wanted + plan.step, overloaded=0), reason
        return now, ""
    now = replace(now, overloaded=0, idle=now.idle + 1)
    if now.idle >= max(1, plan.overload):
        now = replace(now, idle=0)
        if load.free > 1:
            return replace(now, wanted=now.wanted - 1), f"{load.free} workers are free"
    return now, ""


def _backlog(plan: ScalingPlan, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """More while more than `overload` connections wait, one less while fewer do, none had to for long, and two are
    free."""
    if load.queue > plan.overload and not load.starting:
        return replace(now, wanted=now.wanted + plan.step), f"{load.queue} connections wait"
    if load.queue < max(1, plan.overload) and load.free > 1 and not load.has_waits:
        return replace(now, wanted=now.wanted - 1), f"{load.queue} connections wait, and {load.free} workers are free"
    return now, ""


def _manual(plan: ScalingPlan, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """As many as somebody has asked for."""
    return now, ""


def _busyness(plan: ScalingPlan, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """By the part of a window of `overload` seconds that threads spent in the app, or by requests that waited in all of
    it; and at once by the queue."""
    now, reason = _emergency(plan, now, load, time_s)
    if reason:
        return now, reason
    now = replace(now, looks=now.looks + 1, busyness=now.busyness + load.busyness, waits=now.waits + load.has_waits)
    if now.looks < max(1, plan.overload):
        return now, ""
    percent = round(100 * now.busyness / now.looks)
    since = now.windows_since_less
    needed = plan.idle_windows + now.extra_windows
    has_waits, had_waits = now.waits == now.looks, now.waits > 0
    now = replace(now, looks=0, busyness=0.0, waits=0, windows_since_less=since if since < 0 else since + 1)
    if now.windows_since_less > needed:
        # Nobody was missed for that long: the penalties have done what they are for.
        now = replace(now, windows_since_less=-1, extra_windows=0)
    if percent > plan.busy_most_percent or has_waits:
        now = replace(now, low_windows=0, wanted=now.wanted + plan.step)
        if now.windows_since_less >= 0:
            now = replace(now, extra_windows=now.extra_windows + plan.penalty_windows, windows_since_less=-1)
        if percent > plan.busy_most_percent:
            return now, f"busyness is {percent} %, above {plan.busy_most_percent} %"
        return now, f"requests waited in all of a window, though busyness is {percent} %"
    if percent >= plan.busy_least_percent or had_waits:
        return replace(now, low_windows=0), ""
    now = replace(now, low_windows=now.low_windows + 1)
    if now.emergency and now.low_windows >= plan.alert_idle_windows:
        reason = f"busyness is {percent} %, and no connections wait any more"
        return replace(now, low_windows=0, wanted=now.wanted - 1, emergency=now.emergency - 1), reason
    if now.low_windows >= needed:
        reason = f"busyness was below {plan.busy_least_percent} % for {now.low_windows} windows"
        return replace(now, low_windows=0, wanted=now.wanted - 1, windows_since_less=0), reason
    return now, ""


def _emergency(plan: ScalingPlan, now: Scaling, load: Load, time_s: float) -> tuple[Scaling, str]:
    """Start workers because connections wait, without looking at anything else."""
    if not load.queue:
        return replace(now, queue_since=-1.0), ""
    if now.queue_since < 0:
        now = replace(now, queue_since=time_s)
    waited = time_s - now.queue_since
    more = 0
    if load.queue > plan.alert_queue:
        more = plan.alert_step
    elif plan.alert_nonzero_s and waited >= plan.alert_nonzero_s:
        more, now = 1, replace(now, queue_since=time_s)
    if not more or load.starting:
        return now, ""
    reason = f"{load.queue} connections wait, since {waited:.0f} seconds"
    return replace(now, wanted=now.wanted + more, emergency=now.emergency + more, low_windows=0), reason


def _limit_by_memory(plan: ScalingPlan, before: int, after: Scaling, load: Load) -> tuple[Scaling, str]:
    """Let the memory of all workers together overrule what the load asks for."""
    if plan.rss_hard_bytes and load.rss_bytes >= plan.rss_hard_bytes:
        wanted = max(plan.least, before - 1)
        reason = f"the workers have {load.rss_bytes >> 20} MB, over cheaper-rss-limit-hard"
        return replace(after, wanted=wanted), reason if wanted != before else ""
    if plan.rss_soft_bytes and load.rss_bytes >= plan.rss_soft_bytes and after.wanted > before:
        reason = f"no worker is added: they have {load.rss_bytes >> 20} MB, over cheaper-rss-limit-soft"
        return replace(after, wanted=before, limited_by_memory=True), "" if after.limited_by_memory else reason
    return replace(after, limited_by_memory=False) if after.wanted > before else after, ""


_ALGORITHMS = {"spare": _spare, "backlog": _backlog, "manual": _manual, "busyness": _busyness}
