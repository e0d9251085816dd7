"""The master's FIFO: one letter is one command, as in uWSGI.

It is made with mode 0600 by the user that the instance runs as. The master holds both ends, so that a writer that comes
and goes is never an end of file.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.master import events as ev

if TYPE_CHECKING:
    from penstock.master.luggage import Luggage

MODE = 0o600

COMMANDS: dict[str, ev.Event] = {
    "+": ev.WorkersRequested(1, "master-fifo"),
    "-": ev.WorkersRequested(-1, "master-fifo"),
    "f": ev.UpgradeRequested("master-fifo"),
    "c": ev.WorkersReload("chain reload", chain=True),
    "C": ev.SleepRequested("master-fifo"),
    "p": ev.Signal("SIGTSTP"),
    "q": ev.StopRequested(),
    "Q": ev.StopRequested(now=True),
    "r": ev.ReloadRequested("master-fifo"),
    "R": ev.ReloadRequested("master-fifo"),
    "s": ev.Signal("SIGUSR1"),
    "w": ev.WorkersReload("reload of the workers"),
    "W": ev.WorkersReload("reload of the workers"),
}
"""f makes a new master out of the program as it is now, as in uWSGI, but in the same process. R and W are gentle here
too: nothing is gained by cutting requests."""

NOT_HERE = {
    "E": "there is no Emperor here",
    "B": "there are no broodlords here",
    "S": "there are no subscriptions here",
    "P": "pid files are written once, at the start",
}
"""Commands of uWSGI for what Penstock does not have, and why nothing happens."""


class MasterFifo:
    """The FIFOs of `master-fifo`, of which one at a time is read."""

    def __init__(
        self, paths: Sequence[str], log: Callable[[str], None], others: Mapping[str, Callable[[], None]] | None = None
    ) -> None:
        """Make them; one that can not be made is said and left out.

        `others` is what is done at once at letters that mean nothing to the policy.
        """
        self._log = log
        self._others = others or {}
        self._fds: list[int] = []
        self._paths: list[str] = []
        self._active = 0
        for path in paths:
            try:
                self._fds.append(_make(path))
                self._paths.append(path)
            except OSError as error:
                log(f"*** the master-fifo {path} can not be made: {error.strerror} ***")

    def fileno(self) -> int:
        """Return the descriptor of the one that is read; -1 if there is none."""
        return self._fds[self._active] if self._fds else -1

    def read(self) -> list[ev.Event]:
        """Take the commands that have come. A digit chooses another FIFO, which is told by `fileno`."""
        try:
            letters = os.read(self.fileno(), 4096).decode("latin-1")
        except BlockingIOError:
            return []
        found: list[ev.Event] = []
        for letter in letters:
            if letter.isascii() and letter.isdigit() and int(letter) < len(self._fds):
                self._active = int(letter)
                self._log(f"active master fifo is now {self._paths[self._active]}")
            elif letter in COMMANDS:
                found.append(COMMANDS[letter])
            elif letter in self._others:
                self._others[letter]()
            elif letter in NOT_HERE:
                self._log(f"master-fifo: {letter} is ignored, {NOT_HERE[letter]}")
            elif not letter.isspace():
                self._log(f"master-fifo: {letter!r} is no command and is ignored")
        return found

    def pack(self, luggage: Luggage) -> dict[str, Any]:
        """Pack everything for an upgrade."""
        return {"paths": self._paths, "fds": [luggage.take(fd) for fd in self._fds], "active": self._active}

    def unpack(self, packed: Mapping[str, Any]) -> None:
        """Go on with what `pack` has packed."""
        self._paths, self._fds, self._active = list(packed["paths"]), list(packed["fds"]), packed["active"]

    def close(self) -> None:
        """Remove them, if they are still ours."""
        for path, fd in zip(self._paths, self._fds, strict=True):
            with contextlib.suppress(OSError):
                if os.path.samestat(os.lstat(path), os.fstat(fd)):
                    os.unlink(path)
            os.close(fd)
        self._fds, self._paths = [], []


def _make(path: str) -> int:
    """Make a FIFO, in place of an older one, and open both of its ends.

    Raises:
        OSError: it can not be made; a file that is no FIFO is never replaced.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISFIFO(os.lstat(path).st_mode):
            raise FileExistsError(None, "there is a file of that name that is no FIFO")
        os.unlink(path)
    os.mkfifo(path, MODE)
    os.chmod(path, MODE)
    return os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
