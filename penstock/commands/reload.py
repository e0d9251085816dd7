"""`penstock reload PIDFILE`: tell an instance to reload, and return at once."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from penstock.commands.control import send

SUMMARY = "tell a running instance to reload"
USAGE = "PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Send SIGHUP to the master."""
    return send("reload", arguments, signal.SIGHUP)
