"""What `ps` and `top` show for a process of Penstock's.

Only the words of the command line are written over, never the environment behind them: whoever reads that, the app with
`os.environ` or a person with `ps e`, finds it as it was. A title that is too long for that room is cut.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

NAMES = {"master": "penstock-master", "generation": "penstock-import", "worker": "penstock-worker"}
"""The short names of processes, which `top` and `pgrep` show; Linux keeps 15 letters."""


def set_title(words: Sequence[str], short: str) -> None:
    """Give this process a title, which is `words` with blanks between them, and a short name.

    There is only the name where the kernel does not say where the command line is (a sandbox without /proc).
    """
    try:
        with open("/proc/self/comm", "w", encoding="utf-8") as file:
            file.write(short)
        start, end = _room()
    except (OSError, ValueError, IndexError):
        return
    size = end - start
    # Where Python is run by another program (valgrind, an emulator), the command line is that program's, and in use.
    if start <= 0 or size != sum(len(os.fsencode(word)) + 1 for word in sys.orig_argv):
        return
    # The last byte stays zero: another one would tell the kernel that the title goes on into the environment.
    text = b"\0".join(os.fsencode(word) for word in words)[: size - 1]
    ctypes.memmove(start, text.ljust(size, b"\0"), size)


def _room() -> tuple[int, int]:
    """Find the first and the last address of this process's command line (proc_pid_stat(5): arg_start, arg_end)."""
    with open("/proc/self/stat", "rb") as file:
        # The name in parentheses may hold anything.
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46])
