"""Answers with the value of the expression in its query string, evaluated inside the worker: beside uWSGI, too."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from urllib.parse import unquote

import uwsgi
import uwsgidecorators

AT_IMPORT = [uwsgi.worker_id(), uwsgi.ready(), uwsgi.masterpid() == os.getppid() or uwsgi.masterpid() == os.getpid()]
forked: list[int] = []
uwsgi.register_signal(7, "worker", lambda number: uwsgi.log(f"signal {number} in worker {uwsgi.worker_id()}"))


@uwsgidecorators.postfork
def after_fork():
    forked.append(uwsgi.worker_id())


@uwsgidecorators.lock
def guarded(value):
    return value, uwsgi.is_locked()


@uwsgidecorators.thread
def aside(done):
    done.set()


def count_up(path, times):
    """Read a number, write the next one: what is lost without a lock."""
    for _ in range(times):
        uwsgi.lock()
        try:
            number = int(Path(path).read_text())
            os.sched_yield()
            Path(path).write_text(str(number + 1))
        finally:
            uwsgi.unlock()
    return os.getpid()


def wait_for(probe, deadline_s=20.0):
    """Look again until `probe` is true; what it was at last."""
    until, pause = time.monotonic() + deadline_s, threading.Event()
    while not (found := probe()) and time.monotonic() < until:
        pause.wait(0.01)
    return found


def show(text):
    try:
        return repr(eval(text, globals()))
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def application(environ, start_response):
    body = show(unquote(environ["QUERY_STRING"])).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
