"""An upgrade of Penstock: the master execs itself, and goes on as the new version with all that it had.

The pid stays, and so do the sockets, the pid files with their locks, and every child. What the master knows goes over
as one JSON value in a memfd; what it holds goes over as open descriptors under the same numbers. Each part of the
master packs itself (`pack`) and comes out of what was packed again; here is what they share, and the exec.

Two safeguards: before anything is given up the new program is run once beside the master and has to read the whole
state (`penstock.master.trial`); and should it fail nevertheless, the new process begins anew on the same sockets.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import penstock
from penstock.config.environment import TAKE_OVER
from penstock.master.generation_link import memory_file
from penstock.master.luggage import HandoverError, Luggage
from penstock.master.sockets import BoundListener
from penstock.plan.activation import SALVAGED
from penstock.plan.inherited import describe
from penstock.plan.types import InheritedSocket

FORMAT = 1
"""Changes whenever a state can not be read by the version before or after it. A field that is added with a default
needs no other number: it is missing in an older state, and one that is unknown is an error in any case."""

TAKE, CHECK = "take", "check"
"""What the variable asks for: to take over, or only to say whether that would be possible."""


def document(
    state: dict[str, Any], listeners: Iterable[BoundListener], luggage: Luggage, environment: Mapping[str, str]
) -> dict[str, Any]:
    """Put a state into what goes over. What stands outside of `state` means the same in every format.

    `environment` is what a start needs of the variables that this one has taken away.
    """
    return {
        "format": FORMAT,
        "version": penstock.__version__,
        "listeners": [one.fd for one in listeners],
        "descriptors": sorted(luggage.fds),
        "environment": dict(environment),
        "state": state,
    }


def execute(content: dict[str, Any], start_directory: str) -> None:
    """Become the new program. Returns never, but by an error.

    Signals have to be held back: one that came before the new program has handlers would end it.

    Raises:
        OSError: the program can not be executed; nothing has changed.
    """
    here = os.getcwd()
    fd = memory_file("penstock-state", json.dumps(content).encode())
    kept = [fd, *content["descriptors"]]
    try:
        for each in kept:
            os.set_inheritable(each, True)
        # As at the start: the command line may name files from there.
        os.chdir(start_directory)
        os.execve(sys.executable, sys.orig_argv, {**os.environ, TAKE_OVER: f"{TAKE}:{fd}"})
    finally:
        with contextlib.suppress(OSError):
            os.chdir(here)
        for each in kept:
            os.set_inheritable(each, each <= 2)
        os.close(fd)


def read(fd: int) -> dict[str, Any]:
    """Read what another version has handed over.

    Raises:
        HandoverError: it is nothing of the kind.
    """
    try:
        with os.fdopen(fd, "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError) as error:
        raise HandoverError(f"the state that was handed over can not be read: {error}") from error
    if not isinstance(found, dict):
        raise HandoverError("the state that was handed over is no state")
    return found


def state_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Take the state out of what was handed over.

    Raises:
        HandoverError: it is of another format.
    """
    if found.get("format") != FORMAT or not isinstance(found.get("state"), dict):
        theirs, mine = found.get("version", "another version"), penstock.__version__
        raise HandoverError(
            f"Penstock {mine} can not go on from the state of {theirs} (format {found.get('format')}, not {FORMAT}): "
            "stop and start the instance"
        )
    state: dict[str, Any] = found["state"]
    return state


def salvage(found: Mapping[str, Any]) -> tuple[InheritedSocket, ...]:
    """Keep only the listening sockets of an instance that can not be taken over, for a start on them.

    Everything else is closed, the lifeline with it: the workers finish what they have, and end.
    """
    sockets = {fd for fd in found.get("listeners", ()) if isinstance(fd, int)}
    for fd in found.get("descriptors", ()):
        if isinstance(fd, int) and fd > 2 and fd not in sockets:
            with contextlib.suppress(OSError):
                os.close(fd)
    variables = found.get("environment")
    if isinstance(variables, dict):
        os.environ.update({str(name): str(value) for name, value in variables.items()})
    return tuple(describe(fd, f"{SALVAGED}{fd}") for fd in sorted(sockets))
