"""A unix socket that tells the stacks of a worker's threads to whoever connects (`py-tracebacker`).

One daemon thread, which sleeps in `accept` and touches nothing of the application.
"""

from __future__ import annotations

import contextlib
import linecache
import os
import socket
import sys
import threading
import traceback

from penstock.worker.server_log import say

WRITE_TIMEOUT_S = 5.0


class Tracebacker:
    """The socket of one worker."""

    def __init__(self, path: str) -> None:
        """Bind it, in place of a worker that had the path before. A path that can not be bound is logged."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        # Bound under another name first: at no moment may the path refuse.
        passing = f"{path}.{os.getpid()}"
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(passing)
            self._socket.bind(passing)
            os.chmod(passing, 0o600)
            self._socket.listen(8)
            self._identity = os.stat(passing).st_ino
            os.rename(passing, path)
        except (OSError, ValueError) as error:
            self._socket.close()
            say(f"*** py-tracebacker: {path} can not be bound: {error} ***")
            return
        threading.Thread(target=self._serve, daemon=True, name="uWSGITraceBacker").start()
        say(f"Python tracebacker enabled on {path}")

    def close(self) -> None:
        """Remove the path, if it is still this worker's."""
        with contextlib.suppress(OSError, AttributeError):
            if os.stat(self.path).st_ino == self._identity:
                os.unlink(self.path)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                connection.settimeout(WRITE_TIMEOUT_S)
                connection.sendall(stacks().encode("utf-8", "backslashreplace"))


def stacks() -> str:
    """Describe where each thread is, innermost frame last; this one is left out."""
    lines = ["*** Python tracebacker output ***"]
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for number, frame in sys._current_frames().items():
        if number == threading.get_ident():
            continue
        lines.append("")
        for entry in traceback.extract_stack(frame):
            source = entry.line or linecache.getline(entry.filename, entry.lineno or 0).strip()
            lines.append(
                f"thread_id = {names.get(number, number)} filename = {entry.filename} lineno = {entry.lineno} "
                f"function = {entry.name} line = {source}"
            )
    return "\n".join(lines) + "\n"
