"""An app that gets stuck in every way that a request can; the first segment of the path names the way.

`/free` answers at once. What each request met is written to the file that the environment names, a line each, so that
a test sees what became of one whose client was answered without it.
"""

import os
import re
import select
import signal
import socket
from time import sleep

import uwsgi

TEXT = [("Content-Type", "text/plain")]
PAIRS = []


def note(text):
    with open(os.environ["STUCK_NOTES"], "a") as notes:
        notes.write(text + "\n")


if "STUCK_SIGNAL" in os.environ:
    signal.signal(int(os.environ["STUCK_SIGNAL"]), lambda number, frame: note(f"signal {number}"))


def application(environ, start_response):
    way = environ["PATH_INFO"].strip("/").split("/")[0]
    return WAYS[way](environ, start_response)


def free(environ, start_response):
    environ["wsgi.input"].read()
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"free\n"]


def pid(environ, start_response):
    start_response("200 OK", TEXT)
    return [str(os.getpid()).encode()]


def watched(wait):
    """Make a way of `wait`, which notes how it ended."""

    def way(environ, start_response):
        try:
            wait()
        except uwsgi.HarakiriError as error:
            note(f"interrupted: {error}")
            raise
        finally:
            note("cleaned up")
        start_response("200 OK", TEXT)
        return [b"too late"]

    return way


def sleeps():
    sleep(1000)


def receives():
    PAIRS.append(socket.socketpair())
    PAIRS[-1][0].recv(1)


def selects():
    PAIRS.append(socket.socketpair())
    select.select([PAIRS[-1][0]], [], [])


def matches():
    """Holds the interpreter's lock for ever."""
    re.match(r"(a+)+b", "a" * 60)


def spins():
    while True:
        pass


def waits_short():
    """Holds on for longer than the limit, in C that lets the others run."""
    sleep(float(os.environ.get("STUCK_SECONDS", "3")))


def sleeps_for(environ, start_response):
    """Takes as long as its path says."""
    sleep(float(environ["PATH_INFO"].rsplit("/", 1)[1]))
    start_response("200 OK", [*TEXT, ("Content-Length", "5")])
    return [b"done\n"]


def slow_cleanup(environ, start_response):
    try:
        sleep(1000)
    finally:
        sleep(float(os.environ["STUCK_SECONDS"]))
        note("cleaned up slowly")


def begun(environ, start_response):
    """Sends a piece without a length, and then nothing more."""
    start_response("200 OK", TEXT)

    def pieces():
        try:
            yield b"first piece\n"
            while True:
                sleep(0.01)
        finally:
            note("closed")

    return pieces()


def begun_with_length(environ, start_response):
    start_response("200 OK", [*TEXT, ("Content-Length", "1000")])(b"first piece\n")
    sleep(1000)
    return []


def swallows(environ, start_response):
    """Lets nothing out, and answers when it is too late."""
    try:
        while True:
            sleep(0.01)
    except BaseException as error:
        note(f"swallowed: {type(error).__name__}")
    try:
        start_response("200 OK", TEXT)(b"late bytes")
        note("written")
    except Exception as error:
        note(f"{type(error).__name__}: {error}")
    return [b"late ", b"answer"]


class Closing:
    """A response whose end is noted."""

    def __iter__(self):
        yield b"late piece"

    def close(self):
        note("closed")


def late_iterable(environ, start_response):
    try:
        while True:
            sleep(0.01)
    except BaseException:
        pass
    start_response("200 OK", TEXT)
    return Closing()


class SlowClose:
    """A response after which the app has much to do."""

    def __iter__(self):
        yield b"all of "
        yield b"it"

    def close(self):
        note("closing")
        sleep(1000)


def closes_slowly(environ, start_response):
    length = [("Content-Length", "9")] if environ["QUERY_STRING"] == "length" else []
    start_response("200 OK", TEXT + length)
    return SlowClose()


def stubborn(environ, start_response):
    """Goes on for ever whatever is raised."""
    while True:
        try:
            while True:
                sleep(0.01)
        except BaseException:
            note("stubborn")


def own_limit(environ, start_response):
    uwsgi.set_user_harakiri(1)
    return sleeping(environ, start_response)


def own_limit_taken_back(environ, start_response):
    uwsgi.set_user_harakiri(1)
    uwsgi.set_user_harakiri(0)
    sleep(1.5)
    start_response("200 OK", TEXT)
    return [b"in time"]


sleeping = watched(sleeps)

WAYS = {
    "free": free,
    "pid": pid,
    "sleep": sleeping,
    "recv": watched(receives),
    "select": watched(selects),
    "match": watched(matches),
    "spin": watched(spins),
    "short": watched(waits_short),
    "sleep-for": sleeps_for,
    "slow-cleanup": slow_cleanup,
    "begun": begun,
    "begun-with-length": begun_with_length,
    "swallow": swallows,
    "iterable": late_iterable,
    "stubborn": stubborn,
    "closes-slowly": closes_slowly,
    "own": own_limit,
    "own-taken-back": own_limit_taken_back,
}
