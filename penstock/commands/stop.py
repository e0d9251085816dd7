"""`penstock stop PIDFILE`: tell an instance to finish its requests and stop, and return at once.

With `--wait` it returns when the instance has ended; with `--timeout` it gives up waiting, not stopping, after so many
seconds, and ends with 3. `--now` lets no request end.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence

from penstock.commands.control import NO_FILE, Refused, fail, send, stop_and_wait

SUMMARY = "tell a running instance to stop; with --wait, return when it has (3: not within --timeout)"
USAGE = "[--wait] [--timeout SECONDS] [--now] PIDFILE"


def run(arguments: Sequence[str]) -> int:
    """Stop the instance, and wait for its end if that is asked for."""
    words, rest, waits, timeout_s = iter(arguments), [], False, None
    try:
        for word in words:
            option, equals, value = word.partition("=")
            if option == "--timeout":
                waits, timeout_s = True, _seconds(value if equals else next(words, ""))
            elif word == "--wait":
                waits = True
            elif word != "--now":
                rest.append(word)
        number = signal.SIGQUIT if "--now" in arguments else signal.SIGINT
        return stop_and_wait(rest, number, timeout_s) if waits else send("stop", rest, number)
    except Refused as refused:
        return fail(refused.status, str(refused))


def _seconds(text: str) -> float:
    """Read the value of --timeout."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise Refused(NO_FILE, f"--timeout = {text or 'nothing'} is not a number of seconds, as 30 or 0.5")
    return seconds
