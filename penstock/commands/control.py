"""What `reload` and `stop` share: reaching the master that a pid file names, by signal or over its control socket."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Sequence

from penstock.commands import find
from penstock.master.control_client import ControlError, request
from penstock.master.pidfile import is_instance

CONTROL_PATIENCE_S = 5.0
"""How long a master may take to answer that it has heard."""

OK = 0
NO_FILE = 1
NO_PROCESS = 255
NOT_IN_TIME = 3
"""What the command waits for has not happened; as for a reload that failed."""
LOOK_AGAIN_S = 0.05
"""How often a process is looked for where the kernel has no pidfd (before Linux 5.3)."""


def send(name: str, arguments: Sequence[str], number: signal.Signals) -> int:
    """Send `number` to the master of a pid file and return at once.

    The exit status is uWSGI's: 0 when it was sent, 1 when the file can not be read, 255 when there is no such process.
    A process that is certainly something else is never signalled.
    """
    try:
        pid, path = _master(name, arguments)
        os.kill(pid, number)
    except Refused as refused:
        return fail(refused.status, str(refused))
    except (ProcessLookupError, OverflowError):
        return fail(NO_PROCESS, f"there is no process {pid}; {path} is stale and can be removed")
    except PermissionError:
        return fail(NO_PROCESS, f"may not signal process {pid}; it belongs to another user")
    return OK


def ask(name: str, arguments: Sequence[str]) -> int:
    """Ask the master of a pid file for `name`, show what it says, and return its status when it is done."""
    try:
        pid, _ = _master(name, arguments)
        answer = request(pid, name, progress=_say, wait=True)
    except Refused as refused:
        return fail(refused.status, str(refused))
    except ControlError as error:
        return fail(NO_PROCESS, str(error))
    if not answer["ok"]:
        for text in (answer.get("error"), answer.get("reason")):
            if text:
                _say(str(text).rstrip("\n"))
    return int(answer["status"])


def stop_and_wait(arguments: Sequence[str], number: signal.Signals, timeout_s: float | None) -> int:
    """Stop the master of a pid file, as `number` would, and return when its process has ended, or after `timeout_s`.

    Raises:
        Refused: there is no such instance.
    """
    pid, path = _master("stop", arguments)
    try:
        # Not by the signal: a second one would mean that the requests shall not end.
        request(pid, "stop", timeout_s=CONTROL_PATIENCE_S, now=number == signal.SIGQUIT)
    except ControlError:
        # It has no control socket, or ends already.
        status = send("stop", arguments, number)
        if status != OK:
            return status
    if has_ended(pid, timeout_s):
        return OK
    return fail(NOT_IN_TIME, f"process {pid} of {path} still runs after {timeout_s:g} seconds; it goes on stopping")


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
            if poller.poll(None if patience is None else patience * 1000) or not _exists(pid):
                return True
            if left == 0:
                return False
    finally:
        if pidfd >= 0:
            os.close(pidfd)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Refused(Exception):
    """The pid file names no master, or the arguments are wrong: why, and the exit status of the command."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def _master(name: str, arguments: Sequence[str]) -> tuple[int, str]:
    """Find the pid, and the file that holds it. Raises Refused."""
    if len(arguments) != 1:
        raise Refused(NO_FILE, f"usage: penstock {name} {find(name).USAGE}")
    path = arguments[0]
    try:
        pid = _read_pid(path)
    except OSError as error:
        message = f"can not read the pid file {path}: {error.strerror}; is the instance running?"
        raise Refused(NO_FILE, message) from error
    except ValueError as error:
        raise Refused(NO_FILE, f"{path} is no pid file: {error}") from error
    if _is_something_else(pid):
        raise Refused(NO_PROCESS, f"process {pid} of {path} is not Penstock; the file is stale and can be removed")
    return pid, path


def _read_pid(path: str) -> int:
    """Read the number; ValueError says why there is none."""
    with open(path, "rb") as file:
        text = file.read(64).strip()
    if not text:
        raise ValueError("it is empty")
    if not text.isdigit() or len(text) > 10:
        raise ValueError("it does not hold a number")
    # 0 and 1 would reach the whole process group, or the machine's init; a master can be 1 only in a container, where
    # nobody else has that number, so the command line decides there.
    pid = int(text)
    if pid < 1 or (pid == 1 and not is_instance(1)):
        raise ValueError(f"it holds {pid}, which can not be a master")
    return pid


def _is_something_else(pid: int) -> bool:
    """Whether the process lives, its command line can be read, and it is not Penstock's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            readable = bool(file.read(1))
    except OSError:
        return False
    return readable and not is_instance(pid)


def fail(status: int, message: str) -> int:
    _say(message)
    return status


def _say(text: str) -> None:
    print(f"[penstock] {text}", file=sys.stderr)
