"""An app that does not load, as the log tells it: what uWSGI's operators look for, then the cause and the cure.

With lazy-apps each worker imports the app, and each fails alike: what stands in the log already is not told again.
"""

from __future__ import annotations

import fcntl
import os

from penstock.worker.loader import AppNotLoaded
from penstock.worker.server_log import say

DIGEST_BYTES = 16


class FailureLog:
    """Writes the failures of a generation and of the workers that are forked from it."""

    def __init__(self, is_reload: bool) -> None:
        """Begin, before the first fork; `is_reload` if another generation serves meanwhile."""
        self._is_reload = is_reload
        # Shared by all processes: which failure was told last.
        self._told_fd = os.memfd_create("penstock-failures", os.MFD_CLOEXEC)

    def write(self, failure: AppNotLoaded, need_app: bool, who: str = "", app: int = 0, point: str = "") -> None:
        """Tell a failure in full, or in one line if it is the one that was told last; `who` could not load the app.

        `app` and `point` are its id and mountpoint.
        """
        if self._is_told(f"{failure.traceback}{failure}".encode("utf-8", "backslashreplace")):
            say(f"{who or 'this process'} can not load the app either: {failure.reason}")
            return
        if failure.traceback:
            say(failure.traceback)
        say(f"unable to load app {app} (mountpoint='{point}') (callable not found or import error)")
        say(str(failure))
        if not need_app:
            say("*** no app loaded. going in full dynamic mode ***")
        elif self._is_reload:
            say("*** the app of the new generation does not load ***")
        else:
            say("*** no app loaded. GAME OVER ***")

    def _is_told(self, text: bytes) -> bool:
        """Whether this was the last failure; it is from now on."""
        # OpenSSL is a megabyte, and most apps load.
        import hashlib

        digest = hashlib.blake2b(text, digest_size=DIGEST_BYTES).digest()
        fcntl.lockf(self._told_fd, fcntl.LOCK_EX)
        try:
            before = os.pread(self._told_fd, DIGEST_BYTES, 0)
            os.pwrite(self._told_fd, digest, 0)
        finally:
            fcntl.lockf(self._told_fd, fcntl.LOCK_UN)
        return before == digest
