"""Options of statistics."""

from __future__ import annotations

from penstock.options.option import Option

TITLE = "Statistics"

OPTIONS = (
    Option(
        name="memory-report",
        short="m",
        type="flag",
        help="tell how much memory each worker uses",
        verdict="not-needed",
        note="the statistics always tell; the log of requests does not",
    ),
    Option(
        name="stats",
        aliases=("stats-server",),
        type="address",
        tier=1,
        applies="restart",
        help="give statistics as JSON to whoever connects here",
    ),
)
