"""`penstock extract NAME`: print a file, or what stands behind a scheme, as a configuration would read it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.config import schemes
from penstock.config.files import Refused, has_scheme

SUMMARY = "print a file, or what exec://COMMAND prints"
USAGE = "FILE|exec://COMMAND"
PIECE_BYTES = 1 << 16


def run(arguments: Sequence[str]) -> int:
    """Copy it to standard output, whatever bytes it holds; 1 when it can not be read."""
    if len(arguments) != 1:
        return _fail(f"usage: penstock extract {USAGE}")
    name = arguments[0]
    try:
        if has_scheme(name) and not name.startswith("file://"):
            sys.stdout.buffer.write(schemes.read(name, os.getcwd(), runs_commands=True, allow_urls=False))
        else:
            with open(name.removeprefix("file://"), "rb") as file:
                while piece := file.read(PIECE_BYTES):
                    sys.stdout.buffer.write(piece)
    except BrokenPipeError:
        raise
    except Refused as error:
        return _fail(f"{error}; {error.cure}")
    except OSError as error:
        return _fail(f"{name}: {error.strerror or error}")
    except ValueError as error:
        return _fail(f"{name}: {error}")
    return 0


def _fail(message: str) -> int:
    print(f"[penstock] {message}", file=sys.stderr)
    return 1
