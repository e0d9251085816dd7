"""`penstock stop PIDFILE`: tell an instance to finish its requests and stop, and return at once."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from penstock.commands.control import send

SUMMARY = "tell a running instance to stop"
USAGE = "PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Send SIGINT to the master."""
    return send("stop", arguments, signal.SIGINT)
