"""Options that do something at once instead of serving; most are also commands (`penstock reload PIDFILE`)."""

from __future__ import annotations

from penstock.options.option import Option, at_least, not_empty

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
        name="extract",
        type="text",
        metavar="FILE|exec://COMMAND",
        tier=3,
        role="command",
        check=not_empty,
        help="print a file, or what a command prints",
        verdict="differs",
        note="files and the schemes exec:// and fd:// only",
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
        name="pause",
        aliases=("suspend",),
        type="path",
        metavar="PIDFILE",
        role="command",
        check=not_empty,
        help="tell the instance with this pid file to take no requests until resume",
        verdict="differs",
        note="an instance that is paused stays so; in uWSGI a second pause resumes it",
    ),
    Option(
        name="ping",
        type="address",
        role="command",
        check=not_empty,
        help="ask the uwsgi socket at this address whether workers answer",
    ),
    Option(
        name="ping-timeout",
        type="seconds",
        tier=3,
        default=3,
        check=at_least(1),
        help="how long ping waits for the answer",
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
        name="resume",
        type="path",
        metavar="PIDFILE",
        role="command",
        check=not_empty,
        help="tell the instance with this pid file to take requests again",
        verdict="differs",
        note="an instance that is not paused goes on; in uWSGI it would be paused",
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
