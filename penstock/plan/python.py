"""Why the Python of a virtual environment can not be run. Looks at the file system, and changes nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

_MOST_LINKS = 40
"""As many as Linux follows (path_resolution(7))."""


def can_be_run(home: str) -> bool:
    """Whether there is a `bin/python` that this user may run."""
    python = os.path.join(home, "bin", "python")
    return os.access(python, os.X_OK) and not os.path.isdir(python)


def why_not(home: str, user: str, may_enter: Callable[[str], bool] | None = None) -> tuple[str, str]:
    """Say why `can_be_run` is false: what is wrong, and what to do about it.

    `may_enter` tells whether this user may go through a directory.
    """
    for parent in (os.path.dirname(home), os.path.dirname(os.path.dirname(home))):
        if "bin" in (os.path.basename(home), os.path.basename(os.path.dirname(home))) and can_be_run(parent):
            return "this lies inside a virtual environment", f"did you mean {parent}?"
    python = os.path.join(home, "bin", "python")
    target, closed = _follow(python, may_enter or _may_enter)
    leads = f"bin/python leads to {target}" if target != python else f"{python} can not be reached"
    if closed is not None:
        cure = f"let everybody through with chmod a+x {closed}, or make the environment with another Python"
        return f"{leads}, and user {user} may not enter {closed}", cure
    if os.path.isfile(target):
        return f"user {user} may not run {target}", f"allow it with chmod a+rx {target}"
    if os.path.islink(python):
        return f"{leads}, which does not exist", f"make it again with python3 -m venv --clear {home}"
    return (
        "there is no bin/python in it that can be run",
        f"make a virtual environment with python3 -m venv {home}, or correct the path",
    )


def closed_on_the_way(program: str, may_enter: Callable[[str], bool] | None = None) -> str | None:
    """Find the first directory on the way to a program, along its links, that the user may not enter."""
    return _follow(program, may_enter or _may_enter)[1]


def not_started(program: str, error: OSError) -> str:
    """Say that this process could not start a program, and, if the way to it is closed, where and what to do."""
    if error.errno != errno.EACCES:
        return f"{program} can not be started: {error.strerror}"
    closed = closed_on_the_way(program)
    text = f"{program} can not be started by user {os.geteuid()}: {error.strerror}"
    if closed is None:
        return text
    return f"{text}, {closed} may not be entered; chmod o+x {closed}, or use a Python that everybody may run"


def _may_enter(directory: str) -> bool:
    return os.access(directory, os.X_OK)


def _follow(path: str, may_enter: Callable[[str], bool]) -> tuple[str, str | None]:
    """Walk along a path and its links: where it ends, and the first directory on the way that refuses."""
    place, links = "/", 0
    rest = path.split("/")[::-1]
    while rest:
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            place = os.path.dirname(place)
            continue
        if os.path.isdir(place) and not may_enter(place):
            return os.path.join(place, part, *reversed(rest)), place
        place = os.path.join(place, part)
        if os.path.islink(place) and links < _MOST_LINKS:
            links += 1
            link = os.readlink(place)
            place = "/" if link.startswith("/") else os.path.dirname(place)
            rest += link.split("/")[::-1]
    return place, None
