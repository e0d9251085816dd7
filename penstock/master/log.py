"""The master's own lines in the server log. Where that goes is decided in `logs`; everything else only writes."""

from __future__ import annotations

from penstock.server_log import LOG


def write(text: str) -> None:
    """Write lines to the log. One write for each call, so that lines of several processes do not mix."""
    LOG.write(text)
