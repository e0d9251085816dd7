"""Asking other programs (`journalctl`, `nginx -V`): what they say, or nothing. Only such that change nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from penstock.values import dataclass

PATIENCE_S = 20
MOST_CHARACTERS = 1 << 20
_SYSTEM_PLACES = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where administration programs are that the PATH of an ordinary user leaves out."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said."""

    status: int
    output: str
    errors: str


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """In English, without a pager, with the places of administration programs."""
    path = environ.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    return {**environ, "LC_ALL": "C", "SYSTEMD_PAGER": "", "PATH": f"{path}:{_SYSTEM_PLACES}"}


def ask(words: Sequence[str], environ: Mapping[str, str]) -> Answer | None:
    """Run a program that only tells; None if it is not there, or does not end."""
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env=environment(environ),
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    output, errors = (text[-MOST_CHARACTERS:].decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, output, errors)


def here() -> dict[str, str]:
    """The environment of this process."""
    return dict(os.environ)
