"""`penstock rollback PIDFILE`: let the code serve again that served before the last reload.

That is possible while it stands by (`reload-watch`), and while a reload is still going on. The command ends with 0 when
the old code serves, and with 3 when there is none to go back to.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands.control import ask

SUMMARY = "go back to the code before the last reload, while reload-watch keeps it (3: there is none)"
USAGE = "PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Ask the master, and say what came of it."""
    return ask("rollback", arguments)
