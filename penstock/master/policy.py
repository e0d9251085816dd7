"""What the master decides: `step(fleet, event, now) -> (fleet, actions)`, and nothing else.

Pure: no clock, no process, no file, no log. The loop turns what it sees into events and carries out the actions;
every reload, crash loop and timeout is tested with a fake clock and without a fork.

The rules in short:

- Old code leaves only when new code serves. A generation must import the app and have every worker ready before the
  one before it drains; if it does not come that far, the one before it goes on and nobody notices but the log.
- A worker's replacement is ready before the worker leaves, if its leaving was planned; if it was not, it is replaced
  at once, and later and later when that does not help. Nothing ever makes the master itself wait.
- A stop lets requests end for as long as the plan says; whoever asks again after a while does not want to wait.
"""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.ending import Ending
from penstock.master.fleet import Fleet, Generation, Rules, Timer, WorkerHandle
from penstock.master.gates import shortest
from penstock.master.rolling import Rolling
from penstock.master.stuck import Stuck
from penstock.master.turn import EXIT_FAILURE, EXIT_NO_APP, describe_status, same_worker
from penstock.master.upgrading import Upgrading
from penstock.values import replace

QUICK_DEATH_S = 5.0
"""A worker (or a generation's process) that lived for less counts as a failure of what it runs, not as an accident."""

BACKOFF_FIRST_S = 0.1
BACKOFF_LONGEST_S = 30.0
"""uWSGI sleeps two seconds in the master instead, and gunicorn respawns at once and burns a CPU."""

BACKOFF_SERVED_S = 1.0
"""The longest back-off of a worker that was ready before it died: a request that crashes its worker again and again
must not take the site from everybody else."""

END_MERCY_S = 5.0
"""How long the process of a generation may stay when its last worker is gone."""

GONE_MERCY_S = 10.0
"""How long a worker may live on after it closed its control pair: its `atexit` functions run in this time."""

START_TRIES = 5
"""So many times in a row a worker of the first generation may die before it is ready; then the start has failed. A
supervisor sees that, and nobody sees an instance that tries for ever."""

IMPORT_NOTICE_S = 30.0
"""How often a start that lasts is mentioned, and how old one must be to be given up for a reload that is asked for
meanwhile: without that, code that hangs while it is imported would keep its own cure out. Sooner, and reloads in quick
succession would never let one come through."""

MOST_RETIRING = 3
"""Generations that may still be finishing requests when another reload starts: each one holds a copy of the app."""


def step(fleet: Fleet, event: ev.Event, now: float) -> tuple[Fleet, tuple[act.Action, ...]]:
    """Decide what an event means.

    `now` is CLOCK_MONOTONIC in seconds and never goes back.
    """
    turn = _Turn(fleet, now)
    turn.take(event)
    turn.finish()
    return turn.fleet, tuple(turn.actions)


def backoff_s(failures: int) -> float:
    """Tell how long to wait before the next try after so many failures in a row.

    >>> [backoff_s(n) for n in (0, 1, 2, 3, 100)]
    [0.0, 0.1, 0.2, 0.4, 30.0]
    """
    if failures <= 0:
        return 0.0
    return min(BACKOFF_LONGEST_S, float(BACKOFF_FIRST_S * 2 ** min(failures - 1, 20)))


def with_traceback(traceback: str, reason: str) -> str:
    """Join a traceback and the reason, which often begins with the traceback's last line, without saying it twice.

    >>> with_traceback("Traceback:\\n  line 1\\nKeyError: 'a'\\n", "KeyError: 'a' at x.py:1")
    "Traceback:\\n  line 1\\nKeyError: 'a' at x.py:1"
    """
    before, _, last = traceback.rstrip().rpartition("\n")
    return "\n".join(part for part in (before, "" if reason.startswith(last) else last, reason) if part)


class _Turn(Stuck, Ending, Rolling, Upgrading):
    """One step: what each event means."""

    # --- events

    def take(self, event: ev.Event) -> None:
        """Apply one event."""
        if self.fleet.mode == "ended":
            return
        match event:
            case ev.Begin():
                self.start_generation(first=True, reread=False)
            case ev.Signal(name):
                self.signal(name)
            case ev.ReloadRequested(source, ticket, timeout_s):
                self.reload(source, () if ticket is None else (ticket,), timeout_s)
            case ev.Touched(path):
                self.log(f"*** {path} has been touched... reloading !!! ***")
                self.reload("touch-reload", ())
            case ev.StopRequested(now):
                if now:
                    self.stop("stop now")
                else:
                    self.end_gently("stop")
            case ev.PauseRequested(paused):
                self.pause(paused)
            case ev.GenerationStarted():
                self.generation_started(event)
            case ev.Imported():
                self.imported(event)
            case ev.ImportFailed():
                self.import_failed(event)
            case ev.GenerationExited(number, status):
                self.generation_exited(number, status)
            case ev.WorkerSpawned():
                self.worker_spawned(event)
            case ev.WorkerReady(generation, slot):
                self.worker_ready(generation, slot)
            case ev.WorkerChecking():
                self.worker_checking(event)
            case ev.WorkerFailed():
                self.worker_failed(event)
            case ev.WorkerRecycle():
                self.worker_recycle(event)
            case ev.WorkerClosed(generation, slot):
                self.worker_closed(generation, slot)
            case ev.WorkerExited():
                self.worker_exited(event)
            case ev.RequestStuck():
                self.request_stuck(event)
            case ev.RequestDetached():
                self.request_detached(event)
            case ev.WorkersReload(source, chain):
                self.reload_workers(source, chain)
            case ev.CodeChanged(what, others):
                more = f" (and {others} more)" if others else ""
                self.log(f"[py-auto-reload] {what}{more}: reloading")
                self.reload("py-auto-reload", ())
            case ev.SleepRequested(source):
                self.sleep(source)
            case ev.LoadMeasured(load):
                self.load_measured(load)
            case ev.WorkersRequested():
                self.workers_requested(event)
            case ev.ConnectionWaiting():
                self.connection_waiting()
            case ev.MemoryMeasured(workers):
                for one in workers:
                    self.memory_measured(one)
            case ev.ProgramStarted():
                self.program_started(event)
            case ev.ProgramNotStarted():
                self.program_not_started(event)
            case ev.ProgramExited():
                self.program_exited(event)
            case ev.ProgramSeen():
                self.program_seen(event)
            case ev.ProgramTouched(path):
                self.program_touched(path)
            case ev.AnswersCounted():
                self.answers_counted(event)
            case ev.RollbackRequested():
                self.rollback_requested(event)
            case ev.UpgradeRequested():
                self.upgrade_requested(event)
            case ev.UpgradeChecked():
                self.upgrade_checked(event)
            case ev.UpgradeFailed(reason):
                self.give_up_upgrade(reason)
            case ev.Upgraded():
                self.upgraded(event)
            case ev.Tick():
                self.tick()

    def finish(self) -> None:
        """Do what may have become possible, whatever the event was."""
        self.forget_empty_generations()
        fleet = self.fleet
        if fleet.mode == "serving" and fleet.reload_queued and self.retiring_count() < MOST_RETIRING:
            tickets, timeout_s = fleet.queued_tickets, fleet.queued_timeout_s
            self.fleet = replace(fleet, reload_queued=False, queued_tickets=(), queued_timeout_s=0.0)
            self.begin_reload("a reload that was asked for in the meantime", tickets, timeout_s)
        self.advance_recycling()
        self.relieve()
        self.advance_rolling()
        self.advance_upgrade()
        if self.fleet.mode == "stopping" or (self.fleet.mode == "draining" and not self.fleet.workers):
            self.stop_programs()
        parts = (self.fleet.workers, self.fleet.generations, self.fleet.programs)
        if self.fleet.mode in ("draining", "stopping") and not any(parts):
            self.fleet = replace(self.fleet, mode="ended", timers=())
            self.do(act.Exit(self.fleet.exit_status, self.fleet.may_return))

    # --- what people ask for

    def signal(self, name: str) -> None:
        match name:
            case "SIGHUP":
                self.log("SIGHUP received...")
                self.reload("SIGHUP", ())
            case "SIGTERM" if self.fleet.rules.term == "reload":
                self.log("SIGTERM received... it reloads here (die-on-term = false)")
                self.reload("SIGTERM", ())
            case "SIGTERM" | "SIGINT":
                self.fleet = replace(self.fleet, may_return=name == "SIGTERM")
                self.drain(name)
            case "SIGQUIT":
                self.stop(name)
            case "SIGUSR1":
                self.do(act.DumpStatistics())
            case "SIGTSTP":
                self.pause(not self.fleet.paused)
            case "SIGWINCH" | "SIGURG" | "SIGCHLD":
                pass  # Of no interest to most programs: a terminal that changes its size sends the first all the time.
            case _:
                self.log(f"{name} received: it means nothing here and is ignored")

    def reload(
        self, source: str, tickets: tuple[int, ...], timeout_s: float = 0.0, *, is_of_upgrade: bool = False
    ) -> None:
        fleet = self.fleet
        if fleet.is_leaving:
            self.log(f"reload ({source}) ignored: the instance is stopping")
            if tickets:
                self.do(act.AnswerReload(tickets, 0, ok=False, reason="the instance is stopping"))
        elif fleet.rules.exit_on_reload and not is_of_upgrade:
            self.log(f"reload ({source}): the instance ends instead (exit-on-reload)")
            self.fleet = replace(fleet, queued_tickets=fleet.queued_tickets + tickets)
            self.drain(source)
        elif fleet.mode == "serving" and self.retiring_count() < MOST_RETIRING:
            self.begin_reload(source, tickets, timeout_s)
        else:
            coming = fleet.coming() if fleet.mode == "reloading" else None
            hangs = coming is not None and not self.has_begun_to_serve(coming)
            if coming is not None and hangs and self.now - coming.started_at >= IMPORT_NOTICE_S:
                waited = f"it was not ready after {int(self.now - coming.started_at)} seconds"
                self.fail_reload(coming, f"{waited}, and {source} asks for another one", "")
                self.queue_reload(tickets, timeout_s)
                return
            if not fleet.reload_queued:
                waits_for = {
                    "starting": "the start is not over yet",
                    "reloading": "a reload is going on",
                }.get(fleet.mode, "several older generations are still finishing requests")
                self.log(f"reload ({source}) follows later: {waits_for}")
            self.queue_reload(tickets, timeout_s)

    def reload_for_upgrade(self, tickets: tuple[int, ...]) -> None:
        # With `exit-on-reload` too: who wants the instance to end does not ask for an upgrade.
        self.reload("upgrade", tickets, is_of_upgrade=True)

    def queue_reload(self, tickets: tuple[int, ...], timeout_s: float) -> None:
        """Leave a reload to `finish`, which begins it as soon as it may."""
        self.fleet = replace(
            self.fleet,
            reload_queued=True,
            queued_tickets=self.fleet.queued_tickets + tickets,
            queued_timeout_s=shortest(self.fleet.queued_timeout_s, timeout_s),
        )

    def pause(self, paused: bool) -> None:
        if self.fleet.mode in ("draining", "stopping"):
            self.log("pause and resume are ignored: the instance is stopping")
            return
        if self.fleet.paused == paused:
            return
        self.fleet = replace(self.fleet, paused=paused)
        if paused:
            self.log("*** PAUSE (send SIGTSTP again to resume) ***")
        else:
            self.log("*** RESUME ***")
        self.do(act.NotifySupervisor("status", "paused: connections wait" if paused else "resumed"))
        for handle in self.fleet.workers:
            # One that is starting hears it before it accepts.
            if not handle.is_held and handle.state in ("starting", "ready"):
                self.tell(handle, "pause" if paused else "resume")

    # --- generations

    def start_generation(self, first: bool, reread: bool) -> None:
        number = self.fleet.last_number + 1
        one = Generation(number, "starting", self.fleet.rules, self.now, is_reread=reread)
        self.fleet = replace(self.fleet, last_number=number, generations=(*self.fleet.generations, one))
        timeout_s = 0.0 if first else self.fleet.timeout_s
        self.do(act.StartGeneration(number, first=first, reread=reread, timeout_s=timeout_s))

    def begin_reload(self, source: str, tickets: tuple[int, ...], timeout_s: float = 0.0, reread: bool = True) -> None:
        number = self.fleet.last_number + 1
        self.fleet = replace(self.fleet, mode="reloading", tickets=tickets, timeout_s=timeout_s)
        self.clear_timers("replace")
        self.log(f"*** reloading ({source}): starting generation {number} beside the one that serves ***")
        self.do(act.NotifySupervisor("reloading", f"reloading: generation {number} is starting"))
        self.start_generation(first=False, reread=reread)

    def generation_started(self, event: ev.GenerationStarted) -> None:
        one = self.fleet.generation(event.generation)
        if one is None:
            return
        self.put_generation(replace(one, pid=event.pid, rules=event.rules))
        if one.state != "starting":
            # A stop came between the request and its answer.
            self.do(act.KillGeneration(one.number))
            return
        one = replace(one, state="importing", pid=event.pid, rules=event.rules)
        self.put_generation(self.choose_strategy(one, event.room))
        self.set_timer(IMPORT_NOTICE_S, "importing", generation=one.number)
        self.watch_start(one)
        self.limit_reload(one, one.started_at)

    def imported(self, event: ev.Imported) -> None:
        one = self.fleet.generation(event.generation)
        if one is None or one.state != "importing":
            return
        one = replace(one, state="ready", import_s=event.seconds, app_import_s=event.app_seconds)
        self.put_generation(one)
        if one.rules.only_loads:
            self.log(f"no-server: {one.rules.app or 'nothing'} was imported in {event.seconds:.1f} seconds. Goodbye.")
            self.fleet = replace(self.fleet, mode="serving")
            self.begin_end("stopping")
            return
        if event.lazy:
            self.log(f"generation {one.number} (pid: {one.pid}) lets each worker import the app itself (lazy-apps)")
        else:
            self.log(
                f"generation {one.number} (pid: {one.pid}) is ready to fork workers after {event.seconds:.1f} seconds"
            )
        if self.fleet.mode == "starting":
            self.start_programs(one.rules)
        self.commit_if_complete(self.first_workers(one))

    def import_failed(self, event: ev.ImportFailed) -> None:
        one = self.fleet.generation(event.generation)
        if one is None or not one.is_coming:
            return
        reason = event.reason
        if event.exit_code is not None and f"exit({event.exit_code}" not in reason:
            reason = f"the app called sys.exit({event.exit_code}) while it was imported: {reason}"
        if not event.logged:
            self.log(with_traceback(event.traceback, reason))
        if self.fleet.mode == "starting":
            self.fail_start(one, reason, event.traceback, event.status, leaving=True)
        else:
            self.fail_reload(one, reason, event.traceback, leaving=True, is_known=True)

    def generation_exited(self, number: int, status: int | None) -> None:
        one = self.fleet.generation(number)
        if one is None:
            return
        pid = one.pid
        one = replace(one, pid=0)
        self.put_generation(one)
        self.clear_timers("end", generation=number)
        self.forget_start(number)
        if one.is_coming:
            doing = f"importing {one.rules.app}" if one.state == "importing" and one.rules.app else "starting"
            name = f"the process of generation {number} (pid: {pid})"
            reason = f"{name} died while it was {doing}: {describe_status(status)}"
            if self.fleet.mode == "starting":
                self.log(reason)
                self.fail_start(one, reason, "", EXIT_NO_APP if one.state == "importing" else EXIT_FAILURE)
            else:
                self.fail_reload(one, reason, "")
        elif one.state == "serving":
            self.log(
                f"DAMN ! the process of generation {number} (pid: {pid}) died: {describe_status(status)}; "
                "its workers go on serving"
            )
            self.replace_generation(one)
        elif one.state == "parked":
            self.lost_while_parked(number)
        # Workers that were asked for and never forked: nobody will report them.
        for handle in self.fleet.workers_of(number):
            if not handle.pid and not handle.connected:
                self.bury(handle, None)

    def replace_generation(self, lost: Generation) -> None:
        """Start a generation for one whose process died, through the gates of a reload."""
        if self.fleet.mode != "serving":
            return
        quick = self.now - lost.started_at - lost.import_s < QUICK_DEATH_S
        failures = self.fleet.replacement_failures + 1 if quick else 0
        self.fleet = replace(self.fleet, replacement_failures=failures)
        delay = backoff_s(failures)
        if delay:
            self.set_timer(delay, "replace")
        else:
            self.begin_reload(f"generation {lost.number} lost its process", (), reread=False)

    def commit(self, one: Generation) -> None:
        """Every worker of a generation is ready: it serves, and what served before it leaves."""
        first = self.fleet.mode == "starting"
        self.take_over(one)
        before = [old for old in self.fleet.generations if old.state == "serving"]
        self.forget_start(one.number)
        self.put_generation(replace(one, state="serving"))
        tickets = self.fleet.tickets
        self.fleet = replace(
            self.fleet,
            mode="serving",
            rules=one.rules,
            tickets=(),
            records=tuple(replace(record, failures=0) for record in self.fleet.records),
        )
        self.do(act.CommitGeneration(one.number))
        self.release(one)
        # First of all: whoever is told that the reload is over shall meet no old code any more.
        self.succeed(one, before)
        self.settle(replace(one, state="serving"))
        if one.is_reread:
            self.reload_programs(one.rules)
        if first:
            self.do(act.AnnounceReady())
        else:
            self.log(f"*** generation {one.number} serves; {self.retiring_words(before)} ***")
        self.do(act.NotifySupervisor("ready", f"generation {one.number} serves"))
        if tickets:
            self.do(act.AnswerReload(tickets, one.number, ok=True))

    def retiring_words(self, before: list[Generation]) -> str:
        """Say what becomes of the generation that served before."""
        if not before:
            return "nothing served before it"
        parked = self.standing_by()
        does = "stands by" if parked and parked.number == before[0].number else "finishes what it has in flight"
        return f"generation {before[0].number} {does}"

    def retire(self, one: Generation) -> None:
        self.end_generation(one)
        for timer in ("respawn", "recycle"):
            self.clear_timers(timer, generation=one.number)
        for handle in self.fleet.workers_of(one.number):
            self.retire_worker(handle)

    def abandon(self, one: Generation, leaving: bool) -> None:
        """Take down a generation that never served; `leaving` if its process goes by itself."""
        if leaving:
            self.put_generation(replace(one, state="retiring"))
        else:
            self.end_generation(one)
        self.forget_start(one.number)
        self.clear_timers("respawn", generation=one.number)
        if one.pid:
            self.set_timer(END_MERCY_S, "end", generation=one.number)
        for handle in self.fleet.workers_of(one.number):
            self.stop_worker(handle)

    def fail_start(self, one: Generation, reason: str, traceback: str, status: int, leaving: bool = False) -> None:
        """End the instance: it has never served. The reason is in the log already."""
        self.do(act.AnnounceFailure(status, with_traceback(traceback, reason)))
        waiting = self.fleet.tickets + self.fleet.queued_tickets
        self.fleet = replace(
            self.fleet,
            mode="stopping",
            ending_since=self.now,
            exit_status=status,
            timers=self.timers_of_the_end(),
            tickets=(),
            reload_queued=False,
            queued_tickets=(),
        )
        if waiting:
            self.do(act.AnswerReload(waiting, 0, ok=False, reason=reason, error=traceback))
        self.do(act.NotifySupervisor("stopping", reason, exit_status=status))
        self.do(act.CloseListeners())
        self.abandon(one, leaving)

    def fail_reload(
        self, one: Generation, reason: str, traceback: str, leaving: bool = False, is_known: bool = False
    ) -> None:
        """Give up a generation that was to replace the one that serves, which goes on.

        `is_known`: the log has the reason already.
        """
        serving = self.fleet.serving()
        keeps = f"generation {serving.number} keeps serving" if serving else "no generation serves"
        because = "" if is_known else f" ({reason})"
        self.log(f"*** the reload failed: generation {one.number} is given up, {keeps}{because} ***")
        tickets = self.fleet.tickets
        self.fleet = replace(self.fleet, mode="serving", tickets=())
        self.do(act.NotifySupervisor("ready", f"a reload failed, {keeps}: {reason}"))
        if tickets:
            number = serving.number if serving else 0
            # What to do about it may follow in lines of its own.
            first, newline, rest = reason.partition("\n")
            more = newline + rest
            self.do(act.AnswerReload(tickets, number, ok=False, reason=f"{first}; {keeps}{more}", error=traceback))
        if not self.roll_back(one):
            self.abandon(one, leaving)
        if serving is not None:
            self.restore(serving, one)
        if serving is not None and not serving.pid:
            failures = self.fleet.replacement_failures + 1
            self.fleet = replace(self.fleet, replacement_failures=failures)
            delay = backoff_s(failures)
            self.log(
                f"generation {serving.number}, which has lost its process, is tried to replace in {delay:g} seconds"
            )
            self.set_timer(delay, "replace")

    def reload_too_late(self, one: Generation, reason: str) -> None:
        # Its process has to stay for as long as it takes to write its stacks.
        self.fail_reload(one, reason, "", leaving=one.state == "importing")

    def forget_empty_generations(self) -> None:
        """Release generations that left; see to it that their processes do leave."""
        for one in self.fleet.generations:
            if one.state != "retiring" or self.fleet.workers_of(one.number):
                continue
            if not one.pid:
                self.fleet = replace(
                    self.fleet,
                    generations=tuple(other for other in self.fleet.generations if other.number != one.number),
                    timers=tuple(timer for timer in self.fleet.timers if timer.generation != one.number),
                )
                self.do(act.ForgetGeneration(one.number))
            elif not any(timer.kind == "end" and timer.generation == one.number for timer in self.fleet.timers):
                self.set_timer(END_MERCY_S, "end", generation=one.number)

    def retiring_count(self) -> int:
        return sum(one.state == "retiring" for one in self.fleet.generations)

    # --- workers

    def worker_spawned(self, event: ev.WorkerSpawned) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is None:
            return
        handle = replace(handle, pid=event.pid)
        self.put_worker(handle)
        one = self.fleet.generation(event.generation)
        cores = one.rules.threads if one else self.fleet.rules.threads
        self.log(f"spawned worker {handle.worker} (pid: {handle.pid}, cores: {cores})")
        if handle.state == "killed":
            self.do(act.SignalWorker(handle.generation, handle.slot, "KILL"))
        elif one is not None:
            self.commit_if_complete(one)

    def worker_ready(self, generation: int, slot: int) -> None:
        handle = self.fleet.worker(generation, slot)
        one = self.fleet.generation(generation)
        if handle is None or one is None or handle.state != "starting":
            return
        handle = replace(handle, state="ready")
        self.put_worker(handle)
        self.clear_timers("gate", generation, slot)
        self.limit_lifetime(handle)
        if self.fleet.paused and not handle.is_held:
            self.tell(handle, "pause")
        if self.fleet.says_farewell:
            self.tell(handle, "farewell")
        if handle.replaces >= 0:
            old = self.fleet.worker(generation, handle.replaces)
            if old is not None and old.worker == handle.worker:
                self.log(f"worker {old.worker} (pid: {old.pid}) is replaced ({old.recycle}) and finishes its requests")
                self.retire_worker(old)
            self.put_worker(replace(handle, replaces=-1))
        if handle.worker in one.failed_workers:
            one = replace(one, failed_workers=tuple(w for w in one.failed_workers if w != handle.worker))
            self.put_generation(one)
        self.take_place(handle, one)
        self.commit_if_complete(one)

    def commit_if_complete(self, one: Generation) -> None:
        """Let a generation serve once each of its workers is ready and known by its pid."""
        ready = {other.worker for other in self.fleet.workers_of(one.number) if other.state == "ready" and other.pid}
        if one.state == "ready" and ready >= set(range(1, one.required + 1)):
            self.commit(one)

    def worker_failed(self, event: ev.WorkerFailed) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        one = self.fleet.generation(event.generation)
        if handle is None or one is None:
            return
        last = event.traceback.rstrip().rpartition("\n")[2]
        handle = replace(handle, verdict="failed", cause=f"{event.reason}: {last}" if last else event.reason)
        self.put_worker(handle)
        self.break_chain(handle)
        reason = f"worker {handle.worker} (pid: {handle.pid}): {event.reason}"
        self.clear_timers("gate", handle.generation, handle.slot)
        if one.state == "retiring":
            return
        if one.state == "ready" and self.fleet.mode == "reloading":
            self.fail_reload(one, reason, event.traceback)
            return
        failed = tuple(sorted({*one.failed_workers, handle.worker}))
        self.put_generation(replace(one, failed_workers=failed))
        if self.fleet.mode == "starting" and one.rules.need_app and len(failed) >= one.required:
            self.fail_start(replace(one, failed_workers=failed), reason, event.traceback, EXIT_NO_APP)
            return
        if self.fleet.mode not in ("draining", "stopping"):
            what = "failed loading app in" if event.is_import else "the app does not pass in"
            self.log(f"OOPS ! {what} worker {handle.worker} (pid: {handle.pid}) :( trying again...")

    def worker_closed(self, generation: int, slot: int) -> None:
        handle = self.fleet.worker(generation, slot)
        one = self.fleet.generation(generation)
        if handle is None or not handle.connected:
            return
        self.put_worker(replace(handle, connected=False))
        if not handle.pid and (one is None or not one.pid):
            self.bury(handle, None)
        else:
            self.set_timer(GONE_MERCY_S, "gone", generation, slot)

    def worker_exited(self, event: ev.WorkerExited) -> None:
        handle = self.fleet.worker(event.generation, event.slot)
        if handle is not None and handle.pid == event.pid:
            self.bury(handle, event.status)

    def bury(self, handle: WorkerHandle, status: int | None) -> None:
        """A worker is gone: free its slot and decide whether another one takes its place."""
        self.fleet = replace(
            self.fleet,
            workers=tuple(one for one in self.fleet.workers if one is not handle and not same_worker(one, handle)),
            timers=tuple(
                timer
                for timer in self.fleet.timers
                if timer.slot < 0 or (timer.generation, timer.slot) != (handle.generation, handle.slot)
            ),
        )
        self.do(act.ReleaseSlot(handle.generation, handle.slot, handle.worker))
        one = self.fleet.generation(handle.generation)
        name = f"worker {handle.worker}"
        if self.fleet.mode in ("draining", "stopping"):
            self.log(f"{name} buried after {int(self.now - self.fleet.ending_since)} seconds")
            return
        if one is None or one.state == "retiring":
            self.log(f"{name} of generation {handle.generation} killed successfully (pid: {handle.pid})")
            return
        if one.state == "parked":
            end = describe_status(status)
            self.log(f"{name} of generation {one.number}, which stands by, is gone (pid: {handle.pid}): {end}")
            self.lost_while_parked(one.number)
            return
        if handle.verdict == "cheap":
            self.log(f"{name} cheaped (pid: {handle.pid})")
        elif handle.state == "draining":
            self.log(f"{name} killed successfully (pid: {handle.pid})")
        elif handle.verdict in ("", "harakiri", "evil"):
            end = describe_status(status)
            self.log(f"DAMN ! {name} (pid: {handle.pid}) died, {end} :( trying respawn ...")
        if handle.state != "draining" and handle.verdict in ("", "failed") and self.went_back(handle, status):
            return
        if one.state == "ready" and self.fleet.mode == "reloading":
            self.fail_reload(
                one, f"{name} (pid: {handle.pid}) died before the reload was over: {describe_status(status)}", ""
            )
            return
        self.respawn(one, handle, handle.cause or describe_status(status))

    def respawn(self, one: Generation, gone: WorkerHandle, end: str) -> None:
        """See to it that an id has a worker again: now, later, or when the generation is replaced."""
        others = [other for other in self.fleet.workers_of(one.number) if other.worker == gone.worker]
        if not self.is_wanted(one, gone.worker):
            return
        if any(other.state in ("starting", "ready") for other in others) and gone.replaces < 0:
            return
        if gone.state == "starting":
            self.break_chain(gone)
        record = self.fleet.record(gone.worker)
        too_large = gone.verdict == "evil"
        surprise = gone.state in ("starting", "ready") or too_large
        # One that never came to serve has failed, however long it took.
        has_failed = (surprise and self.now - gone.spawned_at < QUICK_DEATH_S) or gone.verdict == "failed"
        failures = record.failures + 1 if has_failed else 0
        cause = (record.cause if record.failures else end) if failures else ""
        self.put_record(replace(record, failures=failures, cause=cause))
        if (
            self.fleet.mode == "starting"
            and one.rules.need_app
            and failures >= START_TRIES
            and gone.state == "starting"
        ):
            reason = f"worker {gone.worker} died {failures} times in a row before it was ready, the first time: {cause}"
            self.log(f"*** the start failed: {reason} ***")
            self.fail_start(one, reason, "", EXIT_FAILURE)
            return
        if not one.pid:
            self.log(f"worker {gone.worker} comes back when generation {one.number} is replaced: its process is gone")
            return
        delay = backoff_s(failures)
        if gone.state == "ready" or too_large:
            delay = min(delay, BACKOFF_SERVED_S)
        if any(other.state in ("starting", "ready") for other in others):
            # It was a replacement; the worker that it should have replaced still serves.
            if delay:
                self.set_timer(delay, "respawn", one.number, -1, gone.worker)
        elif delay:
            if failures > 1:
                self.log(
                    f"worker {gone.worker} dies too fast ({failures} times in a row, the first time: {cause}): "
                    f"the next try is in {delay:g} seconds"
                )
            self.set_timer(delay, "respawn", one.number, -1, gone.worker)
        elif not self.spawn(one, gone.worker):
            self.set_timer(BACKOFF_FIRST_S, "respawn", one.number, -1, gone.worker)

    # --- time

    def tick(self) -> None:
        due = sorted((one for one in self.fleet.timers if one.at <= self.now), key=lambda one: one.at)
        for timer in due:
            if timer in self.fleet.timers:
                self.fleet = replace(self.fleet, timers=tuple(one for one in self.fleet.timers if one is not timer))
                self.fire(timer)

    def fire(self, timer: Timer) -> None:
        handle = self.fleet.worker(timer.generation, timer.slot) if timer.slot >= 0 else None
        one = self.fleet.generation(timer.generation)
        match timer.kind:
            case "kill":
                if handle is not None:
                    if handle.verdict not in ("harakiri", "evil", "failed"):
                        self.log(
                            f"worker {handle.worker} (pid: {handle.pid}) is taking too much time to die...NO MERCY !!!"
                        )
                        self.put_worker(replace(handle, verdict="mercy"))
                        handle = replace(handle, verdict="mercy")
                    self.kill_worker(handle)
            case "gone":
                if handle is not None:
                    if handle.pid:
                        self.do(act.SignalWorker(handle.generation, handle.slot, "KILL"))
                    self.bury(handle, None)
            case "respawn":
                self.fire_respawn(timer)
            case "gate":
                if handle is not None:
                    self.gate_overdue(handle)
            case "overdue":
                if one is not None:
                    self.reload_overdue(one)
            case "end":
                if one is not None and one.pid:
                    self.do(act.KillGeneration(one.number))
            case "replace":
                if self.fleet.mode == "serving" and not self.fleet.is_leaving:
                    self.begin_reload("the generation that serves has lost its process", (), reread=False)
            case "program":
                self.program_due(timer.program)
            case "program-kill":
                self.program_overdue(timer.program)
            case "importing":
                if one is not None and one.is_coming:
                    self.mention_slow_start(one)
            case "check":
                self.check_overdue()
            case "extend":
                if one is not None:
                    self.extend_start(one)
            case "age":
                if handle is not None:
                    self.lifetime_reached(handle)
            case "drain":
                self.begin_drain("drain-delay")
            case "watch":
                self.watch_is_over()
            case "recycle":
                pass  # `finish` looks for workers whose time has come.

    def mention_slow_start(self, one: Generation) -> None:
        """Say what a generation that is not complete yet waits for, and how to get rid of it."""
        waits = "is still importing the app"
        if one.state == "ready":
            ready = {other.worker for other in self.fleet.workers_of(one.number) if other.state == "ready"}
            missing = [str(worker) for worker in range(1, one.required + 1) if worker not in ready]
            waits = f"still waits for worker {', '.join(missing)}"
        cure = "; another reload would give it up" if self.fleet.mode == "reloading" else ""
        self.log(
            f"generation {one.number} (pid: {one.pid}) {waits} after {int(self.now - one.started_at)} seconds{cure}"
        )
        self.set_timer(IMPORT_NOTICE_S, "importing", generation=one.number)

    def fire_respawn(self, timer: Timer) -> None:
        one = self.fleet.generation(timer.generation)
        if one is None or not one.pid or one.state not in ("ready", "serving"):
            return
        alive = [other for other in self.fleet.workers_of(one.number) if other.worker == timer.worker]
        if any(other.state in ("starting", "ready") for other in alive):
            return
        if not self.spawn(one, timer.worker):
            self.set_timer(1.0, "respawn", one.number, -1, timer.worker)


def new_fleet(rules: Rules) -> Fleet:
    """Make the fleet of an instance that has not begun."""
    return Fleet(rules)
