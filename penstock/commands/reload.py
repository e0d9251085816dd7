"""`penstock reload PIDFILE`: have an instance reload, and tell how that went.

The command returns when the new code serves (0), or when it is given up and the old code goes on (3), with its cause
first. On a terminal it shows what happens meanwhile. `--no-wait` sends SIGHUP and returns at once, as `--reload` does.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from penstock.commands.control import NOT_IN_TIME, fail, say, seconds, signal_master
from penstock.commands.target import NO_PROCESS, Refused, Target, find_target
from penstock.commands.terminal import plain
from penstock.master.control_client import ControlError, request

SUMMARY = "have a running instance reload; 0 when the new code serves, 3 and the cause when it does not"
USAGE = "[--no-wait] [--timeout SECONDS] --pid PID | PIDFILE | FILE"

TEXT = """\
usage: penstock reload [--no-wait] [--timeout SECONDS] --pid PID | PIDFILE | FILE

  penstock reload /run/app.pid              the instance with this pid file
  penstock reload app.ini                   the one whose configuration this is: its pidfile is read
  penstock reload --pid 1234                the one whose master this is

Returns when the new code serves (0), or does not and the old one goes on (3, and the cause on standard error).
Ctrl-C ends the waiting and not the reload. 1: wrong arguments, 255: no such instance, or not yours.

  --timeout SECONDS   give the new code up when it does not serve by then (reload-timeout may be less)
  --no-wait           send SIGHUP and return at once; the log tells how it ends
"""

LATE_S = 10.0
"""How long after its time limit a reload that goes on may take to say that it is over."""
TOO_LATE = "the time is over: an earlier reload goes on, and what this command has asked for follows it"
INTERRUPTED = 130
"""As a shell tells of a process that SIGINT ended."""


def run(arguments: Sequence[str]) -> int:
    """Ask the master, and wait unless told otherwise."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return 0
    words, rest, waits, pid, timeout_s = iter(arguments), [], True, None, 0.0
    try:
        for word in words:
            option, equals, value = word.partition("=")
            if option == "--timeout":
                timeout_s = seconds(value if equals else next(words, ""))
            elif option == "--pid":
                pid = value if equals else next(words, "")
            elif word in ("--wait", "--no-wait"):
                waits = word == "--wait"
            else:
                rest.append(word)
        target = find_target(f"penstock reload {USAGE}", rest, pid)
        return _wait(target, timeout_s) if waits else signal_master(target, signal.SIGHUP)
    except Refused as refused:
        return fail(refused.status, str(refused))


class _TooLate(Exception):
    """The instance is busy with something else."""


def _wait(target: Target, timeout_s: float) -> int:
    shows = sys.stderr.isatty()
    began = time.monotonic()
    limit_s = timeout_s + LATE_S if timeout_s else None

    def progress(text: str) -> None:
        if shows:
            say(_printable(text))
        if limit_s is not None and time.monotonic() - began > limit_s:
            raise _TooLate

    try:
        answer = request(target.pid, "reload", progress=progress, timeout_s=limit_s, wait=True, limit_s=timeout_s)
    except KeyboardInterrupt:
        say("the reload goes on: this command has stopped waiting, the log of the instance tells how it ends")
        return INTERRUPTED
    except _TooLate:
        return fail(NOT_IN_TIME, TOO_LATE)
    except ControlError as error:
        if isinstance(error.__cause__, TimeoutError):
            return fail(NOT_IN_TIME, TOO_LATE)
        return fail(NO_PROCESS, f"{error}; --no-wait sends a signal instead")
    return _tell(answer, time.monotonic() - began, say)


def _tell(answer: dict[str, Any], seconds_taken: float, write: Callable[[str], None]) -> int:
    """Say what has become of it: the cause first."""
    for note in answer.get("notes", ()) if answer["ok"] else ():
        write(_printable(str(note)))
    if answer["ok"]:
        print(f"[penstock] generation {answer.get('generation')} serves after {seconds_taken:.1f} seconds")
        return int(answer["status"])
    write(_printable(str(answer.get("reason") or "the reload failed")))
    if answer.get("error"):
        print(_printable(str(answer["error"]).rstrip("\n")), file=sys.stderr)
    for note in answer.get("notes", ()):
        write(_printable(str(note)))
    return int(answer["status"])


def _printable(text: str) -> str:
    """What an app says may hold anything: nothing of it shall obey a terminal."""
    return "\n".join(plain(line.expandtabs()) for line in text.split("\n"))
