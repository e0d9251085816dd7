"""The master's loop: it turns what happens into events and carries out actions. It decides nothing.

One thread, one selector, nothing that waits: signals, channels, control pairs, the control socket and the statistics
socket are descriptors; ends of processes are reaped in one place; the time until the next look is the fleet's.
"""

from __future__ import annotations

import fcntl
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import penstock
from penstock.master import actions as act
from penstock.master import control, kept, launch, log
from penstock.master import events as ev
from penstock.master.code_link import CodeLink
from penstock.master.daemon import Starter
from penstock.master.errors import StartError
from penstock.master.fifo import MasterFifo
from penstock.master.fleet import Fleet, Rules, slots_for, to_json
from penstock.master.gates import shortest
from penstock.master.generation_link import GenerationLink, WorkerLink, memory_file, start_document
from penstock.master.load import LOAD_INTERVAL_S, LiveWorker, LoadMeter, handed_over, room_beside
from penstock.master.logs import Logs
from penstock.master.long_requests import LongRequests, are_limited
from penstock.master.luggage import Luggage, Unpacked
from penstock.master.notify import Supervisor
from penstock.master.overview import overview
from penstock.master.packing import Before, Packing
from penstock.master.policy import new_fleet, step
from penstock.master.privileges import Identity
from penstock.master.probes import Look, Probes
from penstock.master.processes import BOOT, FIRST_HIGH_FD, STACKS_SIGNAL, ProcessRef, spawn_generation
from penstock.master.programs import Programs, running_pid
from penstock.master.reading import READ_MOST_S, Outcome, Reading
from penstock.master.rereading import Reread, needs_restart
from penstock.master.signals import SignalReader, name_of
from penstock.master.sockets import BoundListener, bind_all, is_same_address
from penstock.master.stuck import parse_detached
from penstock.master.supervision import is_healthy
from penstock.master.touch import INTERVAL_S, TouchWatch
from penstock.master.trial import Trial
from penstock.master.turn import EXIT_NO_APP
from penstock.master.waits import Queued
from penstock.observe.proc import listen_queue, memory_bytes
from penstock.observe.scoreboard import Layout, Scoreboard
from penstock.observe.stats import Ended, InstanceView, document, dump_lines, to_text
from penstock.observe.stats_server import StatsServer
from penstock.plan.python import not_started
from penstock.plan.types import Plan
from penstock.server_log import LOG
from penstock.values import dataclass, replace

EXIT_RELOAD_FAILED = 3
"""For the command that waits for a reload."""

SETTLE_S = 0.5
"""How long clients of statistics and probes may take to end before an upgrade."""

COUNT_INTERVAL_S = 0.5
"""How often answers are counted while a new generation is watched."""


@dataclass(slots=True)
class Belongings:
    """What a master is given: what was made before privileges were dropped, and its surroundings."""

    plan: Plan
    reread: Reread
    layout: Layout
    listeners: tuple[BoundListener, ...]
    starter: Starter
    supervisor: Supervisor
    owner: tuple[int, int] | None = None
    """uid and gid of what is made on disk; None for this process's own."""
    stats: BoundListener | None = None
    admin: BoundListener | None = None
    control: tuple[socket.socket, Path] | None = None
    boot: Path = BOOT
    """What the interpreter of a generation runs."""
    clock: Callable[[], float] = time.monotonic
    logs: Logs | None = None
    """None: the log is descriptor 2, and nothing is done about it."""
    become: Identity | None = None
    """Who runs foreign code, where the master stays root."""
    when_ready: Callable[[], None] = lambda: None
    """What is done when the instance is ready, before anybody is told."""
    pack_pid_files: Callable[[Luggage], Any] = lambda luggage: []
    """Packs them for an upgrade."""
    begun: Mapping[str, Any] = MappingProxyType({"cwd": "/"})
    """What the command line of another version needs to go on: at least the directory that it was started in."""
    before: Before | None = None
    """What an earlier program of this process has handed over."""


class Master(Packing):
    """One instance's master while it runs."""

    _given: Belongings

    def __init__(self, given: Belongings, unpacked: Unpacked | None = None) -> None:
        """Be given what there is; `unpacked` are the descriptors of what an earlier program has handed over."""
        self.fleet: Fleet = new_fleet(Rules.of(given.plan))
        self._given = given
        self._plan = given.plan
        self._listeners = given.listeners
        self._clock = given.clock
        self._selector = selectors.DefaultSelector()
        self._links: dict[int, GenerationLink] = {}
        self._events: deque[ev.Event] = deque()
        self._is_deciding = False
        self._exit: int | None = None
        self._ended: dict[int, Ended] = {}
        """Sums of the workers that are gone, by worker id."""
        self._notes: list[str] = []
        """What is to be said about the reload that is going on, beside its outcome."""
        self._long_requests = LongRequests(self._clock())
        self._touch = TouchWatch(given.plan.touch_reload)
        self._touch_reopen = TouchWatch(given.plan.log.touch_reopen)
        self._touch_rotate = TouchWatch(given.plan.log.touch_rotate)
        self._next_touch = self._clock() + INTERVAL_S
        asking = given.plan.asking
        self._touch_workers = TouchWatch(asking.touch_workers), TouchWatch(asking.touch_chain)
        self._next_touch_workers = self._clock() + INTERVAL_S
        self._code = CodeLink(self._selector, self.take)
        before = given.before
        self._trial: Trial | None = None
        # An upgrade hands them over.
        fifos = asking.fifos if before is None else ()
        self._fifo = MasterFifo(fifos, log.write, {"l": lambda: self.reopen_logs(is_asked=True), "L": self.rotate_logs})
        self._next_memory = self._clock()
        self._load = LoadMeter()
        self._next_load = self._clock() + LOAD_INTERVAL_S
        self._next_count = self._clock()
        self._reading: tuple[act.StartGeneration, Reading] | None = None
        """The configuration is being read for a generation."""
        self._watched: list[socket.socket] = []
        """Listeners at which somebody may knock while there are no workers."""
        self._programs = Programs(given.become, given.logs.program_fd if given.logs is not None else 2)
        self._touch_hooks = TouchWatch(one.path for one in given.plan.hooks.at("touch"))
        self._touch_programs = TouchWatch(given.plan.programs.touched)
        if before is None or unpacked is None:
            self._lifeline_read, self._lifeline_write = os.pipe2(os.O_CLOEXEC)
            self._handoff = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
            self._locks_fd = os.memfd_create("penstock-locks", os.MFD_CLOEXEC)
        else:
            self._lifeline_read, self._lifeline_write = before.packed["lifeline"]
            receive, send = before.packed["handoff"]
            self._handoff = unpacked.socket(receive), unpacked.socket(send)
            self._locks_fd = before.packed["locks"]
        self._stats: StatsServer | None = None
        if given.stats is not None:
            self._stats = StatsServer(
                given.stats.socket, self._selector, self.stats_text, self._clock, given.plan.stats_form.http
            )
        self._probes: Probes | None = None
        if given.admin is not None:
            self._probes = Probes(given.admin.socket, self._selector, self._look, self._clock)
        self._control: control.ControlServer | None = None
        if given.control is not None:
            listener, path = given.control
            self._control = control.ControlServer(listener, path, self._selector, self._command, self._clock)
        if before is not None and unpacked is not None:
            self.unpack(before, unpacked, self._hear_link)
        self._watch_fifo()

    def _hear_link(self, link: GenerationLink) -> None:
        self._selector.register(link.channel, selectors.EVENT_READ, lambda mask: self._channel_ready(link, mask))
        for worker in link.workers.values():
            self._hear_control(link, worker)

    def _hear_control(self, link: GenerationLink, worker: WorkerLink) -> None:
        self._selector.register(worker.control, selectors.EVENT_READ, lambda mask: self._hear_worker(link, worker))

    @property
    def plan(self) -> Plan:
        """The plan of what serves, or of the start."""
        return self._plan

    @property
    def become(self) -> Identity | None:
        """Who runs foreign code, where the master stays root."""
        return self._given.become

    def run(self, signals: SignalReader) -> int:
        """Run the instance to its end; return the exit status."""
        signals.register(self._selector, self._signals)
        if self._given.before is None:
            self.take(ev.Begin())
        else:
            # Who has ended meanwhile is not told by a signal again.
            self._reap()
            self._watch_listeners(self.fleet.scaling.is_asleep)
            self.take(ev.Upgraded(self._given.before.version, penstock.__version__))
        while self._exit is None:
            for key, mask in self._selector.select(self._patience_s()):
                # What was handled before in this round may have closed or replaced it.
                now = self._selector.get_map().get(key.fd)
                if now is not None and now.fileobj is key.fileobj:
                    now.data(mask)
            self._look_around()
            while self.fleet.upgrade == "going":
                self._upgrade(signals)
        return self._exit

    def _upgrade(self, signals: SignalReader) -> None:
        """Become the new program, unless a signal has come that nobody has seen yet."""
        # Clients of the control socket go over with what they wait for; these are done in a moment.
        for server in (self._stats, self._probes):
            if server is not None:
                server.settle(SETTLE_S)
        with signals.held_back():
            numbers = signals.read()
            if not numbers:
                self.upgrade()
        self._signals(numbers)

    def take(self, event: ev.Event) -> None:
        """Let the policy decide about an event, and do what it says. What that brings about comes after it."""
        self._events.append(event)
        if self._is_deciding:
            return
        self._is_deciding = True
        try:
            while self._events and self._exit is None:
                self.fleet, actions = step(self.fleet, self._events.popleft(), self._clock())
                for action in actions:
                    self._carry_out(action)
        finally:
            self._is_deciding = False

    # --- time

    def _patience_s(self) -> float | None:
        deadlines = [self.fleet.next_deadline(), self._given.supervisor.next_deadline()]
        deadlines += [server.next_deadline() for server in self._servers() if server is not None]
        if self._looks_at_files():
            deadlines.append(self._next_touch)
        if are_limited(self._links):
            deadlines.append(self._long_requests.next_look)
        if any(self._touch_workers):
            deadlines.append(self._next_touch_workers)
        if self._plan.recycling.looks_at_memory:
            deadlines.append(self._next_memory)
        if self._plan.scaling.needs_load:
            deadlines.append(self._next_load)
        if self.fleet.watch.generation:
            deadlines.append(self._next_count)
        if self._reading is not None:
            deadlines.append(self._reading[1].deadline)
        known = [one for one in deadlines if one is not None]
        return max(0.0, min(known) - self._clock()) if known else None

    def _look_around(self) -> None:
        now = self._clock()
        if self._looks_at_files() and now >= self._next_touch:
            self._next_touch = now + INTERVAL_S
            self._look_at_logs(now)
            for path in self._touch.changed():
                self.take(ev.Touched(path))
            for path in self._touch_hooks.changed():
                done = [one for one in self._plan.hooks.at("touch") if one.path == path]
                self._programs.touched(done, self._plan.app)
            for path in self._touch_programs.changed():
                self.take(ev.ProgramTouched(path))
        if are_limited(self._links) and now >= self._long_requests.next_look:
            for stuck in self._long_requests.look(now, self.fleet.workers, self._links, self._waiting):
                self.take(stuck)
        if any(self._touch_workers) and now >= self._next_touch_workers:
            self._next_touch_workers = now + INTERVAL_S
            for chain, watch in enumerate(self._touch_workers):
                for path in watch.changed():
                    self.take(ev.WorkersReload(f"{path} has been touched", chain=bool(chain)))
        if self._plan.recycling.looks_at_memory and now >= self._next_memory:
            self._next_memory = now + self._plan.recycling.memory_interval_s
            self._look_at_memory()
        if self._plan.scaling.needs_load and now >= self._next_load:
            self._next_load = now + LOAD_INTERVAL_S
            self._look_at_load()
        if self.fleet.watch.generation and now >= self._next_count:
            self._next_count = now + COUNT_INTERVAL_S
            counts = [ev.Answered(link.number, *link.answered()) for link in self._links.values()]
            self.take(ev.AnswersCounted(tuple(counts)))
        if self._reading is not None and now >= self._reading[1].deadline:
            self._has_read(self._reading[1].give_up())
        for server in self._servers():
            if server is not None:
                server.expire()
        self._given.supervisor.expire(is_healthy(self.fleet))
        deadline = self.fleet.next_deadline()
        if deadline is not None and deadline <= self._clock():
            self.take(ev.Tick())

    def _servers(self) -> tuple[StatsServer | None, control.ControlServer | None, Probes | None]:
        return self._stats, self._control, self._probes

    def _watch_fifo(self) -> None:
        if self._fifo.fileno() >= 0:
            self._selector.register(self._fifo.fileno(), selectors.EVENT_READ, self._fifo_ready)

    def _fifo_ready(self, mask: int) -> None:
        before = self._fifo.fileno()
        commands = self._fifo.read()
        if self._fifo.fileno() != before:
            self._selector.unregister(before)
            self._watch_fifo()
        for event in commands:
            self.take(event)

    def _look_at_memory(self) -> None:
        known = [one for one in self.fleet.workers if one.pid]
        sizes = [ev.WorkerMemory(one.generation, one.slot, *memory_bytes(one.pid)) for one in known]
        self.take(ev.MemoryMeasured(tuple(sizes)))

    def _look_at_load(self) -> None:
        plan, look = self._plan.scaling, self._look()
        workers = look.workers
        if plan.rss_soft_bytes or plan.rss_hard_bytes:
            workers = [replace(one, rss_bytes=memory_bytes(one.handle.pid)[0]) for one in workers]
        ended = sum(one.requests for one in self._ended.values())
        queued = Queued(look.backlog, look.handed_over, look.ended_accepted)
        load = self._load.measure(self.fleet, workers, queued, ended, look.now_us)
        self.take(ev.LoadMeasured(load))

    def _waiting(self) -> int:
        look = self._look()
        return look.backlog + look.handed_over

    def _look(self) -> Look:
        workers = []
        for handle in self.fleet.workers:
            link = self._links.get(handle.generation)
            if link is not None and handle.pid:
                cells, threads = link.scoreboard.worker(handle.slot), link.scoreboard.threads_of(handle.slot, False)
                workers.append(LiveWorker(handle, cells, threads))
        queues = [listen_queue(one.socket) for one in self._listeners if one.socket.fileno() >= 0]
        return Look(
            self.fleet,
            workers,
            sum(waiting for waiting, _ in queues),
            sum(most for _, most in queues),
            handed_over(self._handoff[0], (one.name for one in self._listeners)),
            sum(one.accepted for one in self._ended.values()),
            time.monotonic_ns() // 1000,
        )

    def _watch_listeners(self, watched: bool) -> None:
        for one in self._watched:
            self._unregister(one)
        self._watched = [one.socket for one in self._listeners if one.socket.fileno() >= 0] if watched else []
        for one in self._watched:
            self._selector.register(one, selectors.EVENT_READ, lambda mask: self.take(ev.ConnectionWaiting()))

    # --- logs

    def _looks_at_files(self) -> bool:
        return bool(
            self._touch
            or self._touch_reopen
            or self._touch_programs
            or self._touch_hooks
            or self._touch_rotate
            or (self._given.logs is not None and self._given.logs.watches_sizes)
        )

    def _look_at_logs(self, now: float) -> None:
        if self._touch_reopen.changed():
            self.reopen_logs(is_asked=True)
        if self._touch_rotate.changed():
            self.rotate_logs()
        if self._given.logs is not None and self._given.logs.rotate_large(now):
            self._pass_logs_on(self._given.logs)

    def reopen_logs(self, is_asked: bool) -> None:
        """Let every process go on in the files that have the logs' names now."""
        if self._given.logs is not None and self._given.logs.reopen(is_asked):
            self._pass_logs_on(self._given.logs)

    def rotate_logs(self) -> None:
        """Give the log files other names, and let every process go on in new ones."""
        if self._given.logs is not None and self._given.logs.rotate_all(self._clock()):
            self._pass_logs_on(self._given.logs)

    def _pass_logs_on(self, logs: Logs) -> None:
        descriptors = logs.descriptors()
        for link in self._links.values():
            self._send(link, {"op": "reopen-logs"}, descriptors)
            for worker in link.workers.values():
                worker.give_logs(descriptors)

    # --- events: signals and ends of processes

    def _signals(self, numbers: list[int]) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._reap()
            else:
                self.take(ev.Signal(name_of(number)))

    def _reap(self) -> None:
        """Collect every child that has ended: generations, their orphans, and as PID 1 anybody's."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._gone(pid, status)

    def _gone(self, pid: int, status: int) -> None:
        if self._trial is not None and self._trial.pid == pid:
            trial, self._trial = self._trial, None
            self.take(ev.UpgradeChecked(*trial.end(status)))
            return
        number = self._programs.gone(pid, status)
        if number:
            self.take(ev.ProgramExited(number, status))
            return
        for link in self._links.values():
            if link.pid == pid:
                # Its last words are in the channel.
                self._hear_generation(link)
                link.pid = 0
                self.take(ev.GenerationExited(link.number, status))
                return
            for worker in link.workers.values():
                if worker.pid == pid:
                    self._worker_gone(link, worker.slot, pid, status)
                    return

    def _worker_gone(self, link: GenerationLink, slot: int, pid: int, status: int | None) -> None:
        worker = link.workers.get(slot)
        # Its fork was reported before (0 if there was none): another number belongs to one who had the slot earlier.
        if worker is not None and worker.pid == pid:
            self._hear_worker(link, worker)
            self.take(ev.WorkerExited(link.number, slot, pid, status))

    # --- events: what generations and workers say

    def _hear_generation(self, link: GenerationLink) -> None:
        messages, is_open = link.receive()
        for message in messages:
            self._generation_said(link, message)
        if not is_open:
            self._unregister(link.channel)

    def _generation_said(self, link: GenerationLink, message: dict[str, Any]) -> None:
        match message.get("event"):
            case "imported":
                seconds = float(message.get("seconds", 0.0))
                apps = tuple(float(each) for each in message.get("app_seconds", ()))
                self.take(ev.Imported(link.number, seconds, lazy=bool(message.get("lazy")), app_seconds=apps))
            case "import-failed":
                exit_code = message.get("exit_code")
                self._code.failed(link.plan.asking.code_interval_s, str(message.get("traceback")))
                self.take(
                    ev.ImportFailed(
                        link.number,
                        str(message.get("reason") or "the app could not be imported"),
                        str(message.get("traceback") or ""),
                        exit_code if isinstance(exit_code, int) else None,
                        int(message.get("status", EXIT_NO_APP)),
                        logged=True,
                    )
                )
            case "spawned":
                worker = link.workers.get(message["slot"])
                if worker is not None and worker.process is None:
                    worker.process = ProcessRef(message["pid"])
                    self.take(ev.WorkerSpawned(link.number, message["slot"], message["pid"]))
            case "exited":
                self._worker_gone(link, message["slot"], message["pid"], message["status"])
            case other:
                log.write(f"generation {link.number} (pid: {link.pid}) said what nobody understands: {other!r}")

    def _hear_worker(self, link: GenerationLink, worker: WorkerLink) -> None:
        messages, is_open = worker.receive()
        for message in messages:
            if link.workers.get(worker.slot) is not worker:
                return
            try:
                event = self._worker_said(link, worker, message)
            except ValueError:
                # After an upgrade workers of another version are there for a while.
                log.write(f"worker {worker.worker} (pid: {worker.pid}) said what nobody understands: {message!r}")
                continue
            if event is not None:
                self.take(event)
        if not is_open:
            self._unregister(worker.control)
            if link.workers.get(worker.slot) is worker:
                self.take(ev.WorkerClosed(link.number, worker.slot))

    def _worker_said(self, link: GenerationLink, worker: WorkerLink, message: str) -> ev.Event | None:
        """Make an event of one message; None if it is not for the policy.

        Raises:
            ValueError: nobody understands it.
        """
        word, _, rest = message.partition(" ")
        match word:
            case "modules":
                self._code.tell(link.number, link.plan.asking.code_interval_s, rest)
                return None
            case "ready":
                return ev.WorkerReady(link.number, worker.slot)
            case "checking":
                return ev.WorkerChecking(link.number, worker.slot)
            case "failed" | "unfit":
                reason, _, details = rest.partition("\n")
                self._code.failed(link.plan.asking.code_interval_s, details)
                return ev.WorkerFailed(link.number, worker.slot, details, reason, word == "failed")
            case "recycle":
                return ev.WorkerRecycle(link.number, worker.slot, rest)
            case "harakiri":
                return parse_detached(link.number, worker.slot, rest)
            case "stacks":
                self._long_requests.keep(worker.worker, rest)
                return None
            case _:
                raise ValueError(message)

    # --- events: the control socket

    def _command(self, client: control.Client, request: dict[str, Any]) -> None:
        done = {"ok": True, "status": 0}
        server = self._control
        if server is None:
            return
        match request["command"]:
            case "status":
                addresses = [one.url for one in self._listeners]
                server.finish(
                    client.number,
                    {
                        **done,
                        "version": penstock.__version__,
                        "addresses": addresses,
                        "command": {"words": sys.argv[1:], "cwd": self._given.begun["cwd"]},
                        "fleet": to_json(self.fleet),
                    },
                )
            case "stats":
                server.finish(client.number, {**done, "stats": document(self.view())})
            case "upgrade":
                waits = bool(request.get("wait"))
                self.take(ev.UpgradeRequested("upgrade command", client.number if waits else None))
                if not waits:
                    server.finish(client.number, done)
            case "reload":
                limit_s = request.get("limit_s", 0)
                if not isinstance(limit_s, int | float) or not 0 <= limit_s < 1e9:
                    server.finish(client.number, {"ok": False, "status": 1, "reason": "limit_s must be seconds"})
                elif request.get("wait"):
                    self.take(ev.ReloadRequested("reload command", client.number, float(limit_s)))
                else:
                    self.take(ev.ReloadRequested("reload command"))
                    server.finish(client.number, done)
            case "stop":
                if not request.get("wait"):
                    server.finish(client.number, done)
                self.take(ev.StopRequested(now=bool(request.get("now"))))
            case "rollback":
                self.take(ev.RollbackRequested("rollback command", client.number))
            case "pause" | "resume" as command:
                self.take(ev.PauseRequested(command == "pause"))
                server.finish(client.number, done)
            case "reopen":
                self.reopen_logs(is_asked=True)
                server.finish(client.number, done)
            case "stacks":
                for link in self._links.values():
                    for worker in link.workers.values():
                        worker.signal(STACKS_SIGNAL)
                server.finish(client.number, done)
            case other:
                server.finish(client.number, {"ok": False, "status": 1, "reason": f"there is no command {other!r}"})

    # --- actions

    def _carry_out(self, action: act.Action) -> None:
        match action:
            case act.Log(text):
                self._log(text)
            case act.StartGeneration():
                self._start_generation(action)
            case act.SpawnWorker():
                self._spawn_worker(action)
            case act.TellWorker(number, slot, word):
                if worker := self._worker(number, slot):
                    worker.tell(word)
            case act.SignalWorker(number, slot, name):
                if worker := self._worker(number, slot):
                    worker.signal(signal.SIGKILL if name == "KILL" else STACKS_SIGNAL)
            case act.EndGeneration(number):
                self._send(self._links[number], {"op": "end"})
            case act.ShowImport(number):
                if self._links[number].pid:
                    os.kill(self._links[number].pid, STACKS_SIGNAL)
            case act.KillGeneration(number):
                # Not reaped yet, so the number is still this process's own.
                if self._links[number].pid:
                    os.kill(self._links[number].pid, signal.SIGKILL)
            case act.ReleaseSlot():
                self._release_slot(action)
            case act.CommitGeneration(number):
                self._commit(self._links[number])
            case act.ForgetGeneration(number):
                self._forget(number)
            case act.DumpStatistics():
                log.write("\n".join(dump_lines(self.view())))
            case act.AnnounceReady():
                self._log(self._ready_line())
                self._given.when_ready()
                self._given.starter.ready()
            case act.AnnounceFailure(status, text):
                self._given.starter.failed(status, text)
            case act.NotifySupervisor(state, status, exit_status):
                self._given.supervisor.tell(state, status, exit_status=exit_status)
            case act.AnswerReload():
                self._answer_reload(action)
            case act.WatchListeners(watched):
                self._watch_listeners(watched)
            case act.StartProgram(number, program):
                self.take(self._programs.start(number, program))
            case act.SignalProgram(pid, number):
                self._programs.signal(pid, number)
            case act.LookForProgram(number, pidfile):
                self.take(ev.ProgramSeen(number, running_pid(pidfile)))
            case act.CheckUpgrade():
                self.check_upgrade()
            case act.GiveUpCheck():
                if self._trial is not None:
                    self._trial.give_up()
            case act.Upgrade():
                pass  # `run` does it, when nothing is left that only this program has seen.
            case act.CloseListeners():
                self._watch_listeners(False)
                for listener in self._listeners:
                    listener.close(remove=False)
            case act.Exit(status, may_return):
                self._finish(status, may_return)

    def _log(self, text: str) -> None:
        log.write(text)
        if self._control is not None:
            self._control.progress(text)

    def _worker(self, number: int, slot: int) -> WorkerLink | None:
        link = self._links.get(number)
        return link.workers.get(slot) if link else None

    def _send(self, link: GenerationLink, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        link.send(message, descriptors)
        self._watch_channel(link)

    def _watch_channel(self, link: GenerationLink) -> None:
        """Wait for room in the channel too, while there is something to send."""
        if link.channel not in self._selector.get_map():
            return
        wanted = selectors.EVENT_READ | (0 if link.flush() else selectors.EVENT_WRITE)
        self._selector.modify(link.channel, wanted, lambda mask: self._channel_ready(link, mask))

    def _channel_ready(self, link: GenerationLink, mask: int) -> None:
        if mask & selectors.EVENT_READ:
            self._hear_generation(link)
        if mask & selectors.EVENT_WRITE:
            self._watch_channel(link)

    def _unregister(self, connection: socket.socket) -> None:
        if connection.fileno() >= 0 and connection in self._selector.get_map():
            self._selector.unregister(connection)

    def _start_generation(self, action: act.StartGeneration) -> None:
        self._notes = []
        if not action.reread:
            self._start_with(action, self._plan)
            return
        # Before anything is said about the reload. uWSGI needs log-reopen for it.
        self.reopen_logs(is_asked=False)
        # Its time is part of that of the reload.
        most_s = shortest(READ_MOST_S, action.timeout_s, self._plan.gates.reload_timeout_s)
        try:
            reading = Reading(self._given.reread, lambda: os.close(self._lifeline_write), self._clock(), most_s)
        except OSError as error:
            reason = f"the configuration could not be read again: {error.strerror}"
            self.take(ev.ImportFailed(action.generation, reason, status=1))
            return
        self._reading = action, reading
        self._selector.register(reading, selectors.EVENT_READ, lambda mask: self._has_read(reading.hear()))

    def _has_read(self, outcome: Outcome | None) -> None:
        """Go on with what the configuration says now."""
        if outcome is None or self._reading is None:
            return
        action, _ = self._reading
        self._end_reading()
        for note in outcome.notes:
            self._note(note)
        if outcome.plan is not None:
            self._start_with(action, outcome.plan)
            return
        self._log("\n".join(part for part in (outcome.reason, outcome.more) if part))
        self.take(ev.ImportFailed(action.generation, outcome.reason, outcome.more, status=1, logged=True))

    def _end_reading(self) -> None:
        if self._reading is not None:
            _, reading = self._reading
            self._reading = None
            self._selector.unregister(reading)
            reading.close()

    def _start_with(self, action: act.StartGeneration, plan: Plan) -> None:
        number = action.generation
        try:
            listeners = self._listeners_for(plan)
        except StartError as error:
            self.take(ev.ImportFailed(number, str(error), status=1))
            return
        if action.reread:
            # Against the first plan: that one was carried out.
            changed = needs_restart(self._given.plan, plan)
            if changed:
                self._note(
                    f"*** a reload can not change {', '.join(changed)}: stop and start the instance for that ***"
                )
            for note in plan.notes:
                if note not in self._plan.notes:
                    self._note(note)
        # Before the new one takes anything.
        room = room_beside(self.fleet) if plan.strategy == "auto" and not action.first else None
        try:
            link = self._launch(action, plan, listeners)
        except OSError as error:
            known = {id(one.socket) for one in self._listeners}
            for one in listeners:
                if id(one.socket) not in known:
                    kept.give_up(self._given.supervisor, one)
                    one.close(remove=True)
            reason = f"the app's interpreter {not_started(plan.app.interpreter, error)}"
            self.take(ev.ImportFailed(number, reason, status=1))
            return
        self.take(ev.GenerationStarted(number, link.pid, Rules.of(plan), room))

    def _launch(self, action: act.StartGeneration, plan: Plan, listeners: tuple[BoundListener, ...]) -> GenerationLink:
        """Start a generation's process and tell it everything."""
        number = action.generation
        limit_s = 0.0 if action.first else shortest(action.timeout_s, plan.gates.reload_timeout_s)
        scoreboard = Scoreboard(self._given.layout, slots_for(plan.processes), plan.engine.threads)
        channel, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        link = GenerationLink(number, plan, listeners, scoreboard, channel)
        content = start_document(plan, listeners, not action.first, limit_s, self._given.become)
        plan_fd = child_fd = -1
        try:
            channel.setblocking(False)
            plan_fd = memory_file("penstock-plan", json.dumps(content).encode())
            child_fd = fcntl.fcntl(child_end, fcntl.F_DUPFD_CLOEXEC, FIRST_HIGH_FD)
            who = self._given.become
            is_late = who is None or plan.groups.imports_as_root
            prefix = () if who is None or is_late else launch.prefix(uid=who.uid, gid=who.gid, groups=who.groups)
            flags = plan.app.python.flags
            link.pid = spawn_generation(plan.app.interpreter, child_fd, self._given.boot, flags, prefix)
            self._selector.register(channel, selectors.EVENT_READ, lambda mask: self._channel_ready(link, mask))
            handoff_receive, handoff_send = self._handoff
            descriptors = (
                *(plan_fd, self._lifeline_read, scoreboard.fd, handoff_receive.fileno(), handoff_send.fileno()),
                *(self._locks_fd, 2),
                *(one.fd for one in listeners),
                *(self._given.logs.descriptors()[1:] if self._given.logs is not None else ()),
            )
            self._send(link, {"op": "start", "generation": number}, descriptors)
            self._links[number] = link
        except OSError:
            self._unregister(channel)
            link.close()
            raise
        finally:
            child_end.close()
            for fd in (plan_fd, child_fd):
                if fd >= 0:
                    os.close(fd)
        return link

    def _spawn_worker(self, action: act.SpawnWorker) -> None:
        link = self._links[action.generation]
        try:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            log.write(f"worker {action.worker} can not be started: {error.strerror}")
            self.take(ev.WorkerExited(action.generation, action.slot, 0, None))
            return
        mine.setblocking(False)
        worker = WorkerLink(action.worker, action.slot, mine)
        link.workers[action.slot] = worker
        link.scoreboard.clear(action.slot)
        self._hear_control(link, worker)
        message = {"op": "spawn", "worker": action.worker, "slot": action.slot, "entry": action.entry}
        message["is_paused"] = action.is_paused
        self._send(link, message, (theirs.fileno(),))
        theirs.close()

    def _release_slot(self, action: act.ReleaseSlot) -> None:
        link = self._links[action.generation]
        row, threads = link.scoreboard.worker(action.slot), link.scoreboard.threads_of(action.slot, lines=False)
        self._ended[action.worker] = self._ended.get(action.worker, Ended()).plus(row, threads)
        link.keep_answers(action.slot)
        link.scoreboard.clear(action.slot)
        worker = link.workers.pop(action.slot, None)
        if worker is not None:
            self._unregister(worker.control)
            worker.close()

    def _commit(self, link: GenerationLink) -> None:
        # Some of them may be closed now; the policy asks again for those that are left.
        self._watch_listeners(False)
        self._plan = link.plan
        self._listeners = link.listeners
        self._touch.watch(link.plan.touch_reload)
        if self._stats is not None:
            self._stats.speaks_http = link.plan.stats_form.http
        self._touch_reopen.watch(link.plan.log.touch_reopen)
        self._touch_rotate.watch(link.plan.log.touch_rotate)
        LOG.prefix = link.plan.log.prefix
        self._touch_hooks.watch(one.path for one in link.plan.hooks.at("touch"))
        self._touch_programs.watch(link.plan.programs.touched)
        self._touch_workers[0].watch(link.plan.asking.touch_workers)
        self._touch_workers[1].watch(link.plan.asking.touch_chain)
        self._code.serves(link.plan.asking.code_interval_s)
        self._prune_listeners()

    def _forget(self, number: int) -> None:
        self._prune_listeners()
        link = self._links.pop(number, None)
        if self._reading is not None and self._reading[0].generation == number:
            self._reading[1].give_up()
            self._end_reading()
        self._code.forget(number)
        if link is not None:
            self._unregister(link.channel)
            for worker in link.workers.values():
                self._unregister(worker.control)
            link.close()

    def _answer_reload(self, action: act.AnswerReload) -> None:
        if self._control is None:
            return
        answer: dict[str, Any] = {"ok": action.ok, "status": 0 if action.ok else EXIT_RELOAD_FAILED}
        answer |= {"generation": action.generation, "reason": action.reason, "error": action.error}
        answer["notes"] = self._notes
        for ticket in action.tickets:
            self._control.finish(ticket, answer)

    def _finish(self, status: int, may_return: bool) -> None:
        """Leave nothing behind, then let the loop end."""
        vacuum = self._plan.vacuum
        for listener in self._listeners:
            if may_return and listener.keeper:
                listener.close(remove=False)
            else:
                kept.give_up(self._given.supervisor, listener)
                listener.close(remove=vacuum)
        if self._stats is not None and self._given.stats is not None:
            self._stats.close()
            self._given.stats.close(remove=vacuum)
        if self._probes is not None and self._given.admin is not None:
            self._probes.close()
            self._given.admin.close(remove=vacuum)
            self._probes = None
        self._given.starter.failed(status or 1, "the instance ended before it was ready")
        log.write("goodbye to Penstock.")
        self._exit = status

    def close(self) -> None:
        """Give the rest back. The pid file is gone by now, so clients that wait for the end may be told."""
        if self._control is not None:
            self._control.close()
        self._fifo.close()
        self._code.close()
        self._given.supervisor.close()
        for link in self._links.values():
            link.close()
        os.close(self._lifeline_read)
        os.close(self._lifeline_write)
        os.close(self._locks_fd)
        for end in self._handoff:
            end.close()
        self._selector.close()

    # --- listeners and plans that change

    def _listeners_for(self, plan: Plan) -> tuple[BoundListener, ...]:
        """Find or bind the sockets of a plan. Addresses that stay keep their socket, so nobody notices.

        Raises:
            StartError: a new address can not be bound.
        """
        free = list(self._listeners)
        # The generation that stands by may have more of them.
        free += [one for one in self._parked_listeners() if all(one.socket is not other.socket for other in free)]
        found: dict[int, BoundListener] = {}
        for index, wanted in enumerate(plan.listeners):
            same = next((one for one in free if is_same_address(one, wanted)), None)
            if same is not None:
                free.remove(same)
                had = (same.plan.mode, same.plan.owner, same.plan.tuning)
                if had != (wanted.mode, wanted.owner, wanted.tuning):
                    what = "its mode, owner and socket options"
                    self._note(f"*** {same.name} keeps {what} until the instance is started anew ***")
                found[index] = replace(same, plan=wanted)
                if wanted.backlog:
                    same.socket.listen(wanted.backlog)
        # What was inherited is among those that there are, or was given up since.
        new_plans = [replace(one, inherited=None) for n, one in enumerate(plan.listeners) if n not in found]
        new = iter(kept.keep(self._given.supervisor, bind_all(new_plans, self._given.owner)))
        listeners = []
        for index in range(len(plan.listeners)):
            if index not in found:
                found[index] = next(new)
                log.write(found[index].bound_line(index))
            listeners.append(found[index])
        return tuple(listeners)

    def _parked_listeners(self) -> tuple[BoundListener, ...]:
        """List those of a generation that may serve again."""
        parked = [self._links[one.number] for one in self.fleet.generations if one.state == "parked"]
        return tuple(listener for link in parked for listener in link.listeners)

    def _prune_listeners(self) -> None:
        """Close the sockets that no plan has any more which serves or may serve."""
        coming = self.fleet.coming()
        used = {id(one.socket) for one in (*self._listeners, *self._parked_listeners())}
        for link in self._links.values():
            if coming is not None and link.number == coming.number:
                used |= {id(one.socket) for one in link.listeners}
        for link in self._links.values():
            for one in link.listeners:
                if id(one.socket) not in used and one.socket.fileno() >= 0:
                    log.write(f"{one.plan.protocol} socket {one.name} is closed")
                    kept.give_up(self._given.supervisor, one)
                    one.close(remove=True)

    def _note(self, text: str) -> None:
        """Say something about the reload that is going on, to whoever waits for it too."""
        self._notes.append(text)
        self._log(text)

    # --- what the instance tells

    def view(self) -> InstanceView:
        """Gather everything that the statistics are made of."""
        seen = overview(
            self.fleet, self._plan, self._links, self._ended, self._listeners, self._long_requests, self._clock()
        )
        wait_us = round(self._load.wait_s * 1e6) if self._plan.scaling.needs_load else None
        return replace(seen, queue_wait_us=wait_us)

    def stats_text(self) -> str:
        """Write the statistics document."""
        form = self._plan.stats_form
        return to_text(document(self.view(), form.cores), form.minified)

    def _ready_line(self) -> str:
        addresses = ", ".join(one.url for one in self._listeners) or "no address"
        rules = self.fleet.rules
        count = self.fleet.scaling.wanted
        workers = f"{count} worker{'s' if count != 1 else ''}"
        threads = f"{rules.threads} thread{'s' if rules.threads != 1 else ''}"
        return f"penstock {penstock.__version__} is ready: {addresses} (pid {os.getpid()}, {workers}, {threads} each)"
