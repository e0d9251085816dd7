"""Going to the background, and telling the shell only then how it went.

uWSGI's parent leaves with status 0 before the app is imported. Here the process that the shell waits for stays until
the master says through a pipe that it is ready, or why it is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn, Protocol

READY = b"R"
FAILED = b"F"

EXIT_INTERRUPTED = 130
"""As a shell has it for a program that Ctrl-C ended."""


class Starter(Protocol):
    """Who started the instance and may want to know how that went, beside the log."""

    def ready(self) -> None:
        """Every worker is ready; nothing more will be told."""

    def failed(self, status: int, text: str) -> None:
        """There will be no instance; `text` is for a person, `status` for the shell."""


class Terminal:
    """The standard error of the shell, where the log itself goes to a file; -1 where the log is all that there is."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def ready(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def failed(self, status: int, text: str) -> None:
        """Print why there will be no instance."""
        try:
            if self._fd >= 0:
                os.write(self._fd, text.rstrip("\n").encode("utf-8", "backslashreplace") + b"\n")
        except OSError:
            pass  # Nobody reads it; the log has it too.
        self.ready()


class ParentPipe:
    """The daemon's end of the pipe to the process that the shell waits for."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def ready(self) -> None:
        """Let the parent end with status 0."""
        self._send(READY + str(os.getpid()).encode())

    def failed(self, status: int, text: str) -> None:
        """Let the parent print `text` and end with `status`."""
        self._send(FAILED + f"{status}\n{text}".encode("utf-8", "backslashreplace"))

    def _send(self, data: bytes) -> None:
        if self._fd < 0:
            return
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            pass  # The parent was killed: the shell has its answer.
        os.close(self._fd)
        self._fd = -1


def detach(log_file: str) -> ParentPipe | int:
    """Fork into the background.

    In the daemon: the pipe to the parent. In the parent: the exit status, when the daemon has told it; one line on
    standard error says how it went and where the log is.
    """
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    middle = os.fork()
    if middle:
        os.close(write_end)
        os.waitpid(middle, 0)
        return _wait_for_daemon(read_end, os.fsencode(log_file))
    os.close(read_end)
    os.setsid()
    if os.fork():
        # The second fork gives up the leadership of the session, and with it the way to a controlling terminal.
        os._exit(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return ParentPipe(write_end)


def _wait_for_daemon(read_end: int, log_file: bytes) -> int:
    parts = []
    try:
        while part := os.read(read_end, 65536):
            parts.append(part)
    except KeyboardInterrupt:
        os.write(2, b"penstock: not waiting any longer; the start goes on in the background, and the log tells how\n")
        return EXIT_INTERRUPTED
    os.close(read_end)
    told = b"".join(parts)
    if told.startswith(READY):
        os.write(2, b"penstock is ready (pid " + told[1:] + b"); its log is " + log_file + b"\n")
        return 0
    if told.startswith(FAILED):
        status, _, text = told[1:].partition(b"\n")
        os.write(2, text.rstrip(b"\n") + b"\npenstock did not start; its log is " + log_file + b"\n")
        return int(status) or 1
    os.write(2, b"penstock: the master died before it was ready; its log is " + log_file + b"\n")
    return 1


def forever(call: Callable[[], int]) -> NoReturn:
    """Run a daemon's whole life and end the process with its status, past every `finally` of the shell's process."""
    status = 1
    try:
        status = call()
    except BaseException:
        import traceback  # Only for this, and it brings much with it.

        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(status)
