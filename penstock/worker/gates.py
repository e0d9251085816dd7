"""What a new worker does before it takes requests: it asks its app for the paths of `warmup`, then of `health-check`.

The app is called as the engine would, in the threads that call it afterwards, so that what it loads at its first
request is there, connections of each thread too. The engine is not there yet: no client can come in between, nothing is
counted, logged or recycled, rules and static files have no say, and a worker whose generation does not serve yet is
asked like any other. What is different from a request that comes in is nothing that an app sees: a test compares.

A health check decides whether new code serves. A worker that comes to a generation that serves already only warms up,
and serves whatever comes of it: its code has passed, and a database that is away for a moment must not keep it out.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, Protocol
from urllib.parse import unquote_to_bytes

from penstock._engine import FileWrapper, __version__
from penstock.plan.process_types import GatesPlan, ProbePlan
from penstock.plan.types import WorkerPlan
from penstock.values import dataclass
from penstock.worker.apps import Apps
from penstock.worker.channel import failure_text
from penstock.worker.generation import EXIT_NO_APP, Assignment, leave
from penstock.worker.lifeline import Watch
from penstock.worker.loader import App, describe, format_error, place_in_thread, stack_of_thread
from penstock.worker.request_log import NoRequest
from penstock.worker.server_log import say
from penstock.worker.uwsgi_module import COMPATIBLE_VERSION

MARK = "penstock.probe"
"""Key of the environ by which an app can tell these requests; its value is the option's name."""
RETRY_PAUSE_S = 1.0
SHOWN_BYTES = 400
"""Of a body that comes with a wrong status."""
BROKEN = "500 Internal Server Error"
"""What a client gets whose request makes the app raise an exception."""
FIRST_BAD_WARMUP = 500
"""A page that needs a login, or that is not there any more, is no reason to keep new code out."""


@dataclass(frozen=True)
class Unfit(Exception):
    """The app did not pass."""

    reason: str
    """One line: which request, and what became of it."""
    details: str
    """A traceback, or how the body begins; may be empty."""

    def text(self, outcome: str) -> str:
        """Write it for the log."""
        return "\n".join(part for part in (self.details.rstrip(), f"*** {self.reason}: {outcome} ***") if part)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request."""

    status: int
    line: str
    """`503 Service Unavailable`."""
    cause: str
    """The exception that the app raised or logged, and where, in one line; empty if there was none."""
    details: str
    """A traceback, or how the body begins."""


class AppThread(Protocol):
    """Another thread that calls the app when the worker serves."""

    number: int

    def do_first(self, action: Callable[[], None]) -> None:
        """Start it with something else; return when that is done."""


def let_through(assignment: Assignment, apps: Apps, threads: Sequence[AppThread], tell: Callable[[str], None]) -> bool:
    """Have the app answer all that it has to answer before it serves; whether this worker may.

    This thread asks for everything, the others for the paths of `warmup`, one after the other: connections to a
    database, and more, are each thread's own. `tell` sends a text to the master. The process ends if an answer takes
    too long: its thread does not come back.
    """
    start = assignment.start
    decides = assignment.entry != "replacement" and start.need_app

    def keep_out(failure: Unfit) -> None:
        say(failure.text("it does not serve"))
        tell(failure_text("unfit", failure.reason, failure.details))

    def late(failure: Unfit) -> NoReturn:
        keep_out(failure)
        leave(EXIT_NO_APP)

    tell("checking")
    assignment.modules.enter_engine(NoRequest())
    gates = Gates(start.gates, assignment.plan, apps, late)
    try:
        gates.warm_up(0)
        if start.gates.warmups:
            for thread in threads:
                warm_up_in(thread, gates)
        if assignment.entry != "replacement":
            gates.check()
    except Unfit as failure:
        if decides:
            keep_out(failure)
            return False
        say(failure.text("it serves all the same"))
    return True


def warm_up_in(thread: AppThread, gates: Gates) -> None:
    """Let another thread ask for the paths of `warmup`; raises what `Gates.warm_up` raises."""
    failures: list[BaseException] = []

    def warm_up() -> None:
        try:
            gates.warm_up(thread.number)
        except BaseException as failure:
            failures.append(failure)

    thread.do_first(warm_up)
    if failures:
        raise failures[0]


class Gates:
    """The requests of one worker."""

    def __init__(self, gates: GatesPlan, plan: WorkerPlan, apps: Apps, late: Callable[[Unfit], NoReturn]) -> None:
        """Prepare. `late` is called, in a thread of its own, when an answer takes too long."""
        self._gates = gates
        self._plan = plan
        self._apps = apps
        self._late = late
        self._who = f"worker {plan.worker_id}, pid: {os.getpid()}"

    def warm_up(self, core: int) -> None:
        """Ask for the paths of `warmup`, in the thread of core number `core`.

        Raises:
            Unfit: one was answered with a status of 500 or more, or not at all.
        """
        for probe in self._gates.warmups:
            answer = self._ask(probe, "warmup", self._gates.warmup_timeout_s, core)
            if answer.status >= FIRST_BAD_WARMUP:
                raise unfit(probe, "warmup", answer)
            if answer.status >= 400:
                say(f"*** warmup {probe.name} was answered {answer.line}: is it the right page? ({probe.origin}) ***")

    def check(self) -> None:
        """Ask for the paths of `health-check`.

        Raises:
            Unfit: the last try was answered with a status that does not pass, or not at all.
        """
        gates = self._gates
        for probe in gates.checks:
            for tries_left in range(gates.check_retries, -1, -1):
                answer = self._ask(probe, "health-check", gates.check_timeout_s, 0)
                if any(first <= answer.status <= last for first, last in gates.statuses):
                    break
                if not tries_left:
                    raise unfit(probe, "health-check", answer)
                say(f"health-check {probe.name} was answered {answer.line}: it is tried again")
                time.sleep(RETRY_PAUSE_S)

    def _ask(self, probe: ProbePlan, option: str, timeout_s: float, core: int) -> Answer:
        thread = threading.get_ident()

        def overdue() -> None:
            place = place_in_thread(thread)
            reason = f"{option} {probe.name} was not answered within {timeout_s:g} seconds{place}"
            self._late(Unfit(reason, stack_of_thread(thread)))

        began, pid = time.monotonic(), os.getpid()
        with Watch(self._plan.lifeline_fd, limit_s=timeout_s, late=overdue):
            answer = ask(self._plan, self._apps, probe, option, core)
            if os.getpid() != pid:
                # The app has forked, and the child came back.
                os._exit(0)
        where = f"{self._who}, core {core}" if core else self._who
        say(f"{option} {probe.name}: {answer.line} in {time.monotonic() - began:.3f} s ({where})")
        return answer


def unfit(probe: ProbePlan, option: str, answer: Answer) -> Unfit:
    """Say of an answer that it does not pass."""
    cause = f": {answer.cause}" if answer.cause else ""
    return Unfit(f"{option} {probe.name} was answered {answer.line}{cause}", answer.details)


def ask(plan: WorkerPlan, apps: Apps, probe: ProbePlan, option: str, core: int) -> Answer:
    """Call the app that the request is for, read the whole of its answer, and close it."""
    uri_path, _, query = probe.uri.partition("?")
    path = unquote_to_bytes(uri_path).decode("latin-1")
    app, point = choose(apps, path)
    if app is None:
        return Answer(404, "404 Not Found", "no application is mounted there", "")
    environ = make_environ(plan, probe, option, core)
    environ.update(SCRIPT_NAME=point, PATH_INFO=path[len(point) :], QUERY_STRING=query)
    reply = _Reply()
    with logged_exceptions() as logged:
        try:
            reply.take(app(environ, reply.start))
            status = reply.status
        except BaseException as error:  # SystemExit too: it must not end the worker without a word.
            return Answer(500, BROKEN, describe(error), format_error(error))
    if logged and status >= FIRST_BAD_WARMUP:
        return Answer(status, reply.line, describe(logged[0]), format_error(logged[0]))
    body = bytes(reply.begin).decode("utf-8", "replace").strip()
    return Answer(status, reply.line, "", f"the answer begins:\n{body}" if body else "")


class _Reply:
    """What an app says to one request (PEP 3333)."""

    def __init__(self) -> None:
        self.line = ""
        self.begin = bytearray()

    @property
    def status(self) -> int:
        if not self.line:
            raise AssertionError("the app did not call start_response")
        return int(self.line.split()[0])

    def start(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], object]:
        self.line = status
        return self.keep

    def keep(self, piece: bytes) -> None:
        if not isinstance(piece, bytes):
            raise TypeError(f"a piece of the body is of type {type(piece).__name__}, not bytes")
        if len(self.begin) < SHOWN_BYTES:
            self.begin += piece[: SHOWN_BYTES - len(self.begin)]

    def take(self, result: Any) -> None:
        try:
            for piece in [result] if isinstance(result, bytes) else result:
                self.keep(piece)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()


@contextmanager
def logged_exceptions() -> Iterator[list[BaseException]]:
    """Collect the exceptions that are logged meanwhile: most frameworks log what a view raises, and answer 500."""
    found: list[BaseException] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                found.append(record.exc_info[1])

    collector = Collector(logging.ERROR)
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield found
    finally:
        root.removeHandler(collector)


def choose(apps: Apps, path: str) -> tuple[App | None, str]:
    """Find the application that a path is for, and its mountpoint: the longest that the path begins with."""
    raw = path.encode("latin-1")
    best: tuple[App | None, str] = (apps.fallback, "")
    for point, app in apps.mounts:
        begin = point.encode()
        if len(begin) > len(best[1]) and (raw == begin or raw.startswith(begin + b"/")):
            best = (app, begin.decode("latin-1"))
    return best


def make_environ(plan: WorkerPlan, probe: ProbePlan, option: str, core: int) -> dict[str, Any]:
    """Make the environ of a GET, as the engine makes it for one that comes over HTTP (PEP 3333)."""
    engine = plan.engine
    is_secure = probe.scheme == "https" or (not probe.scheme and _redirects_to_https())
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "REQUEST_URI": probe.uri,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": engine.server_name,
        "SERVER_PORT": plan.listeners[0].server_port if plan.listeners else "80",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_PORT": "0",
        "HTTP_HOST": probe.host or usual_host(),
        "HTTP_USER_AGENT": f"penstock/{__version__} ({option})",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if is_secure else "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": engine.threads > 1,
        "wsgi.multiprocess": engine.multiprocess,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "uwsgi.version": ".".join(map(str, COMPATIBLE_VERSION)).encode(),
        "uwsgi.node": engine.server_name.encode(),
        MARK: option,
    }
    if engine.file_wrapper:
        environ["wsgi.file_wrapper"] = FileWrapper
    if engine.threads > 1:
        environ["uwsgi.core"] = core
    if is_secure:
        environ.update(HTTPS="on", HTTP_X_FORWARDED_PROTO="https")
    return environ


def usual_host() -> str:
    """Name a host that the app answers for: the first of Django's ALLOWED_HOSTS that names one, else localhost."""
    hosts = [str(host).removeprefix(".") for host in _django_setting("ALLOWED_HOSTS", ())]
    return next((host for host in hosts if host and "*" not in host), "localhost")


def _redirects_to_https() -> bool:
    return bool(_django_setting("SECURE_SSL_REDIRECT", False))


def _django_setting(name: str, default: Any) -> Any:
    conf = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured:
        return default
    return getattr(conf.settings, name, default)
