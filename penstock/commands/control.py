"""What `reload`, `stop` and their like share: reaching a master, by signal or over its control socket."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from penstock.commands import find
from penstock.commands.target import NO_FILE, NO_PROCESS, Refused, Target, exists, find_target
from penstock.master.control_client import ControlError, request

CONTROL_PATIENCE_S = 5.0
"""How long a master may take to answer that it has heard."""

OK = 0
NOT_IN_TIME = 3
"""What the command waits for has not happened; as for a reload that failed."""
LOOK_AGAIN_S = 0.05
"""How often a process is looked for where the kernel has no pidfd (before Linux 5.3)."""


def send(name: str, arguments: Sequence[str], number: signal.Signals) -> int:
    """Send `number` to the master that the arguments name and return at once.

    The exit status is uWSGI's: 0 when it was sent, 1 when the file can not be read, 255 when there is no such process.
    A process that is certainly something else is never signalled.
    """
    try:
        return signal_master(_target(name, arguments), number)
    except Refused as refused:
        return fail(refused.status, str(refused))


def signal_master(target: Target, number: signal.Signals) -> int:
    """Send a signal; the exit status of the command."""
    try:
        os.kill(target.pid, number)
    except (ProcessLookupError, OverflowError):
        return fail(NO_PROCESS, f"there is no process {target.pid} any more")
    except PermissionError:
        return fail(NO_PROCESS, f"may not signal {target.name}; it belongs to another user")
    return OK


def ask(name: str, arguments: Sequence[str], wait: bool = True) -> int:
    """Ask the master of a pid file for `name`, show what it says, and return its status when it is done.

    Without `wait` that is when it has heard.
    """
    shown: list[str] = []

    def progress(text: str) -> None:
        shown.append(text)
        say(text)

    try:
        answer = request(_target(name, arguments).pid, name, progress=progress, wait=wait)
    except Refused as refused:
        return fail(refused.status, str(refused))
    except ControlError as error:
        return fail(NO_PROCESS, str(error))
    if not answer["ok"]:
        for text in (answer.get("error"), answer.get("reason")):
            # The log may have said it last, with more before it.
            if text and not (shown and shown[-1].endswith(str(text))):
                say(str(text).rstrip("\n"))
    return int(answer["status"])


def stop_and_wait(arguments: Sequence[str], number: signal.Signals, timeout_s: float | None) -> int:
    """Stop the master of a pid file, as `number` would, and return when its process has ended, or after `timeout_s`.

    Raises:
        Refused: there is no such instance.
    """
    target = _target("stop", arguments)
    try:
        # Not by the signal: a second one would mean that the requests shall not end.
        request(target.pid, "stop", timeout_s=CONTROL_PATIENCE_S, now=number == signal.SIGQUIT)
    except ControlError:
        # It has no control socket, or ends already.
        status = signal_master(target, number)
        if status != OK:
            return status
    if has_ended(target.pid, timeout_s):
        return OK
    return fail(NOT_IN_TIME, f"{target.name} still runs after {timeout_s:g} seconds; it goes on stopping")


def has_ended(pid: int, timeout_s: float | None) -> bool:
    """Wait for the end of a process that is not a child; False if it still runs after `timeout_s`."""
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:
        pidfd = -1
    try:
        poller = select.poll()
        if pidfd >= 0:
            poller.register(pidfd, select.POLLIN)
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            patience = left if pidfd >= 0 else min(LOOK_AGAIN_S, LOOK_AGAIN_S if left is None else left)
            if poller.poll(None if patience is None else patience * 1000) or not exists(pid):
                return True
            if left == 0:
                return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _target(name: str, arguments: Sequence[str]) -> Target:
    """Find the instance. Raises Refused."""
    usage = f"penstock {name} {find(name).USAGE}"
    if len(arguments) != 1:
        raise Refused(NO_FILE, f"usage: {usage}")
    return find_target(usage, arguments)


def seconds(text: str) -> float:
    """Read the value of --timeout.

    Raises:
        Refused: it is no number of seconds.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e9:
        raise Refused(NO_FILE, f"--timeout = {text or 'nothing'} is not a number of seconds, as 30 or 0.5")
    return found


def fail(status: int, message: str) -> int:
    say(message)
    return status


def say(text: str) -> None:
    """Write to standard error, as all that a command has to say beside its result."""
    print(f"[penstock] {text}", file=sys.stderr)
