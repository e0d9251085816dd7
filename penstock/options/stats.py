"""Options of statistics, and of probes."""

from __future__ import annotations

from penstock.options.option import Option

TITLE = "Statistics and probes"

OPTIONS = (
    Option(
        name="admin",
        type="address",
        tier=1,
        applies="restart",
        help="answer probes by HTTP here: /livez, /readyz, /saturation and /version, from the master",
        verdict="new",
    ),
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
    Option(
        name="stats-http",
        type="flag",
        help="give statistics as the response to an HTTP request",
    ),
    Option(
        name="stats-minified",
        aliases=("stats-min",),
        type="flag",
        help="give statistics in one line",
    ),
    Option(
        name="stats-no-cores",
        type="flag",
        help="give statistics without single threads",
    ),
    Option(
        name="stats-no-metrics",
        type="flag",
        help="give statistics without metrics",
        verdict="not-needed",
        note="there are none among them",
    ),
)
