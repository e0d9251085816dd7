"""`penstock stop PIDFILE`: tell an instance to finish its requests and stop, and return at once.

With `--wait` it returns when the instance has ended; with `--timeout` it gives up waiting, not stopping, after so many
seconds, and ends with 3. `--now` lets no request end.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from penstock.commands.control import fail, seconds, send, stop_and_wait
from penstock.commands.target import Refused

SUMMARY = "tell a running instance to stop; with --wait, return when it has (3: not within --timeout)"
USAGE = "[--wait] [--timeout SECONDS] [--now] PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Stop the instance, and wait for its end if that is asked for."""
    words, rest, waits, timeout_s = iter(arguments), [], False, None
    try:
        for word in words:
            option, equals, value = word.partition("=")
            if option == "--timeout":
                waits, timeout_s = True, seconds(value if equals else next(words, ""))
            elif word == "--wait":
                waits = True
            elif word != "--now":
                rest.append(word)
        number = signal.SIGQUIT if "--now" in arguments else signal.SIGINT
        return stop_and_wait(rest, number, timeout_s) if waits else send("stop", rest, number)
    except Refused as refused:
        return fail(refused.status, str(refused))
