"""The command that serves: everything but the start itself is the master's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.master.rereading import Reread
from penstock.master.start import start
from penstock.plan.types import Plan


def serve(plan: Plan, reread: Reread, begun: Mapping[str, Any] | None = None) -> int:
    """Serve until told to stop, and return the exit status.

    0 for an orderly end, 1 for a configuration or bind error, 22 if there is no app. `reread` makes the plan that a
    reload follows; what it raises fails the reload and nothing else. `begun` is what a command line needs to go on
    after an upgrade.
    """
    return start(plan, reread, catalogue, begun=begun)


def catalogue() -> dict[str, Any]:
    """Describe the engine. Raises ImportError where it can not be loaded."""
    # Imported here, and not with this module: a broken engine is a message, not a traceback.
    from penstock import _engine

    return _engine.catalogue()
