"""`pyshell`: a Python prompt in the first worker, on the terminal that the instance was started at.

It runs in a thread beside the worker's own, which go on serving. When it is left (Ctrl-D, exit()) it is opened again,
unless it was to be opened once, or was left at once: nobody types there.
"""

from __future__ import annotations

import code
import contextlib
import sys
import threading
import time
import traceback
from typing import Any

from penstock.worker.apps import Apps
from penstock.worker.server_log import say

THREAD_NAME = "penstock pyshell"
SHORTEST_S = 1.0
"""What ends sooner has no user, and is not opened again."""


def open_shell(text: str, apps: Apps, *, is_once: bool) -> None:
    """Start the thread; it runs `text`, or is a prompt where that is empty."""
    threading.Thread(target=_run, args=(text, _names(apps), is_once), daemon=True, name=THREAD_NAME).start()


def _names(apps: Apps) -> dict[str, Any]:
    """List what the prompt knows: the module `uwsgi`, and the application that answers where no other does."""
    names = {"__name__": "__console__", "__doc__": None, "uwsgi": sys.modules["uwsgi"]}
    return names if apps.fallback is None else {**names, "application": apps.fallback}


def _run(text: str, names: dict[str, Any], is_once: bool) -> None:
    # Arrow keys and a history, where the interpreter has them.
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401
    while True:
        began = time.monotonic()
        # exit() and quit() raise it; it would end this thread alone, and not in peace.
        with contextlib.suppress(SystemExit):
            _once(text, names)
        if is_once or time.monotonic() - began < SHORTEST_S:
            say("*** the Python prompt has ended; the instance goes on ***")
            return


def _once(text: str, names: dict[str, Any]) -> None:
    if text:
        try:
            exec(compile(text, "<pyshell>", "exec"), names)
        except SystemExit:
            raise
        except BaseException as error:
            own = error.__traceback__
            shown = "".join(traceback.format_exception(type(error), error, own.tb_next if own else None))
            say(f"pyshell = {text}:\n{shown}")
        return
    if sys.stdin is None or sys.stdin.closed:
        # exit() closes it, for the whole process.
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
    code.InteractiveConsole(names).interact(banner="", exitmsg="")
