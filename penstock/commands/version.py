"""`penstock version`: the versions that a bug report needs."""

from __future__ import annotations

import platform
from collections.abc import Sequence

import penstock

SUMMARY = "show the versions of Penstock, Python and the engine"
USAGE = ""


def run(arguments: Sequence[str]) -> int:
    """Print one line for each."""
    print(f"Penstock {penstock.__version__}")
    print(f"Python {platform.python_version()}")
    print(f"engine {engine_version()}")
    return 0


def engine_version() -> str:
    """Ask the engine, or say that it can not be loaded and why."""
    try:
        from penstock._engine import __version__
    except ImportError as error:
        return f"can not be loaded: {error}"
    return __version__
