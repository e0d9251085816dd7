"""The application, imported where it would be served: by its own interpreter, as its own user, in a process of its own.

It is what a start does, without sockets, workers or a master (`pyrun`). An import may do anything; so may a start.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from penstock.doctor.facts import Import
from penstock.doctor.gather.sockets import user_name
from penstock.plan.types import Plan
from penstock.values import replace

PATIENCE_S = 60.0
MARK = "imported by penstock doctor"
_SCRIPT = os.path.join(os.path.dirname(__file__), "imported.py")
_FAILED = re.compile(r"^unable to load app .*$", re.MULTILINE)
_AT = re.compile(r" at ((?:/|\S*\.py)[^\s:]*:\d+)")
_TRACEBACK = "Traceback (most recent call last):"


def import_it(
    words: Sequence[str],
    plan: Plan,
    environ: Mapping[str, str],
    cwd: str,
    user: tuple[int, int] | None = None,
    patience_s: float = PATIENCE_S,
) -> Import:
    """Import what the words of a command line name. `user` (uid, gid) is who does, if not whom the words name.

    Raises OSError: that user may not run Penstock's interpreter, or not enter `cwd`.
    """
    began = time.monotonic()
    command = [sys.executable, "-P", "-m", "penstock", *words, "--pyrun", _SCRIPT]
    identity = {} if user is None else {"user": user[0], "group": user[1], "extra_groups": []}
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        **identity,  # type: ignore[call-overload]
    )
    is_late = False
    try:
        output, _ = process.communicate(timeout=patience_s)
    except subprocess.TimeoutExpired:
        is_late = True
        os.killpg(process.pid, 9)
        output, _ = process.communicate()
    text = output.decode("utf-8", "replace")
    about = Import(
        status=0,
        interpreter=plan.app.interpreter,
        user="" if user is None else user_name(user[0]),
        seconds=time.monotonic() - began,
        is_late=is_late,
    )
    return (
        about if not is_late and MARK in text and process.returncode == 0 else _failed(process.returncode, text, about)
    )


def _failed(status: int, text: str, about: Import) -> Import:
    """Find the reason in what a start says of an application that does not load."""
    match = _FAILED.search(text)
    before, after = (text[: match.start()], text[match.end() :]) if match else ("", text)
    lines = [line.removeprefix("[penstock] ").strip() for line in after.splitlines()]
    lines = [line for line in lines if line and not line.startswith(("***", "getting "))]
    cures = tuple(line.removeprefix("cure: ") for line in lines if line.startswith("cure: "))
    reason = next((line for line in lines if not line.startswith("cure: ")), "")
    if not match and lines:
        reason = lines[-1]
    places = _AT.findall(reason)
    traceback = before[before.rfind(_TRACEBACK) :].rstrip() if _TRACEBACK in before else ""
    return replace(
        about,
        status=status or 1,
        reason=reason,
        place=places[-1] if places else "",
        cures=cures,
        traceback=traceback,
    )
