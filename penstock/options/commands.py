"""Options that do something at once instead of serving; most are also commands (`penstock reload PIDFILE`)."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "Commands"

OPTIONS = (
    Option(
        name="connect-and-read",
        type="address",
        role="command",
        check=not_empty,
        help="connect to an address and print what it sends, for instance statistics",
    ),
    Option(
        name="help",
        aliases=("usage",),
        short="h",
        type="flag",
        tier=1,
        role="command",
        help="show this help",
    ),
    Option(
        name="python-version",
        type="flag",
        tier=3,
        role="command",
        help="show the version of Python",
    ),
    Option(
        name="reload",
        type="path",
        metavar="PIDFILE",
        tier=1,
        role="command",
        check=not_empty,
        help="tell the instance with this pid file to reload",
    ),
    Option(
        name="stop",
        type="path",
        metavar="PIDFILE",
        tier=1,
        role="command",
        check=not_empty,
        help="tell the instance with this pid file to stop",
    ),
    Option(
        name="version",
        type="flag",
        tier=1,
        role="command",
        help="show the versions of Penstock, Python and the engine",
    ),
)
