"""Which running instance a command is about: by its pid, its pid file, or the configuration file that names that."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from pathlib import Path

from penstock.commands import configuration
from penstock.config.findings import ConfigError
from penstock.config.load import load
from penstock.config.pairs import kind_of
from penstock.master.control_path import directories, owner_of
from penstock.master.pidfile import is_instance, master_of
from penstock.plan.context import Context
from penstock.plan.machine import Machine
from penstock.values import dataclass

NO_FILE = 1
NO_PROCESS = 255

PIDFILES = ("pidfile", "pidfile2", "safe-pidfile", "safe-pidfile2")
"""Options that name a file with the master's pid."""


class Refused(Exception):
    """There is no such instance, or the arguments are wrong: why, and the exit status of the command."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Target:
    """An instance that seems to be there."""

    pid: int
    path: str
    """The pid file; empty where there was none."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"process {self.pid} of {self.path}" if self.path else f"process {self.pid}"


def find_target(usage: str, words: Sequence[str], pid: str | None = None) -> Target:
    """Find the master that the words of a command, or its `--pid`, name.

    Raises:
        Refused: they name none.
    """
    if pid is not None and words:
        raise Refused(NO_FILE, f"--pid and {words[0]} both name an instance; usage: {usage}")
    if pid is not None:
        try:
            target = Target(_number(pid), "")
        except ValueError as error:
            raise Refused(NO_FILE, f"--pid = {pid or 'nothing'} is no process id: {error}") from error
    elif not words:
        raise Refused(NO_FILE, f"usage: {usage}{_running()}")
    elif len(words) == 1 and kind_of(words[0].partition(":")[0]) is None and not words[0].startswith("-"):
        target = _of_pidfile(words[0])
    else:
        target = _of_configuration(words, usage)
    _check(target)
    return target


def _of_pidfile(path: str) -> Target:
    try:
        return Target(read_pid(path), path)
    except OSError as error:
        message = f"can not read the pid file {path}: {error.strerror}; is the instance running?"
        raise Refused(NO_FILE, message) from error
    except ValueError as error:
        raise Refused(NO_FILE, f"{path} is no pid file: {error}") from error


def _of_configuration(words: Sequence[str], usage: str) -> Target:
    """Read the configuration for the name of the pid file."""
    sources = configuration.sources(words)
    if sources is None:
        raise Refused(NO_FILE, f"usage: {usage}")
    try:
        settings = load(sources)
    except ConfigError as error:
        raise Refused(NO_FILE, f"{error}\nnothing was asked for: an instance could not read this either") from error
    context = Context(settings, Machine.here())
    named = next((name for name in PIDFILES if settings.given(name)), None)
    if named is None:
        what = ", ".join(settings.files) or "that"
        raise Refused(NO_FILE, f"{what} names no pidfile: name the instance by --pid PID{_running()}")
    path = context.at_start(named) if named == "pidfile" else context.after_chdir(settings.text(named) or "")
    return _of_pidfile(path or "")


def read_pid(path: str) -> int:
    """Read the number in a pid file; ValueError says why there is none."""
    with open(path, "rb") as file:
        text = file.read(64).strip()
    if not text:
        raise ValueError("it is empty")
    return _number(text.decode("ascii", "replace"))


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise ValueError("it does not hold a number")
    # 0 and 1 would reach the whole process group, or the machine's init; a master can be 1 only in a container, where
    # nobody else has that number, so the command line decides there.
    pid = int(text)
    if pid < 1 or (pid == 1 and not is_instance(1)):
        raise ValueError(f"it holds {pid}, which can not be a master")
    return pid


def _check(target: Target) -> None:
    """Refuse a process that is certainly no master, or nobody's business of this user."""
    stale = f"; {target.path} is stale and can be removed" if target.path else ""
    owner = owner_of(target.pid)
    if owner is None and not exists(target.pid):
        raise Refused(NO_PROCESS, f"there is no process {target.pid}{stale}")
    if _is_something_else(target.pid):
        master = master_of(target.pid)
        if master:
            message = f"{target.name} is a child of a Penstock master: name that one, by --pid {master}"
            raise Refused(NO_PROCESS, message)
        is_stale = "the file is stale and can be removed" if target.path else "name a master"
        raise Refused(NO_PROCESS, f"{target.name} is not Penstock; {is_stale}")
    if owner is not None and os.geteuid() not in (0, owner):
        raise Refused(NO_PROCESS, f"{target.name} belongs to {_user(owner)}: only that user and root may ask it")


def exists(pid: int) -> bool:
    """Tell whether there is such a process, of whoever."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _is_something_else(pid: int) -> bool:
    """Whether the process lives, its command line can be read, and it is not Penstock's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            readable = bool(file.read(1))
    except OSError:
        return False
    return readable and not is_instance(pid)


def _user(uid: int) -> str:
    try:
        return f"the user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _running() -> str:
    """List the instances of this user, for somebody who has named none."""
    found = sorted({pid for place in directories(os.geteuid()) for pid in _masters_in(place)})
    if not found:
        return ""
    return "\nrunning here: " + ", ".join(f"{pid} ({_command_line(pid)})" for pid in found)


def _masters_in(place: Path) -> list[int]:
    try:
        names = [path.stem for path in place.glob("*.ctl")]
    except OSError:
        return []
    return [int(name) for name in names if name.isdigit() and len(name) < 10 and is_instance(int(name))]


def _command_line(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    except OSError:
        return ""
    return words.decode("utf-8", "replace")[:80]
