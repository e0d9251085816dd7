"""`penstock reload PIDFILE`: tell an instance to reload, and return at once.

With `--wait` it returns when the reload is over: 0 when the new code serves, 3 when the old code goes on instead.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from penstock.commands.control import ask, send

SUMMARY = "tell a running instance to reload; with --wait, tell how that went (3: it failed)"
USAGE = "[--wait] PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Send SIGHUP to the master, or ask it and wait."""
    if "--wait" in arguments:
        return ask("reload", [word for word in arguments if word != "--wait"])
    return send("reload", arguments, signal.SIGHUP)
