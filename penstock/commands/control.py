"""What `reload` and `stop` share: reaching the master that a pid file names, by signal or over its control socket."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

from penstock.commands import find
from penstock.master.control_client import ControlError, request
from penstock.master.pidfile import is_instance

OK = 0
NO_FILE = 1
NO_PROCESS = 255


def send(name: str, arguments: Sequence[str], number: signal.Signals) -> int:
    """Send `number` to the master of a pid file and return at once.

    The exit status is uWSGI's: 0 when it was sent, 1 when the file can not be read, 255 when there is no such process.
    A process that is certainly something else is never signalled.
    """
    try:
        pid, path = _master(name, arguments)
        os.kill(pid, number)
    except _Refused as refused:
        return _fail(refused.status, str(refused))
    except (ProcessLookupError, OverflowError):
        return _fail(NO_PROCESS, f"there is no process {pid}; {path} is stale and can be removed")
    except PermissionError:
        return _fail(NO_PROCESS, f"may not signal process {pid}; it belongs to another user")
    return OK


def ask(name: str, arguments: Sequence[str]) -> int:
    """Ask the master of a pid file for `name`, show what it says, and return its status when it is done."""
    try:
        pid, _ = _master(name, arguments)
        answer = request(pid, name, progress=_say, wait=True)
    except _Refused as refused:
        return _fail(refused.status, str(refused))
    except ControlError as error:
        return _fail(NO_PROCESS, str(error))
    if not answer["ok"]:
        for text in (answer.get("error"), answer.get("reason")):
            if text:
                _say(str(text).rstrip("\n"))
    return int(answer["status"])


class _Refused(Exception):
    """The pid file names no master: why, and the exit status of the command."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


def _master(name: str, arguments: Sequence[str]) -> tuple[int, str]:
    """Find the pid, and the file that holds it. Raises _Refused."""
    if len(arguments) != 1:
        raise _Refused(NO_FILE, f"usage: penstock {name} {find(name).USAGE}")
    path = arguments[0]
    try:
        pid = _read_pid(path)
    except OSError as error:
        message = f"can not read the pid file {path}: {error.strerror}; is the instance running?"
        raise _Refused(NO_FILE, message) from error
    except ValueError as error:
        raise _Refused(NO_FILE, f"{path} is no pid file: {error}") from error
    if _is_something_else(pid):
        raise _Refused(NO_PROCESS, f"process {pid} of {path} is not Penstock; the file is stale and can be removed")
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


def _fail(status: int, message: str) -> int:
    _say(message)
    return status


def _say(text: str) -> None:
    print(f"[penstock] {text}", file=sys.stderr)
