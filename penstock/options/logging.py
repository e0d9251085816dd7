"""Options of the log."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "Logging"

OPTIONS = (
    Option(
        name="daemonize",
        short="d",
        type="path",
        metavar="LOGFILE",
        tier=1,
        applies="restart",
        check=not_empty,
        help="go to the background once the application is loaded, logging to this file",
        verdict="differs",
        note="returns when the application has been imported, with its result",
    ),
    Option(
        name="disable-logging",
        short="L",
        type="flag",
        tier=1,
        help="do not log requests",
    ),
    Option(
        name="logto",
        type="path",
        metavar="FILE",
        tier=1,
        applies="restart",
        check=not_empty,
        help="append the log to this file instead of standard error",
    ),
)
