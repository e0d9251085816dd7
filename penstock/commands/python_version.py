"""`penstock python-version`: the version of Python that runs Penstock, for scripts that ask for it."""

from __future__ import annotations

import platform
from collections.abc import Sequence

SUMMARY = "show the version of Python, alone in its line"
USAGE = ""


def run(arguments: Sequence[str]) -> int:
    """Print it."""
    print(platform.python_version())
    return 0
