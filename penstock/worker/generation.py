"""A generation: one import of the app, and the processes that are forked from it.

`serve` speaks the process protocol with the master and returns twice over, so to say: in the generation with its exit
status, and in every worker that it forked with that worker's Assignment. It decides nothing: which workers there are
and what becomes of them is the master's policy. What a worker does with its Assignment is `worker`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import select
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from penstock import hooks, titles
from penstock.plan.types import WorkerPlan
from penstock.server_log import LOG
from penstock.values import dataclass
from penstock.worker import beside, bodies, fork_safety, signals, surroundings
from penstock.worker.apps import Application, Apps, Loaded, OneDjango, applications, together
from penstock.worker.channel import Channel, MasterGone, Start, read_start
from penstock.worker.failures import FailureLog
from penstock.worker.lifeline import Watch
from penstock.worker.loader import App, AppNotLoaded, load_app, no_app, place_in_thread, stack_of_thread
from penstock.worker.server_log import say
from penstock.worker.uwsgi_module import Modules

EXIT_NO_APP = 22
REAP_INTERVAL_S = 0.2
"""How often exits are looked for where the kernel has no pidfd (before Linux 5.3)."""
CHILDREN_MERCY_S = 2.0
"""How long the children of the import may take to end; the master kills a generation that stays for longer than 5."""
IMPORT_THRESHOLDS = (50_000, 20, 100)
"""The garbage collector's, while an app is imported; Python's own are (700, 10, 10)."""
STATUS_UNKNOWN = 1 << 8
"""Reported, as exit code 1, for a worker whose status somebody else has collected, or that could not be forked."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a forked worker starts from."""

    plan: WorkerPlan
    apps: Apps | None
    """None: the worker has to import it (lazy-apps)."""
    start: Start
    modules: Modules
    forks: signals.AppForks
    failures: FailureLog
    is_first: bool
    """Whether it is the first one of its generation that has this id."""
    entry: str
    """`start`, `reload` or `replacement`: of what it is a part."""


@dataclass(frozen=True, slots=True)
class WorkerHandle:
    """A worker as its generation sees it."""

    worker: int
    slot: int
    pid: int
    pidfd: int | None


def serve(channel: Channel) -> int | Assignment:
    """Be a generation until the master ends it: return the exit status, or in a forked worker its assignment."""
    try:
        message, descriptors = channel.receive()
        start = read_start(message, descriptors)
        titles.set_title(start.titles.of("generation", start.generation), titles.NAMES["generation"])
        LOG.prefix = start.engine.log.prefix
        surroundings.take_streams(start.log_fd, keeps_input=start.app.keeps_input)
        # Also for the workers: code in C that crashes one leaves the line of Python that called it.
        faulthandler.enable(start.log_fd)
        faulthandler.register(signals.STACK_DUMP, file=start.log_fd, all_threads=True)
        failures = FailureLog(start.is_reload)
        modules = Modules(start)
        forks = signals.AppForks(lambda: _let_go(channel, start, modules))
        try:
            surroundings.prepare(start)
        except surroundings.Unfit as error:
            failure = AppNotLoaded(str(error))
            failures.write(failure, need_app=True)
            _report_failure(channel, failure)
            return EXIT_NO_APP

        def late(failure: AppNotLoaded) -> NoReturn:
            failures.write(failure, need_app=True)
            _report_failure(channel, failure)
            leave(EXIT_NO_APP)

        apps = None
        began = time.monotonic()
        before = fork_safety.Before()
        try:
            import_shared(start, failures, before, channel.fileno(), late=late)
            if not start.lazy_apps:
                apps = import_apps(start, failures, channel.fileno(), late=late)
            surroundings.change_user(start.become)
        except AppNotLoaded as failure:
            _report_failure(channel, failure)
            return EXIT_NO_APP
        if apps is None:
            channel.send({"event": "imported", "seconds": 0.0, "lazy": True})
        else:
            modules.tell_what_is_not_read()
            settle(before)
            seconds = round(time.monotonic() - began, 3)
            channel.send({"event": "imported", "seconds": seconds, "app_seconds": apps.seconds})
        return _Forker(channel, start, modules, forks, failures, apps).run()
    except MasterGone:
        return 0


def _let_go(channel: Channel, start: Start, modules: Modules) -> None:
    """In a process that the app forks while it is imported: neither keep the listeners bound, nor the generation."""
    modules.leave()
    channel.close()
    start.close_sockets()


def move_logs(start: Start, descriptors: list[int]) -> None:
    """Go on in log files that the master has opened anew: the server's, and that of requests if it is another."""
    log, *request_log = descriptors
    old = os.fstat(start.log_fd)
    for stream in (1, 2):
        # The app may have put something else there.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(stream), old):
                os.dup2(log, stream)
    os.dup2(log, start.log_fd, inheritable=False)
    if request_log:
        os.dup2(request_log[0], start.request_log_fd, inheritable=False)


def end(status: int) -> NoReturn:
    """End the generation when its last worker has gone, and what the import started with multiprocessing.

    Python does that at the end of any program; a multiprocessing.Manager would outlive the instance otherwise.
    """
    pools = sys.modules.get("multiprocessing.util")
    if pools is not None:
        # It waits for children that may never end, therefore beside this thread.
        ending = threading.Thread(target=pools._exit_function, daemon=True, name="penstock multiprocessing exit")
        ending.start()
        ending.join(CHILDREN_MERCY_S)
    leave(status)


def leave(status: int) -> NoReturn:
    """End the process. Exit handlers do not run here: they belong to the workers, which serve on."""
    flush_streams()
    os._exit(status)


def flush_streams() -> None:
    """Write out what the app has printed so far."""
    for stream in (sys.stdout, sys.stderr):
        # The app may have closed them, or put anything in their place; the disk may be full.
        with contextlib.suppress(Exception):
            stream.flush()


Late = Callable[[AppNotLoaded], NoReturn]
"""Ends the process, from another thread than the one that imports and does not come back in time."""


def import_apps(start: Start, failures: FailureLog, *watched: int, who: str = "", late: Late | None = None) -> Apps:
    """Import every app and say so; the process ends at once if the master or a `watched` peer goes meanwhile.

    With `late` the import has a time limit, if the plan has one.

    Raises AppNotLoaded, logged already. Where `need-app` is off an app that does not load is replaced by one that
    answers 500, except in a reload: there the old code is better than none.
    """
    # Almost everything that an import makes is there to stay: looking for garbage all the time takes a tenth of it.
    usual = gc.get_threshold()
    gc.set_threshold(*IMPORT_THRESHOLDS)
    current = _Current(who)
    django = OneDjango()
    python = start.app.python
    loaded: list[Loaded] = []
    _run_hooks(start, failures, "pre-app", who)
    try:
        with current.watch(start, watched, late):
            _beside(start, failures, who, lambda: beside.alias_all("pymodule-alias", python.aliases))
            for application in applications(start.app):
                current.application = application
                began = time.monotonic()
                app = _import_app(start, failures, application, django, who)
                loaded.append(Loaded(application, bodies.wrap(app, python), round(time.monotonic() - began, 3)))
            _beside(start, failures, who, lambda: beside.alias_all("post-pymodule-alias", python.late_aliases))
            _beside(start, failures, who, lambda: beside.import_all("import", python.imports))
    finally:
        # An app that sets its own means them.
        if gc.get_threshold() == IMPORT_THRESHOLDS:
            gc.set_threshold(*usual)
        overruled = signals.ignore()
    if overruled:
        say(f"the app's handler of {', '.join(overruled)} is not used: the master alone is signalled")
    _run_hooks(start, failures, "post-app", who)
    return together(loaded, start.engine.mounting.fallback_id)


def _run_hooks(start: Start, failures: FailureLog, point: str, who: str) -> None:
    """Do what is to be done before or after the import. Raises AppNotLoaded, logged already, if it fails."""
    try:
        hooks.run(start.hooks.at(point))
    except hooks.HookFailed as error:
        failure = AppNotLoaded(str(error), status=error.status)
        failures.write(failure, True, who)
        raise failure from error


def import_shared(
    start: Start, failures: FailureLog, before: fork_safety.Before, *watched: int, late: Late | None = None
) -> None:
    """Import what all processes share, before the first of them. Raises AppNotLoaded, logged already."""
    names = start.app.python.shared_imports
    if names:
        with _Current("").watch(start, watched, late):
            _beside(start, failures, "", lambda: beside.import_all("shared-import", names))
        if start.lazy_apps:
            settle(before)


def _beside(start: Start, failures: FailureLog, who: str, action: Callable[[], None]) -> None:
    """Import what an option names beside the apps; one that fails counts as an app that does."""
    try:
        action()
    except AppNotLoaded as failure:
        failures.write(failure, start.need_app, who)
        if start.need_app:
            raise


def _import_app(start: Start, failures: FailureLog, application: Application, django: OneDjango, who: str) -> App:
    began = time.monotonic()
    if application.mount is not None:
        say(f"mounting {application.mount.target} on {application.point or '/'}")
    django.before()
    try:
        try:
            app = load_app(application.plan)
        finally:
            # A second Django project fails in many ways; this is the cause of all of them.
            django.after(application)
    except AppNotLoaded as error:
        failure = application.explain(error)
        required = start.need_app or (start.is_reload and application.plan.kind != "none")
        failures.write(failure, required, who, application.id, application.point)
        if required:
            raise failure from error
        return no_app
    default = " (default app)" if application.id == start.engine.mounting.fallback_id else ""
    seconds = int(time.monotonic() - began)
    say(
        f"WSGI app {application.id} (mountpoint='{application.point}') ready in {seconds} seconds "
        f"on interpreter {id(sys.modules):#x} pid: {os.getpid()}{default}"
    )
    return app


class _Current:
    """What is being imported, for the line that tells of a slow import. Made by the thread that imports."""

    def __init__(self, who: str) -> None:
        self.application: Application | None = None
        self._who = who
        self._thread = threading.get_ident()

    def watch(self, start: Start, watched: tuple[int, ...], late: Late | None) -> Watch:
        """Watch the import: for the end of the master, for its place, and for the end of its time."""
        limit_s = None
        if late is not None and start.import_limit_s:
            limit_s = max(0.0, start.began + start.import_limit_s - time.monotonic())
        return Watch(
            start.lifeline_fd,
            *watched,
            notice=lambda seconds: say(self._where(f"{seconds} s")),
            limit_s=limit_s,
            late=lambda: late(self._overdue(start.import_limit_s)) if late is not None else None,
        )

    def _where(self, time_taken: str) -> str:
        subject = f"{self._who} is " if self._who else ""
        plan = self.application.plan if self.application else None
        name = f" {plan.kind} {plan.target}" if plan else ""
        return f"{subject}still importing{name} after {time_taken}{place_in_thread(self._thread)}"

    def _overdue(self, seconds: float) -> AppNotLoaded:
        return AppNotLoaded(self._where(f"{seconds:g} seconds"), traceback=stack_of_thread(self._thread))


def settle(before: fork_safety.Before) -> None:
    """Make the imported app fit to be forked: one heap for all workers, and nothing that can not be shared."""
    fork_safety.report(before)
    # No look for garbage first: it takes a tenth of the import and finds next to nothing, and what it gives back are
    # holes in pages that are shared, which each worker would fill with pages of its own.
    # Every object so far leaves the collector's sight: collecting in a worker would otherwise touch, and so copy,
    # each page that the workers share.
    gc.freeze()


def _report_failure(channel: Channel, failure: AppNotLoaded) -> None:
    channel.send(
        {
            "event": "import-failed",
            "traceback": failure.traceback,
            "exit_code": failure.exit_code,
            "reason": str(failure),
            "status": failure.status,
        }
    )


class _Forker:
    """The generation after its import: forks on request, reaps its own children, reports both."""

    def __init__(
        self,
        channel: Channel,
        start: Start,
        modules: Modules,
        forks: signals.AppForks,
        failures: FailureLog,
        apps: Apps | None,
    ) -> None:
        self._channel = channel
        self._start = start
        self._modules = modules
        self._forks = forks
        self._failures = failures
        self._apps = apps
        self._workers: list[WorkerHandle] = []
        self._ids: set[int] = set()
        """Of every worker that was ever forked here."""
        self._ending = False
        self._poller = select.poll()
        self._poller.register(channel.fileno(), select.POLLIN)
        self._poller.register(start.lifeline_fd, 0)

    def run(self) -> int | Assignment:
        """Loop until the end (an exit status) or until this process is a worker (its assignment)."""
        if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
            # The app ignores its children; then the kernel would throw away how ours ended.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while not (self._ending and not self._workers):
            ready = {descriptor for descriptor, _ in self._poller.poll(self._timeout_ms())}
            if self._start.lifeline_fd in ready:
                return 0
            self._reap()
            if self._channel.fileno() in ready:
                assignment = self._obey()
                if assignment is not None:
                    return assignment
        return 0

    def _timeout_ms(self) -> int | None:
        return int(REAP_INTERVAL_S * 1000) if any(each.pidfd is None for each in self._workers) else None

    def _obey(self) -> Assignment | None:
        message, descriptors = self._channel.receive()
        if message["op"] == "end":
            self._ending = True
        elif message["op"] == "spawn" and not self._ending:
            return self._spawn(message, descriptors[0])
        elif message["op"] == "reopen-logs":
            move_logs(self._start, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        return None

    def _spawn(self, message: dict[str, Any], control_fd: int) -> Assignment | None:
        worker, slot = message["worker"], message["slot"]
        flush_streams()  # An unfinished line would be written once more by each child.
        try:
            with warnings.catch_warnings():
                # Python warns of threads at a fork; fork_safety has said so, with their names and a cure.
                warnings.simplefilter("ignore", DeprecationWarning)
                pid = self._forks.fork_worker()
        except OSError as error:
            say(f"*** worker {worker} can not be forked: {error.strerror} ***")
            os.close(control_fd)
            self._channel.send({"event": "exited", "worker": worker, "slot": slot, "pid": 0, "status": STATUS_UNKNOWN})
            return None
        if pid == 0:
            return self._become_worker(message, control_fd)
        os.close(control_fd)
        handle = WorkerHandle(worker, slot, pid, _open_pidfd(pid))
        self._workers.append(handle)
        self._ids.add(worker)
        if handle.pidfd is not None:
            self._poller.register(handle.pidfd, select.POLLIN)
        self._channel.send({"event": "spawned", "worker": worker, "slot": slot, "pid": pid})
        return None

    def _become_worker(self, message: dict[str, Any], control_fd: int) -> Assignment:
        """Let go of what is the generation's alone."""
        worker, entry = message["worker"], message["entry"]
        self._channel.close()
        processes = sys.modules.get("multiprocessing.process")
        if processes is not None:
            # As multiprocessing does in its own children: a worker that leaves must not end what all workers use.
            processes._children.clear()
        for handle in self._workers:
            if handle.pidfd is not None:
                os.close(handle.pidfd)
        start = self._start
        titles.set_title(start.titles.of("worker", worker), titles.NAMES["worker"])
        bind_to_cpus(worker, start.cpus_per_worker)
        plan = WorkerPlan(
            engine=start.engine,
            worker_id=worker,
            listeners=start.listeners,
            control_fd=control_fd,
            lifeline_fd=start.lifeline_fd,
            scoreboard_fd=start.scoreboard_fd,
            scoreboard_slot=message["slot"],
            handoff_receive_fd=start.handoff_receive_fd,
            handoff_send_fd=start.handoff_send_fd,
            log_fd=start.log_fd,
            request_log_fd=start.request_log_fd,
            starts_paused=message["is_paused"],
        )
        is_first = worker not in self._ids
        return Assignment(plan, self._apps, start, self._modules, self._forks, self._failures, is_first, entry)

    def _reap(self) -> None:
        """Collect the workers that have ended, and only them: the app may have children of its own."""
        for handle in list(self._workers):
            try:
                pid, status = os.waitpid(handle.pid, os.WNOHANG)
            except ChildProcessError:
                pid, status = handle.pid, STATUS_UNKNOWN
            if pid == 0:
                continue
            self._workers.remove(handle)
            if handle.pidfd is not None:
                self._poller.unregister(handle.pidfd)
                os.close(handle.pidfd)
            self._channel.send(
                {
                    "event": "exited",
                    "worker": handle.worker,
                    "slot": handle.slot,
                    "pid": handle.pid,
                    "status": status,
                }
            )


def bind_to_cpus(worker: int, count: int) -> None:
    """Bind this process to so many of the CPUs that it may use, each worker to those after the one before it."""
    usable = sorted(os.sched_getaffinity(0))
    if not count or count >= len(usable):
        return
    mine = {usable[((worker - 1) * count + number) % len(usable)] for number in range(count)}
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, mine)
        say(f"mapping worker {worker} to CPUs: {' '.join(map(str, sorted(mine)))}")


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None
