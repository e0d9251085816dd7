"""`penstock reopen PIDFILE`: have an instance go on in new log files, where the old ones have been renamed."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.commands.control import fail
from penstock.commands.target import NO_PROCESS, Refused, find_target
from penstock.master.control_client import ControlError, request

SUMMARY = "have a running instance open its log files anew, after they were renamed"
USAGE = "--pid PID | PIDFILE | FILE"
PATIENCE_S = 30.0


def run(arguments: Sequence[str]) -> int:
    """Ask the master; it has done so when this returns."""
    words, rest, pid = iter(arguments), [], None
    for word in words:
        option, equals, value = word.partition("=")
        if option == "--pid":
            pid = value if equals else next(words, "")
        else:
            rest.append(word)
    try:
        target = find_target(f"penstock reopen {USAGE}", rest, pid)
        answer = request(target.pid, "reopen", timeout_s=PATIENCE_S)
    except Refused as refused:
        return fail(refused.status, str(refused))
    except ControlError as error:
        return fail(NO_PROCESS, str(error))
    return int(answer["status"]) if answer["ok"] else fail(int(answer["status"]), str(answer.get("reason")))
