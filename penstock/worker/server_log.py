"""One line, or a block of lines, for the server log.

Written straight to descriptor 2: the app may replace `sys.stderr`, and one write keeps a line whole among processes
that append to the same file.
"""

from __future__ import annotations

import os


def say(text: str) -> None:
    """Write `text` and a newline. A log that can not be written is not a reason to stop serving."""
    data = (text.rstrip("\n") + "\n").encode("utf-8", "backslashreplace")
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        pass
