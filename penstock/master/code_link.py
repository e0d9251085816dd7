"""What the loop knows of code that is watched (`py-auto-reload`): that there may be a watch, and who is told."""

from __future__ import annotations

import selectors
from collections.abc import Callable
from typing import TYPE_CHECKING

from penstock.master import events as ev
from penstock.master import log

if TYPE_CHECKING:
    from penstock.master.code_watch import CodeWatch


class CodeLink:
    """Begins the watch when there is something to be watched. In production there never is."""

    def __init__(self, selector: selectors.BaseSelector, take: Callable[[ev.Event], None]) -> None:
        self._selector = selector
        self._take = take
        self._watch: CodeWatch | None = None

    def tell(self, generation: int, interval_s: float, modules: str) -> None:
        """Take what a worker says of its modules."""
        self._begun(interval_s).tell(generation, modules)

    def failed(self, interval_s: float, traceback: str) -> None:
        """Watch what code came by that did not load, where a plan wants code to be watched."""
        if interval_s:
            self._begun(interval_s).tell_failed(traceback)

    def serves(self, interval_s: float) -> None:
        """Go on as the plan wants it that serves now."""
        if self._watch is not None and interval_s:
            self._watch.serves(interval_s)
        elif self._watch is not None:
            self._selector.unregister(self._watch)
            self.close()

    def forget(self, generation: int) -> None:
        """Drop the files of a generation that is gone."""
        if self._watch is not None:
            self._watch.forget(generation)

    def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _begun(self, interval_s: float) -> CodeWatch:
        if self._watch is None:
            # It brings threads, and a library.
            from penstock.master.code_watch import CodeWatch

            self._watch = CodeWatch(interval_s, log.write)
            self._selector.register(self._watch, selectors.EVENT_READ, self._ready)
        return self._watch

    def _ready(self, mask: int) -> None:
        if self._watch is not None and (found := self._watch.read()):
            self._take(ev.CodeChanged(f"{found[0].path} {found[0].what}", len(found) - 1))
