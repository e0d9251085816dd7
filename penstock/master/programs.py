"""Programs beside the workers, carried out: each is started in a session of its own, and known by its pid.

When one is started or stopped is decided in `attached`. A session of its own keeps a Ctrl-C at the terminal away from
it, so that it leaves in its turn, and makes it and all that it starts one process group that a signal reaches.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from penstock import hooks
from penstock.master import events as ev
from penstock.master import launch, log, pidfile
from penstock.master.privileges import Identity
from penstock.plan.process_types import HookPlan, ProgramPlan
from penstock.plan.types import AppPlan


class Programs:
    """Every program that runs as a child of this process."""

    def __init__(self, become: Identity | None, output_fd: int = 2) -> None:
        """`become` is who they are, where the master stays root; `output_fd` is where they write.

        What outlives the instance writes to the log itself: nobody would read the pipe.
        """
        self._become = become
        self._output_fd = output_fd
        self._numbers: dict[int, int] = {}
        """pid -> number."""
        self._commands: dict[int, str] = {}
        """pid -> command that runs because a file was touched."""

    def start(self, number: int, program: ProgramPlan) -> ev.ProgramStarted | ev.ProgramNotStarted:
        """Start a program; tell what became of it."""
        try:
            before = self._prefix(program, ends_with_parent=not program.pidfile)
            pid = hooks.spawn(
                in_place(program.command),
                program.environment,
                before,
                own_session=True,
                keeps_input=program.keeps_input,
                output_fd=2 if program.pidfile else self._output_fd,
            )
        except OSError as error:
            return ev.ProgramNotStarted(number, error.strerror or str(error))
        self._numbers[pid] = number
        if program.writes_pidfile:
            try:
                write_pid(program.pidfile, pid)
            except OSError as error:
                log.write(f"*** the pid file {program.pidfile} can not be written: {error.strerror} ***")
        return ev.ProgramStarted(number, pid)

    def _prefix(self, program: ProgramPlan, *, ends_with_parent: bool = False) -> tuple[str, ...]:
        who = self._become
        uid, gid, groups = (who.uid, who.gid, who.groups) if who is not None else (None, None, None)
        if program.uid is not None or program.gid is not None:
            uid, gid = program.uid if program.uid is not None else uid, program.gid if program.gid is not None else gid
            groups = (gid,) if gid is not None and os.geteuid() == 0 else groups
        return launch.prefix(chdir=program.chdir, uid=uid, gid=gid, groups=groups, ends_with_parent=ends_with_parent)

    def signal(self, pid: int, number: int) -> None:
        """Send a signal to a program and to all that it has started."""
        if pid in self._numbers:
            try:
                os.killpg(pid, number)
            except ProcessLookupError:
                # Its session is made before the program begins, and it is not reaped: only a stranger's is missing.
                return
            except PermissionError as error:
                log.write(f"*** signal {number} for process {pid}: {error.strerror} ***")

    def pack(self) -> dict[str, Any]:
        """Pack who runs for an upgrade."""
        return {"numbers": list(self._numbers.items()), "commands": list(self._commands.items())}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on with what `pack` has packed."""
        self._numbers = dict(packed["numbers"])
        self._commands = dict(packed["commands"])

    def gone(self, pid: int, status: int) -> int:
        """Forget a program that has ended; return its number, or 0 if the process was none."""
        command = self._commands.pop(pid, None)
        if command is not None and status:
            log.write(f'*** command "{command}" {hooks.ending(status)} ***')
        return self._numbers.pop(pid, 0)

    def touched(self, done: Sequence[HookPlan], app: AppPlan) -> None:
        """Do what is to be done when a file is touched; commands are not waited for."""
        for hook in done:
            log.write(f'*** {hook.path} has been touched... running "{hook.action}:{hook.argument}" ***')
            try:
                if hook.is_command:
                    prefix = self._prefix(ProgramPlan("", chdir=app.chdir))
                    self._commands[hooks.spawn(hook.argument, app.environment, prefix)] = hook.argument
                else:
                    hooks.do(hook)
            except (hooks.HookFailed, OSError) as error:
                log.write(f"*** {error} ***")


def in_place(command: str) -> str:
    """Let a simple command take the place of its shell, so that the pid and the signals are its own.

    >>> in_place("redis-server - 2>&1"), in_place("cd /srv && ./run"), in_place("A=1 ./run")
    ('exec redis-server - 2>&1', 'cd /srv && ./run', 'A=1 ./run')
    """
    first = (command.split() or [""])[0]
    is_simple = not re.search(r"[;|&(){}\n]", re.sub(r"[<>]&|&>", "", command))
    return f"exec {command}" if is_simple and "=" not in first and first not in ("exec", "!") else command


def write_pid(path: str, pid: int) -> None:
    """Write a pid file for another process. Raises OSError; a link is not followed."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, pidfile.MODE)
    try:
        os.write(fd, f"{pid}\n".encode())
    finally:
        os.close(fd)


def running_pid(path: str) -> int:
    """Read the pid in a pid file whose process is there; 0 if there is none."""
    pid = pidfile.read(path)
    if pid <= 0:
        return 0
    try:
        os.kill(pid, 0)
    except PermissionError:
        return pid
    except (ProcessLookupError, OverflowError):
        return 0
    return pid
