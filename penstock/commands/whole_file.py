"""Writing a file that a person asked for: whole or not at all, and never over another one unless that is wanted."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write_whole(name: str, data: bytes, *, replaces: bool) -> None:
    """Write a file; a mode that was there stays. Raises FileExistsError where it may not replace one."""
    path = Path(name)
    if not replaces:
        with path.open("xb") as new:
            new.write(data)
        return
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("xb") as new:
            new.write(data)
        with contextlib.suppress(FileNotFoundError):
            beside.chmod(path.stat().st_mode & 0o7777)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
