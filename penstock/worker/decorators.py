"""The module `uwsgidecorators`: what it decorates where that works here, and says of the rest that it does not.

What is decorated with a timer, a cron time or a mule is work beside the requests: the app starts without it, and the
log names each such function with its place. What is *called* to have work done elsewhere (`spool`, `mulefunc`) raises
when it is called, because a job that is lost in silence is worse.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from types import CodeType, ModuleType
from typing import Any

Hook = Callable[..., Any]
Decorator = Callable[[Hook], Hook]

SPOOLER = "there is no spooler yet"
MULES = "there are no mules yet"
TIMES = "nothing is run at set times yet"
JOBS_INSTEAD = "use Celery, RQ, Huey or a table of the database"
PROGRAM_INSTEAD = "run the program beside the workers (attach-daemon)"
THREAD_INSTEAD = "use a systemd timer, or a thread that is started in uwsgidecorators.postfork"


class NotHere(RuntimeError):
    """The app has called what needs a part of uWSGI that is not here."""


class Decorators:
    """Makes the module around the module `uwsgi`."""

    def __init__(self, uwsgi: ModuleType, tell: Callable[[str], None]) -> None:
        self.postfork_hooks: list[tuple[int, Hook]] = []
        """(worker, function), in the order of their decoration; 0 for all workers."""
        self._uwsgi = uwsgi
        self._tell = tell

    def fill(self, module: ModuleType) -> None:
        """Put the decorators into their module."""
        names: dict[str, Any] = {
            "postfork": self._postfork,
            "lock": self._lock,
            "thread": _thread,
            "harakiri": self._harakiri,
            "signal": self._signal,
            "timer": self._timed("timer"),
            "rbtimer": self._timed("rbtimer"),
            "cron": self._timed("cron"),
            "filemon": self._idle("filemon", "files are not watched for the application yet", "use touch-reload"),
            "mule": self._idle("mule", MULES, PROGRAM_INSTEAD),
            "muleloop": self._idle("muleloop", MULES, PROGRAM_INSTEAD),
            "mulemsg": self._idle("mulemsg", MULES, PROGRAM_INSTEAD),
            "farm": self._idle("farm", MULES, PROGRAM_INSTEAD),
            "rpc": self._idle("rpc", "no functions are called by name", "import and call the function, or use HTTP"),
            "mulefunc": self._mulefunc,
            "spool": self._spooled("spool"),
            "spoolforever": self._spooled("spoolforever"),
            "spoolraw": self._spooled("spoolraw"),
        }
        # As in uWSGI, which hides nothing from `from uwsgidecorators import *`.
        vars(module).update(names, uwsgi=self._uwsgi, __all__=[*names, "uwsgi"])

    def _postfork(self, target: Hook | int) -> Any:
        """Register a function for every worker (`@postfork`), or for one (`@postfork(2)`)."""
        if callable(target):
            self.postfork_hooks.append((0, target))
            return target

        def register(function: Hook) -> Hook:
            self.postfork_hooks.append((target, function))
            return function

        return register

    def _lock(self, function: Hook) -> Hook:
        """Let one worker at a time, and one thread of it, run a function (lock 0)."""

        @wraps(function)
        def locked(*arguments: Any, **named: Any) -> Any:
            self._uwsgi.lock()
            try:
                return function(*arguments, **named)
            finally:
                self._uwsgi.unlock()

        return locked

    def _harakiri(self, seconds: int) -> Decorator:
        """Give a function so many seconds."""

        def decorate(function: Hook) -> Hook:
            @wraps(function)
            def limited(*arguments: Any, **named: Any) -> Any:
                self._uwsgi.set_user_harakiri(seconds)
                try:
                    return function(*arguments, **named)
                finally:
                    self._uwsgi.set_user_harakiri(0)

            return limited

        return decorate

    def _signal(self, number: int, *, target: str = "") -> Decorator:
        """Let a function handle a signal."""

        def decorate(function: Hook) -> Hook:
            self._uwsgi.register_signal(number, target, function)
            return function

        return decorate

    def _timed(self, name: str) -> Callable[..., Decorator]:
        return self._idle(name, TIMES, THREAD_INSTEAD)

    def _idle(self, name: str, why: str, instead: str) -> Callable[..., Decorator]:
        """Make a decorator with arguments that leaves the function as it is, and says so."""

        def with_arguments(*arguments: Any, **named: Any) -> Decorator:
            shown = ", ".join([*map(repr, arguments), *(f"{key}={value!r}" for key, value in named.items())])

            def decorate(function: Hook) -> Hook:
                self._tell(f"@{name}({shown}): {_place(function)} will not run: {why}. Instead: {instead}")
                return function

            return decorate

        with_arguments.__name__ = with_arguments.__qualname__ = name
        return with_arguments

    def _spooled(self, name: str) -> Callable[..., Any]:
        """Make a decorator whose functions raise when they are called; without `spooler` it raises as uWSGI's does."""

        def decorate(function: Hook | None = None, *, pass_arguments: bool = False) -> Any:
            if function is None:
                return decorate
            if "spooler" not in self._uwsgi.opt:
                raise NotHere(
                    f"you have to enable the uWSGI spooler to use @{name} decorator ({_place(function)}); and "
                    f"{SPOOLER} here. Instead: {JOBS_INSTEAD}"
                )
            return self._refusing(function, name, SPOOLER, JOBS_INSTEAD)

        decorate.__name__ = decorate.__qualname__ = name
        return decorate

    def _mulefunc(self, target: Any = None) -> Any:
        """Take `@mulefunc` and `@mulefunc(2)`."""
        if callable(target):
            return self._refusing(target, "mulefunc", MULES, PROGRAM_INSTEAD)
        return lambda function: self._refusing(function, "mulefunc", MULES, PROGRAM_INSTEAD)

    def _refusing(self, function: Hook, name: str, why: str, instead: str) -> Hook:
        self._tell(f"@{name}: calling {_place(function)} will raise: {why}. Instead: {instead}")

        @wraps(function)
        def refuse(*arguments: Any, **named: Any) -> Any:
            raise NotHere(f"@{name}: {_place(function)} can not be done elsewhere: {why}. Instead: {instead}")

        refuse.spool = refuse  # type: ignore[attr-defined]
        return refuse


def _thread(function: Hook) -> Hook:
    """Run a function in a thread of its own whenever it is called; the call returns the function."""

    @wraps(function)
    def start(*arguments: Any, **named: Any) -> Hook:
        threading.Thread(target=function, args=arguments, kwargs=named, daemon=True).start()
        return function

    return start


def _place(function: object) -> str:
    """Name a function with its place."""
    name = str(getattr(function, "__qualname__", None) or repr(function))
    code = getattr(function, "__code__", None)
    return f"{name} ({code.co_filename}:{code.co_firstlineno})" if isinstance(code, CodeType) else name
