"""Run by the master's own interpreter between a fork and another program: directory, user, and with whom it ends.

posix_spawn(3) can do none of it, and a program of the app's user must not run as root before it has become that user:
not even for the moment in which an interpreter reads its own start-up files. Everything is told in one argument of JSON
(`prefix` makes it); the rest is the program. Nothing of Penstock is imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

EXIT_NOT_STARTED = 127
"""As a shell has it for a program that is not there."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the kernel sends this process a signal when its parent dies."""


def prefix(
    *,
    chdir: str | None = None,
    uid: int | None = None,
    gid: int | None = None,
    groups: Sequence[int] | None = None,
    ends_with_parent: bool = False,
) -> tuple[str, ...]:
    """Make the words that stand before a program's own, so that it begins in this directory and as this user."""
    told: dict[str, Any] = {"chdir": chdir, "uid": uid, "gid": gid, "groups": None if groups is None else list(groups)}
    told["parent"] = os.getpid() if ends_with_parent else 0
    return (sys.executable, "-I", "-S", "-B", __file__, json.dumps(told))


def _become(told: dict[str, Any]) -> None:
    if told["groups"] is not None:
        os.setgroups(told["groups"])
    if told["gid"] is not None:
        os.setgid(told["gid"])
    if told["uid"] is not None:
        os.setuid(told["uid"])
    if told["chdir"] is not None:
        os.chdir(told["chdir"])
    if told["parent"]:
        # After setuid, which takes it back.
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != told["parent"]:
            os._exit(EXIT_NOT_STARTED)


def _main(told: dict[str, Any], program: list[str]) -> None:
    try:
        _become(told)
        # What Python ignores for itself would be ignored by the program, too.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execv(program[0], program)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{program[0]} can not be started: {error}\n".encode("utf-8", "backslashreplace"))
    os._exit(EXIT_NOT_STARTED)


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]), sys.argv[2:])
