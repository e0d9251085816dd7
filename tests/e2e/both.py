"""One request for each of two workers with one thread."""

from __future__ import annotations

import os
from pathlib import Path

from tests.e2e.clients import Connection, Response, get, request_bytes


def ask_both(address: str, path: str, folder: Path) -> tuple[Response, Response]:
    """Ask one worker, and while it is busy the other one.

    The app waits for the end of the FIFO that the query names, if there is one.
    """
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    with Connection(address) as first:
        first.send(request_bytes("GET", f"{path}?{fifo}"))
        # Opening it waits for the app to open the other end.
        with fifo.open("wb"):
            second = get(address, path)
        return first.read(), second
