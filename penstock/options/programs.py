"""Options of programs that run beside the workers."""

from __future__ import annotations

from penstock.options.option import Option, not_empty

TITLE = "Attached programs"

OPTIONS = (
    Option(
        name="attach-control-daemon",
        type="text",
        metavar="COMMAND",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="run a program beside the workers, and end the instance when it ends",
        verdict="differs",
        note="requests in flight are finished first",
    ),
    Option(
        name="attach-daemon",
        type="text",
        metavar="COMMAND",
        repeatable=True,
        tier=1,
        check=not_empty,
        help="run a program beside the workers, and start it again when it ends",
        verdict="differs",
        note="stopped when the last worker is gone, and not started again from then on",
    ),
    Option(
        name="attach-daemon2",
        type="text",
        metavar="KEY=VALUE,...",
        repeatable=True,
        check=not_empty,
        help="run a program beside the workers, described by cmd, pidfile, freq, stopsignal, chdir and other keys",
        verdict="differs",
        note="a key that does not exist is an error; ns_pid and notifypid are ignored with a warning",
    ),
    Option(
        name="daemons-honour-stdin",
        type="flag",
        tier=3,
        help="let attached programs read the standard input of the start instead of an empty one",
    ),
    Option(
        name="smart-attach-daemon",
        type="text",
        metavar="PIDFILE COMMAND",
        repeatable=True,
        check=not_empty,
        help="start a program that goes to the background by itself whenever its pid file names no process",
    ),
    Option(
        name="smart-attach-daemon2",
        type="text",
        metavar="PIDFILE COMMAND",
        repeatable=True,
        check=not_empty,
        help="run a program in the background, with a pid file that is written for it, across reloads and restarts",
    ),
)
