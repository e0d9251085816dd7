"""What is done at the points of an instance's life (`hook-*`, `exec-*`): one action after the other, in any process.

A command runs as a child that is waited for, by the shell, with nothing on standard input and the log as output.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from penstock.plan.process_types import HookPlan
from penstock.server_log import LOG

SHELL = "/bin/sh"
LOOK_S = 0.005
"""How often it is looked whether a command has ended. A pidfd would tell, and is not there before Linux 5.3."""
Environment = tuple[tuple[str, str | None], ...]
"""(name, value); None removes it."""


class HookFailed(Exception):
    """An action could not be done, or asked for the end: what happened, and the status to end with."""

    def __init__(self, message: str, status: int = 1) -> None:
        self.status = status
        super().__init__(message)


def run(
    hooks: Iterable[HookPlan],
    environment: Environment = (),
    prefix: tuple[str, ...] = (),
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Do what each hook says. `environment` and `prefix` are what commands get beside this process's own.

    Raises HookFailed at the first that fails, and for a command that is ended because `is_over`.
    """
    for hook in hooks:
        LOG.write(f'running "{hook.action}:{hook.argument}" ({hook.point})...')
        if hook.is_command:
            status = _wait(spawn(hook.argument, environment, prefix, own_group=True), is_over)
            if status:
                message = f'command "{hook.argument}" {ending(status)} ({hook.origin})'
                if hook.action == "exec":
                    raise HookFailed(message)
                LOG.write(message)
        else:
            do(hook)


def do(hook: HookPlan) -> None:
    """Do what a hook says that is no command. Raises HookFailed."""
    try:
        ACTIONS[hook.action](hook.argument)
    except (OSError, LookupError, ValueError) as error:
        raise HookFailed(f"{hook.action}:{hook.argument} failed: {error} ({hook.origin})") from error


def spawn(
    command: str,
    environment: Environment = (),
    prefix: tuple[str, ...] = (),
    *,
    own_session: bool = False,
    own_group: bool = False,
    keeps_input: bool = False,
    output_fd: int = 2,
) -> int:
    """Start a command; return its pid. Raises OSError.

    It gets no descriptor beside 0, 1 and 2: every other one of this process is closed by exec.
    """
    variables = dict(os.environ)
    for name, value in environment:
        if value is None:
            variables.pop(name, None)
        else:
            variables[name] = value
    group: Any = {"setpgroup": 0} if own_group else {}
    words = [*prefix, SHELL, "-c", command]
    empty = () if keeps_input else ((os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),)
    return os.posix_spawn(
        words[0],
        words,
        variables,
        file_actions=[*empty, (os.POSIX_SPAWN_DUP2, output_fd, 1), (os.POSIX_SPAWN_DUP2, output_fd, 2)],
        setsid=own_session,
        setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        **group,
        setsigmask=[],
    )


def ending(status: int) -> str:
    """Say how a command failed.

    >>> ending(768), ending(9)
    ('exited with non-zero code: 3', 'was killed by signal 9')
    """
    code = os.waitstatus_to_exitcode(status)
    return f"was killed by signal {-code}" if code < 0 else f"exited with non-zero code: {code}"


def _wait(pid: int, is_over: Callable[[], bool]) -> int:
    """Wait for a command; end it, with all that it started, once `is_over`."""
    while not is_over():
        try:
            ended, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return 0  # The app ignores its children, and the kernel has thrown the status away.
        if ended:
            return status
        time.sleep(LOOK_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _split(argument: str) -> tuple[str, str]:
    path, _, text = argument.partition(" ")
    return path, text


def _write(mode: str, end: str) -> Callable[[str], None]:
    def write(argument: str) -> None:
        path, text = _split(argument)
        with open(path, mode, encoding="utf-8") as file:
            file.write(text + end)

    return write


def _chmod(argument: str) -> None:
    path, mode = _split(argument)
    os.chmod(path, int(mode, 8))


def _chown(argument: str) -> None:
    path, user, group = argument.split()
    # Few need them, and every worker imports this.
    import grp
    import pwd

    uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    os.chown(path, uid, int(group) if group.isdigit() else grp.getgrnam(group).gr_gid)


def _mkdir(path: str) -> None:
    with contextlib.suppress(FileExistsError):
        os.mkdir(path)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644))


def _putenv(pair: str) -> None:
    name, _, value = pair.partition("=")
    os.environ[name] = value


def _exit(status: str) -> None:
    raise HookFailed("the configuration ends the start here (exit)", int(status or "0"))


ACTIONS: dict[str, Callable[[str], None]] = {
    "append": _write("a", ""),
    "appendn": _write("a", "\n"),
    "cd": os.chdir,
    "chdir": os.chdir,
    "chmod": _chmod,
    "chown": _chown,
    "create": _create,
    "creat": _create,
    "exit": _exit,
    "log": LOG.write,
    "mkdir": _mkdir,
    "print": LOG.write,
    "putenv": _putenv,
    "unlink": os.unlink,
    "write": _write("w", ""),
    "writen": _write("w", "\n"),
}
"""Every action beside exec and safeexec, as the plan knows them by `HOOK_ACTIONS`."""
