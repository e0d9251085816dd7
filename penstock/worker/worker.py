"""A worker: the process in which the engine runs and the app answers.

From the assignment of a freshly forked process to its last exit handler. The engine does everything between `ready`
and the reason why it stopped; nothing here is on the way of a request.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import gc
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import NoReturn

from penstock import hooks
from penstock._engine import Engine
from penstock.worker import code_watch, signals
from penstock.worker.channel import failure_text
from penstock.worker.exceptions import make_handler
from penstock.worker.generation import Assignment, import_apps, leave
from penstock.worker.loader import AppNotLoaded
from penstock.worker.server_log import say
from penstock.worker.stuck import Lookout
from penstock.worker.tracebacker import Tracebacker
from penstock.worker.uwsgi_module import Modules

EXIT_FAILED = 1
EXIT_NO_APP = 22
EXIT_DEADLINE_S = {"drained": 5.0, "stopped": 1.0, "orphaned": 0.3}
"""How long exit handlers may take, by the reason of leaving: nobody waits for a worker that was told to go now."""


def run(assignment: Assignment) -> NoReturn:
    """Be that worker, and end the process."""
    status = EXIT_FAILED
    try:
        status = _serve(assignment)
    except hooks.HookFailed as error:
        say(f"worker {assignment.plan.worker_id} (pid: {os.getpid()}) can not serve: {error}")
    except BaseException:
        say(f"worker {assignment.plan.worker_id} (pid: {os.getpid()}) failed:\n{traceback.format_exc()}")
    finally:
        leave(status)


def _serve(assignment: Assignment) -> int:
    plan, modules = assignment.plan, assignment.modules
    modules.enter_worker(plan.worker_id)
    signals.ignore()
    reseed()
    hooks.run(assignment.start.hooks.at("post-fork"))
    faulthandler.register(signals.STACK_DUMP, file=plan.log_fd, all_threads=True)
    apps = assignment.apps
    if apps is None:
        who = f"worker {plan.worker_id} (pid: {os.getpid()})"

        def tell(failure: AppNotLoaded) -> None:
            reason = f"could not import the app: {failure.reason}"
            tell_master(plan.control_fd, failure_text("failed", reason, f"{failure.traceback}{failure}"))

        def late(failure: AppNotLoaded) -> NoReturn:
            assignment.failures.write(failure, True, who)
            tell(failure)
            leave(EXIT_NO_APP)

        limited = late if assignment.entry == "reload" else None
        try:
            apps = import_apps(assignment.start, assignment.failures, who=who, late=limited)
        except AppNotLoaded as failure:
            tell(failure)
            return EXIT_NO_APP
        modules.tell_what_is_not_read()
        gc.collect()
        gc.freeze()
    if assignment.start.app.python.chdir_after is not None:
        os.chdir(assignment.start.app.python.chdir_after)
    # After the import, so that hooks which a lazily imported app defines run too.
    modules.run_postfork_hooks()
    assignment.forks.let_go = lambda: _let_go(assignment)
    modules.enter_core(0)
    threads = [AppThread(plan.worker_id, number, modules) for number in range(1, plan.engine.threads)]
    if assignment.start.gates.longest_s(plan.engine.threads):
        # Imported where there are gates, and only there.
        from penstock.worker import gates

        if not gates.let_through(assignment, apps, threads, lambda text: tell_master(plan.control_fd, text)):
            return EXIT_NO_APP
    python = assignment.start.app.python
    if plan.engine.harakiri.graceful_signal > 0:
        signals.leave_to_app(plan.engine.harakiri.graceful_signal)
    lookout = Lookout()
    failed = make_handler(python, lambda reason: tell_master(plan.control_fd, f"recycle {reason}"))
    engine = Engine(plan, apps.fallback, apps.mounts, failed, lookout)
    lookout.engine = engine
    modules.enter_engine(engine)
    os.register_at_fork(
        after_in_parent=lambda: engine.forked(in_child=False), after_in_child=lambda: engine.forked(in_child=True)
    )
    tracebacker = Tracebacker(f"{python.tracebacker}{plan.worker_id}") if python.tracebacker else None
    asking = assignment.start.asking
    if asking.code_interval_s:
        code_watch.watch(asking.code_ignored, lambda text: tell_master(plan.control_fd, text))
    if python.shell is not None and plan.worker_id == 1 and (assignment.is_first or not python.shell_is_once):
        # Imported late: what reads lines of Python is needed for nothing else.
        from penstock.worker.shell import open_shell

        open_shell(python.shell, apps, is_once=python.shell_is_once)
    hooks.run(assignment.start.hooks.at(*_accepting(assignment)))
    tell_master(plan.control_fd, "ready")
    for thread in threads:
        thread.enter(engine)
    reason = _core(0)(engine, 0)
    if tracebacker is not None:
        tracebacker.close()
    _finish(assignment, threads, EXIT_DEADLINE_S[reason], wait=reason == "drained")
    return 0


def reseed() -> None:
    """Let each worker have random numbers of its own. The module `random` has seen to that by itself at the fork."""
    numbers = sys.modules.get("numpy.random")
    if numbers is not None:
        numbers.seed()


def _accepting(assignment: Assignment) -> tuple[str, ...]:
    """List the points that this worker comes to when it begins to accept."""
    points = ["accepting"]
    points += ["accepting-once"] if assignment.is_first else []
    if assignment.plan.worker_id == 1:
        points += ["accepting1", *(["accepting1-once"] if assignment.is_first else [])]
    return tuple(points)


def tell_master(control_fd: int, text: str) -> None:
    """Send one datagram over the control pair; a master that is gone is the engine's and the lifeline's concern."""
    try:
        os.write(control_fd, text.encode("utf-8", "backslashreplace"))
    except ConnectionError:
        pass


def _thread_name(worker_id: int, number: int) -> str:
    return f"uWSGIWorker{worker_id}Core{number}"


def _run_core(engine: Engine, number: int) -> str:
    return engine.run(number)


def _core(number: int) -> Callable[[Engine, int], str]:
    """Make the function that runs one core, with a name by which a stack dump shows whose stack it is.

    The dump of a stuck worker is written by faulthandler, which knows the names of functions and not those of threads.
    """
    return FunctionType(_run_core.__code__.replace(co_name=f"core_{number}"), globals())


class AppThread(threading.Thread):
    """One of the threads that call the app, beside the main thread."""

    def __init__(self, worker_id: int, number: int, modules: Modules) -> None:
        """Prepare the thread of core `number`."""
        super().__init__(name=_thread_name(worker_id, number), daemon=True)
        self.number = number
        self._modules = modules
        self._engine: Engine | None = None
        self._first: Callable[[], None] | None = None
        self._may_enter = threading.Event()

    def do_first(self, action: Callable[[], None]) -> None:
        """Start it with something else, after which it waits for the engine; return when that is done."""
        done = threading.Event()

        def first() -> None:
            try:
                action()
            finally:
                done.set()

        self._first = first
        self.start()
        done.wait()

    def enter(self, engine: Engine) -> None:
        """Let it run the engine's part for it."""
        self._engine = engine
        self._may_enter.set()
        if self._first is None:
            self.start()

    def run(self) -> None:
        """Be the thread."""
        self._modules.enter_core(self.number)
        try:
            if self._first is not None:
                self._first()
            self._may_enter.wait()
            if self._engine is not None:
                _core(self.number)(self._engine, self.number)
        except BaseException:
            # An app's exception never comes here: the engine itself is broken, and a worker that is short of a thread
            # would go on unnoticed.
            say(f"app thread {self.number} (pid: {os.getpid()}) failed:\n{traceback.format_exc()}")
            leave(EXIT_FAILED)


def _let_go(assignment: Assignment) -> None:
    """In a process that the app forked: neither keep the listeners bound, nor the worker seemingly alive."""
    assignment.modules.leave()
    assignment.start.close_sockets()
    # The engine may have closed it already.
    with contextlib.suppress(OSError):
        os.close(assignment.plan.control_fd)


def _finish(assignment: Assignment, threads: Sequence[threading.Thread], deadline_s: float, wait: bool) -> None:
    """Run the exit handlers, in the order in which Python runs them, within `deadline_s` seconds.

    With `wait`, work that was handed to other threads gets half of that time to end, as at the end of any program.
    """
    worker_id = assignment.plan.worker_id

    def give_up() -> None:
        others = [each.name for each in threading.enumerate() if each is not threading.current_thread()]
        say(
            f"worker {worker_id} (pid: {os.getpid()}) does not wait any longer for its exit handlers and threads: "
            f"{', '.join(others)}"
        )
        leave(0)

    timer = threading.Timer(deadline_s, give_up)
    timer.daemon = True
    timer.start()
    if wait:
        _join(threads, deadline_s / 2)
        _join_others(deadline_s / 2)
    handlers = assignment.start.app.python.exit_handlers
    if handlers != "none":
        assignment.modules.run_atexit()
    if handlers == "all":
        atexit._run_exitfuncs()
    timer.cancel()


def _join(threads: Sequence[threading.Thread], within_s: float) -> None:
    until = time.monotonic() + within_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _join_others(within_s: float) -> None:
    """Wait for the app's own threads, except its daemon threads."""
    pools = sys.modules.get("concurrent.futures.thread")
    if pools is not None and hasattr(pools, "_python_exit"):
        # Idle threads of a pool end only when they are told to, which Python does at its own exit. It may wait for a
        # task without an end, therefore beside this thread.
        threading.Thread(target=pools._python_exit, daemon=True, name="penstock pool exit").start()
    mine = (threading.current_thread(), threading.main_thread())
    _join([each for each in threading.enumerate() if each not in mine and not each.daemon], within_s)
