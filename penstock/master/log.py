"""The master's own lines in the server log.

Where the log goes is decided here, once, by putting a file onto descriptors 1 and 2; everything else only writes.
A log that can not be written never stops an instance.
"""

from __future__ import annotations

import os
from pathlib import Path

from penstock.master.errors import StartError

LOG_FILE_MODE = 0o640
"""As uWSGI makes its log files."""


def write(text: str) -> None:
    """Write lines to the log. One write for each call, so that lines of several processes do not mix."""
    data = (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        # The reader of a pipe has left, or the disk is full: nobody can be told.
        return


def redirect(path: str) -> None:
    """Send everything that this process and its children print to a file, from now on.

    Raises:
        StartError: the file can not be opened for appending.
    """
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, LOG_FILE_MODE)
    except OSError as error:
        cure = "" if Path(path).parent.is_dir() else f": create the directory {Path(path).parent} first"
        raise StartError(f"the log file {path} can not be opened: {error.strerror}{cure}") from error
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)
