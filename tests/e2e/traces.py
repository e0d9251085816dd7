"""Proof that what failed was in the hands of a process that was killed: each failed request is traced to a kill.

What a client sees (`load.Failure`), what the kernel says that each process held when it was killed (`held.Kill`), and
what the app has marked (`apps/marked.py`) have to agree. Behind a proxy the connections that the process held are the
proxy's, one for each request; there they are counted, and the marks tell whose request it was.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from tests.e2e.held import Kill
from tests.e2e.load import Failure

Where = Literal["race", "read", "app", "answer"]
"""What a request was in when its process was killed: sent to a process that was dead already on a connection that it
had (`race`), not with the app yet, in the app, or answered by the app and not sent yet."""


class NotInFlight(AssertionError):
    """A request failed that no killed process had."""


class Marks:
    """What the app has marked: which process began and ended which request."""

    def __init__(self, path: Path) -> None:
        self.begun: dict[str, list[int]] = defaultdict(list)
        self.ended: set[str] = set()
        for line in path.read_text().splitlines():
            what, mark, pid = line.split()
            if what == "begin":
                self.begun[mark].append(int(pid))
            else:
                self.ended.add(mark)

    def where(self, failure: Failure, kill: Kill) -> Where:
        """Tell what a failed request was in. Raises NotInFlight if another process than the killed one had it."""
        pids = self.begun.get(failure.mark, [])
        if any(pid != kill.pid for pid in pids):
            raise NotInFlight(f"{failure} ({failure.mark}): process {pids} began it, and {kill.pid} was killed")
        if failure.mark in self.ended:
            return "answer"
        if pids:
            return "app"
        return "read" if failure.began < kill.at else "race"


def trace(failures: Sequence[Failure], kills: Sequence[Kill], marks: Marks, has_proxy: bool) -> Counter[Where]:
    """Trace each failure to a kill; how many there were of each kind. Raises NotInFlight for one that is of none."""
    found: Counter[Where] = Counter()
    through: Counter[int] = Counter()
    for failure in failures:
        kill = _by_time(failure, kills) if has_proxy else _by_connection(failure, kills)
        if kill is None:
            raise NotInFlight(f"{failure} ({failure.mark}): no process that was killed had it")
        where = marks.where(failure, kill)
        if where == "race" and (has_proxy or not failure.is_race):
            raise NotInFlight(f"{failure} ({failure.mark}): it came after process {kill.pid} was killed")
        found[where] += 1
        through[kill.pid] += 1
        if has_proxy and through[kill.pid] > len(kill.held):
            raise NotInFlight(f"{failure}: process {kill.pid} had {len(kill.held)} connections, and more have failed")
    return found


def _by_connection(failure: Failure, kills: Sequence[Kill]) -> Kill | None:
    """Find the process that had the connection of a request. Ports are used again: it was made before the kill."""
    for kill in kills:
        if failure.connection in kill.held and failure.opened < kill.at < failure.failed:
            return kill
    return None


def _by_time(failure: Failure, kills: Sequence[Kill]) -> Kill | None:
    """Find the process that was killed while a request went on."""
    return next((kill for kill in kills if failure.began < kill.at < failure.failed), None)
