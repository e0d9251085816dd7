"""Options of starting, reloading and stopping an instance."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "Starting and stopping"

OPTIONS = (
    Option(
        name="die-on-term",
        type="flag",
        default=True,
        tier=1,
        help="let SIGTERM stop the instance; false makes it reload, as in uWSGI",
        verdict="differs",
        note="on unless set to false",
    ),
    Option(
        name="exit-on-reload",
        type="flag",
        tier=3,
        help="end where a reload is asked for, so that a supervisor starts the instance anew",
        verdict="differs",
        note="requests in flight are finished first",
    ),
    Option(
        name="pidfile",
        type="path",
        metavar="FILE",
        tier=1,
        applies="restart",
        check=not_empty,
        help="write the master's process id here",
        verdict="differs",
        note="removed at every orderly stop; a living instance is not overwritten",
    ),
    Option(
        name="touch-reload",
        type="path",
        metavar="FILE",
        repeatable=True,
        tier=1,
        check=not_empty,
        help="reload when this file is touched, created or removed",
    ),
    Option(
        name="vacuum",
        type="flag",
        tier=1,
        help="remove unix sockets at the end",
    ),
)
