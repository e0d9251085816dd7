"""The command that serves: everything but the start itself is the master's."""

from __future__ import annotations

from typing import Any

from penstock.master.rereading import Reread
from penstock.master.start import start
from penstock.plan.types import Plan


def serve(plan: Plan, reread: Reread) -> int:
    """Serve until told to stop, and return the exit status.

    0 for an orderly end, 1 for a configuration or bind error, 22 if there is no app. `reread` makes the plan that a
    reload follows; what it raises fails the reload and nothing else.
    """
    return start(plan, reread, _catalogue)


def _catalogue() -> dict[str, Any]:
    # Imported here, and not with this module: a broken engine is a message, not a traceback.
    from penstock import _engine

    return _engine.catalogue()
