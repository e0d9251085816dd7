"""One line, or a block of lines, for the server log."""

from __future__ import annotations

from penstock.server_log import LOG


def say(text: str) -> None:
    """Write `text` and a newline."""
    LOG.write(text)
