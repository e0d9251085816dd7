"""What the app finds around itself: directory, environment, `sys.path`, `sys.argv`, standard streams.

All of it is set before the app is imported, once for each generation. User, group and umask are the master's own, which
has taken them long before. How the app is found and called is `loader`.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any, TextIO, cast

from penstock.worker.channel import Start
from penstock.worker.server_log import say

Environment = tuple[tuple[str, str | None], ...]
"""(name, value); None removes it."""


class Unfit(Exception):
    """The surroundings that the plan asks for can not be had: what, why, and the option at fault."""


def prepare(start: Start) -> None:
    """Give this process the surroundings that `start` describes. Raises Unfit."""
    apply_environment(start.app.environment)
    enter_directory(start.app.chdir)
    extend_path(start.app.pythonpath, start.app.chdir, start.app.environment)
    python = start.app.python
    sys.argv = ["uwsgi", *python.arguments]
    if python.executable is not None:
        sys.executable = python.executable


def change_user(become: dict[str, Any] | None) -> None:
    """Become the user that serves, after an import as root (`drop-after-apps`). Raises OSError."""
    if become is None:
        return
    os.setgroups(become["groups"])
    os.setgid(become["gid"])
    os.setuid(become["uid"])
    say(f"setuid() to {become['uid']}, setgid() to {become['gid']} after the import")


def take_streams(log_fd: int, *, keeps_input: bool) -> None:
    """Point standard output and error at the log, a whole line at a time, and standard input at nothing."""
    if not keeps_input:
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        os.dup2(null, 0)
        os.close(null)
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):
        if stream is not None:
            stream.flush()
        os.dup2(log_fd, descriptor)
    # A text that the log's encoding lacks must not turn a print() into a failed request.
    for name in ("stdout", "stderr"):
        stream = cast("TextIO | None", getattr(sys, name))
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
        else:  # The interpreter found the descriptor closed when it started.
            descriptor = 1 if name == "stdout" else 2
            setattr(sys, name, open(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False))  # noqa: SIM115


def apply_environment(pairs: Environment) -> None:
    """Set and remove variables in their order; a later one wins."""
    for name, value in pairs:
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    if any(name == "TZ" for name, _ in pairs):
        time.tzset()


def enter_directory(directory: str) -> None:
    """Work in `directory`. Raises Unfit."""
    try:
        if os.getcwd() == directory:
            return
    except OSError:
        pass  # The directory that we stand in was removed; a chdir still works.
    try:
        os.chdir(directory)
    except OSError as error:
        raise Unfit(f"can not enter the directory {directory} (option chdir): {error.strerror}") from error
    say(f"chdir() to {directory}")


def extend_path(pythonpath: tuple[str, ...], directory: str, environment: Environment = ()) -> None:
    """Put the `pythonpath` entries and then the working directory before the interpreter's own `sys.path`.

    A PYTHONPATH among the `env` options comes too late for the interpreter, so its entries follow here, where the
    interpreter itself would have put them.
    """
    late = dict(environment).get("PYTHONPATH") or ""
    front = [*pythonpath, directory, *(entry for entry in late.split(os.pathsep) if entry)]
    sys.path[:] = [*dict.fromkeys(front), *(entry for entry in sys.path if entry not in front)]
    for entry in pythonpath:
        say(f"added {entry.rstrip('/')}/ to pythonpath.")
