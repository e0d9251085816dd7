"""`penstock resume PIDFILE`: let an instance that was paused take requests again."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands.control import ask

SUMMARY = "tell an instance that is paused to take requests again"
USAGE = "PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Ask the master."""
    return ask("resume", arguments)
