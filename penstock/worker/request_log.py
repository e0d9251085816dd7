"""What an app may say and ask about the request that it answers: `uwsgi.set_logvar` and its like."""

from __future__ import annotations

import threading
from operator import index
from typing import Protocol


class LogsRequests(Protocol):
    """What is needed of the engine."""

    def set_log_variable(self, thread: int, name: bytes, value: bytes) -> None:
        """Remember a variable for the line of the request of an app thread."""

    def log_variable(self, thread: int, name: bytes) -> bytes | None:
        """Return what is remembered."""

    def log_this_request(self, thread: int) -> None:
        """Write the line whatever the options say."""

    def connection_fd(self, thread: int) -> int:
        """Return the descriptor of the request's connection."""

    def set_harakiri(self, thread: int, seconds: float) -> None:
        """Have the request of an app thread end in so many seconds; 0 takes that back."""


class NoRequest:
    """Stands for the engine where an app is asked for something that gets no line."""

    def __init__(self) -> None:
        self._variables: dict[bytes, bytes] = {}

    def set_log_variable(self, thread: int, name: bytes, value: bytes) -> None:
        """Remember it for `log_variable` alone."""
        self._variables[name] = value

    def log_variable(self, thread: int, name: bytes) -> bytes | None:
        """Return what is remembered."""
        return self._variables.get(name)

    def log_this_request(self, thread: int) -> None:
        """Do nothing."""

    def connection_fd(self, thread: int) -> int:
        """Return -1: there is no connection."""
        return -1

    def set_harakiri(self, thread: int, seconds: float) -> None:
        """Do nothing: a gate has a time limit of its own."""


class _Thread(threading.local):
    core = -1


class RequestLog:
    """The functions of the module `uwsgi` that concern the current request."""

    def __init__(self) -> None:
        self.engine: LogsRequests | None = None
        """None before there are requests."""
        self.thread = _Thread()

    def set_logvar(self, name: str | bytes, value: str | bytes) -> None:
        """Give a variable of `log-format` its value for this request."""
        engine, core = self._current("set_logvar")
        engine.set_log_variable(core, _bytes(name), _bytes(value))

    def get_logvar(self, name: str | bytes) -> bytes | None:
        """Return what `set_logvar` was given for this request."""
        engine, core = self._current("get_logvar")
        return engine.log_variable(core, _bytes(name))

    def log_this_request(self) -> None:
        """Write the log line of this request although requests are not logged."""
        engine, core = self._current("log_this_request")
        engine.log_this_request(core)

    def connection_fd(self) -> int:
        """Return the descriptor of this request's connection; it stays the server's."""
        engine, core = self._current("connection_fd")
        return engine.connection_fd(core)

    def set_user_harakiri(self, seconds: float) -> None:
        """Have this request end in so many seconds, whatever `harakiri` allows; 0 takes that back."""
        engine, core = self._current("set_user_harakiri")
        # uWSGI knows whole seconds only; what is no number is refused as it refuses it.
        engine.set_harakiri(core, seconds if isinstance(seconds, float) else float(index(seconds)))

    def _current(self, name: str) -> tuple[LogsRequests, int]:
        if self.engine is None or self.thread.core < 0:
            raise SystemError(f"uwsgi.{name}() is about the current request: call it in the thread that answers one")
        return self.engine, self.thread.core


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else bytes(text)
