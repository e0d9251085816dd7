"""`penstock pause PIDFILE`: let an instance take no requests, and return when it has been told so.

Requests in flight are finished; those that come wait in the kernel's queue until `penstock resume PIDFILE`.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands.control import ask

SUMMARY = "tell a running instance to take no requests until resume"
USAGE = "PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Ask the master. A signal could not tell a pause from its end."""
    return ask("pause", arguments)
