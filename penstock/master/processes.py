"""Starting and ending processes: the system calls that the master needs and `subprocess` would hide.

Reaping happens in the loop only, in one place. What is here never waits.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from penstock.master.launch import PR_SET_PDEATHSIG

CHANNEL_FD = 3
"""The descriptor on which a generation finds its channel."""

FIRST_HIGH_FD = 10
"""Descriptors that are to become CHANNEL_FD in a child are moved up to here first."""

STACKS_SIGNAL = signal.SIGRTMIN + 1
"""Makes a worker write the Python stacks of all its threads to the log."""

PR_SET_CHILD_SUBREAPER = 36
"""prctl(2): orphaned descendants become children of this process."""

BOOT = Path(__file__).resolve().parent.parent / "worker" / "boot.py"
"""What a generation's interpreter runs."""


def tidy_descriptors() -> None:
    """See to it that descriptors 0, 1 and 2 are open, and that children get no others.

    Started with one of them closed, the log's lines would go into whatever file or socket is opened first; and what the
    caller left open (a lock, a pipe, a socket of systemd's) would live as long as the longest request.
    """
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            # The listing's own descriptor is among them, and closed by now.
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)


def become_subreaper() -> bool:
    """Let workers whose generation died become children of the master, so that it sees their ends.

    Returns False where the kernel refuses; their closed control pairs have to do there.
    """
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


def end_with_parent() -> None:
    """Have this process, a fork of the master, end by SIGTERM when the master does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def spawn_generation(
    interpreter: str, channel_fd: int, boot: Path = BOOT, flags: tuple[str, ...] = (), prefix: tuple[str, ...] = ()
) -> int:
    """Start a generation's process with its channel on CHANNEL_FD and everything else closed; return its pid.

    `prefix` is what makes it another user's (`launch`). Signal handlers and the signal mask are reset: a mask would
    outlive the exec, and so would what is ignored.

    Raises:
        OSError: there is no such interpreter, or no more processes.
    """
    words = [*prefix, interpreter, *flags, str(boot)]
    return os.posix_spawn(
        words[0],
        words,
        os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, channel_fd, CHANNEL_FD)],
        setsigdef=resettable_signals(),
        setsigmask=[],
    )


def resettable_signals() -> set[int]:
    """List the signals that a child gets back as they are at the start of a program."""
    return {number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)}


class ProcessRef:
    """One process, never another one that got its number later (pidfd_open(2)).

    Where that can not be had (Linux before 5.3, a sandbox that forbids it, no more descriptors) the number has to do:
    a worker that nobody could kill would be worse.
    """

    def __init__(self, pid: int, make: Callable[[int], int] | None = None) -> None:
        """Refer to `pid`; `make` is pidfd_open."""
        self.pid = pid
        self._fd = -1
        self._is_gone = False
        try:
            self._fd = (make or os.pidfd_open)(pid)
        except ProcessLookupError:
            self._is_gone = True
        except (OSError, AttributeError):
            return

    @classmethod
    def adopt(cls, pid: int, fd: int) -> ProcessRef:
        """Go on with the reference that an earlier program of this process had; `fd` is -1 where there was none."""

        def refuse(pid: int) -> int:
            raise OSError

        made = cls(pid, refuse)
        made._fd = fd
        return made

    def fileno(self) -> int:
        """Return the descriptor; -1 if there is none."""
        return self._fd

    def send(self, number: int) -> None:
        """Send a signal; nothing happens if the process is gone."""
        try:
            if self._fd >= 0:
                signal.pidfd_send_signal(self._fd, number)
            elif not self._is_gone:
                os.kill(self.pid, number)
        except OSError:
            return

    def close(self) -> None:
        """Give the reference back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        self._is_gone = True


def python_version() -> str:
    """The version line of the interpreter that runs the master."""
    return sys.version.replace("\n", " ")
