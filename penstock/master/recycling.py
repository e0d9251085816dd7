"""Planned replacement: a worker has done its requests, has reached its age, or has grown too large.

The replacement is ready before the old worker leaves, and few are replaced at a time.
"""

from __future__ import annotations

from penstock.master import events as ev
from penstock.master.fleet import WorkerHandle
from penstock.master.workforce import Workforce
from penstock.values import replace


def recycled_at_once(processes: int) -> int:
    """Tell how many workers may be in the middle of a planned replacement."""
    return max(1, processes // 4)


class Recycling(Workforce):
    """What makes a worker be replaced, and when that is done."""

    def worker_recycle(self, event: ev.WorkerRecycle) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is not None and handle.state == "ready" and not handle.recycle:
            self.recycle(handle, event.reason or "it asked for it")

    def limit_lifetime(self, handle: WorkerHandle) -> None:
        """Give a worker that has become ready its longest lifetime, if there is one."""
        plan = self.rules_of(handle).recycling
        if plan.lifetime_s:
            lifetime = plan.lifetime_s + (handle.worker - 1) * plan.lifetime_delta_s
            self.set_timer(handle.spawned_at + lifetime - self.now, "age", handle.generation, handle.slot)

    def lifetime_reached(self, handle: WorkerHandle) -> None:
        if handle.state != "ready" or handle.recycle:
            return
        age = int(self.now - handle.spawned_at)
        self.log(f"worker {handle.worker} lifetime reached, it was running for {age} second(s)")
        self.recycle(handle, f"max-worker-lifetime, {age} seconds old")

    def memory_measured(self, event: ev.WorkerMemory) -> None:
        """Compare one worker's memory with the limits: kill it over an evil one, else have it replaced."""
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is None or not handle.pid or self.fleet.mode in ("draining", "stopping"):
            return
        plan = self.rules_of(handle).recycling
        measured = (
            ("rss", "RSS", event.rss_bytes, plan.rss_bytes, plan.evil_rss_bytes),
            ("as", "ADDRESS SPACE", event.as_bytes, plan.as_bytes, plan.evil_as_bytes),
        )
        for _, name, found, _, evil in measured:
            if evil and found >= evil and handle.state != "killed":
                self.log(f"*** EVIL RELOAD ON WORKER {handle.worker} {name}: {found} (pid: {handle.pid}) ***")
                self.kill_worker(replace(handle, verdict="evil"))
                return
        if handle.state != "ready" or handle.recycle:
            return
        for name, _, found, limit, _ in measured:
            if limit and found >= limit:
                age = self.now - handle.spawned_at
                early = age < self.fleet.rules.min_worker_lifetime_s
                hint = f", {int(age)} s after its start: is the limit below what the app needs?" if early else ""
                self.recycle(handle, f"reload-on-{name} = {limit >> 20} MB, and it has {found >> 20} MB{hint}")
                return

    def recycle(self, handle: WorkerHandle, reason: str) -> None:
        """Have a worker replaced as soon as that may be; it serves until then."""
        self.put_worker(replace(handle, recycle=reason))
        wait = handle.spawned_at + self.fleet.rules.min_worker_lifetime_s - self.now
        if wait > 0:
            self.set_timer(wait, "recycle", handle.generation, handle.slot, handle.worker)

    def advance_recycling(self) -> None:
        """Start planned replacements, a few at a time."""
        fleet = self.fleet
        one = fleet.serving()
        if one is None or not one.pid or fleet.mode not in ("serving", "reloading") or self.is_taken_over():
            return
        limit = 1 if fleet.is_chain else recycled_at_once(one.rules.processes)
        coming = [each for each in fleet.workers_of(one.number) if each.state in ("starting", "killed")]
        under_way = {each.replaces for each in coming} - {-1}
        for handle in fleet.workers_of(one.number):
            if len(under_way) >= limit and not handle.is_stuck:
                continue
            if not handle.recycle or handle.state != "ready" or handle.slot in under_way:
                continue
            if not handle.is_urgent and handle.spawned_at + fleet.rules.min_worker_lifetime_s > self.now:
                continue
            if self.is_expected(handle.worker):
                # Its last replacement died; the back-off decides when the next one is tried.
                continue
            if not self.spawn(one, handle.worker, replaces=handle.slot):
                return
            under_way.add(handle.slot)
        if fleet.is_chain and not under_way and not any(one.is_urgent for one in self.fleet.workers):
            self.log("chain reloading complete")
            self.fleet = replace(self.fleet, is_chain=False)

    def reload_workers(self, source: str, chain: bool) -> None:
        """Have every worker replaced, whatever its age."""
        one = self.fleet.serving()
        if one is None or not one.pid or self.fleet.mode not in ("serving", "reloading") or self.is_taken_over():
            self.log(f"{source}: workers can not be replaced now")
            return
        how = "one after the other" if chain else "the replacements first"
        self.log(f"*** {source}: every worker is replaced, {how} ***")
        if not one.rules.lazy:
            self.log(f"{source} starts workers with the code that is loaded: touch-reload and SIGHUP load new code")
        for handle in self.fleet.workers_of(one.number):
            if handle.state == "ready":
                self.put_worker(replace(handle, recycle=handle.recycle or source, is_urgent=True))
        self.fleet = replace(self.fleet, is_chain=chain)

    def break_chain(self, failed: WorkerHandle) -> None:
        """A replacement of a chain reload is none: leave the workers that are still to be replaced as they are."""
        if not self.fleet.is_chain or failed.replaces < 0:
            return
        self.log(f"*** the chain reload ends: worker {failed.worker} could not be replaced, the others stay ***")
        for handle in self.fleet.workers:
            if handle.is_urgent and not handle.is_stuck:
                self.put_worker(replace(handle, recycle="", is_urgent=False))
        self.fleet = replace(self.fleet, is_chain=False)
