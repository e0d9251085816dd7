"""Options of statistics."""

from __future__ import annotations

from penstock.options.option import Option

TITLE = "Statistics"

OPTIONS = (
    Option(
        name="memory-report",
        short="m",
        type="flag",
        help="tell in request lines how much memory their worker uses",
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
