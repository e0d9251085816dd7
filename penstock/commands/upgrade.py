"""`penstock upgrade PIDFILE`: let a running instance go on as the Penstock that is installed now.

Its sockets, its pid and its requests stay. It returns when the workers have the new engine (0), or when everything goes
on as before (3) with the reason; with `--no-wait` at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands.control import ask

SUMMARY = "let a running instance go on as the Penstock that is installed now (3: it could not)"
USAGE = "[--no-wait] PIDFILE | FILE"


def run(arguments: Sequence[str]) -> int:
    """Ask the master, and wait for the end of it."""
    words = [word for word in arguments if word not in ("--wait", "--no-wait")]
    return ask("upgrade", words, wait="--no-wait" not in arguments)
