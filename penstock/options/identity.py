"""Options of the user that the instance runs as."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "User and group"

OPTIONS = (
    Option(
        name="add-gid",
        type="text",
        metavar="GROUP",
        repeatable=True,
        applies="restart",
        check=not_empty,
        help="additional group to run with, when started by root",
    ),
    Option(
        name="drop-after-apps",
        type="flag",
        tier=3,
        applies="restart",
        help="import the application as root, and change the user before requests are served",
        verdict="differs",
        note="the master stays root, because the next reload imports as root, too",
    ),
    Option(
        name="drop-after-init",
        type="flag",
        tier=3,
        help="change the user after the sockets and logs are opened",
        verdict="not-needed",
        note="sockets, pid file and logs are always opened as root first, and the application is imported after",
    ),
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
        name="master-as-root",
        type="flag",
        tier=3,
        applies="restart",
        help="let the master stay root; everything that imports the application changes its user all the same",
        verdict="differs",
        note="the user changes before the application is imported, where uWSGI imports it as root",
    ),
    Option(
        name="no-initgroups",
        type="flag",
        tier=3,
        applies="restart",
        help="do not take the groups that the user is a member of",
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
