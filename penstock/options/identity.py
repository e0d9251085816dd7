"""Options of the user that the instance runs as."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "User and group"

OPTIONS = (
    Option(
        name="gid",
        type="text",
        metavar="GROUP",
        tier=1,
        applies="restart",
        check=not_empty,
        help="group to run as, when started by root",
    ),
    Option(
        name="uid",
        type="text",
        metavar="USER",
        tier=1,
        applies="restart",
        check=not_empty,
        help="user to run as, when started by root",
    ),
)
