"""What `log-encoder` does to a line on its way. Pure but for the clock."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable

from penstock.plan.types import EncoderPlan

Encoder = Callable[[bytes], bytes]

LONGEST_GROUP_LINES = 2000
"""Python itself cuts a traceback of endless recursion short; what is longer is passed on in pieces, not kept."""

_VARIABLE = re.compile(r"\$\{(msg|msgnl|unix|micros|millis|strftime:[^}]*)\}")


def encode(message: bytes, logger: str, encoders: Iterable[tuple[str, Encoder]]) -> bytes:
    """Let a message (without its newline) for the logger of this name pass through the encoders, in their order."""
    for wanted, encoder in encoders:
        if not wanted or wanted == logger:
            message = encoder(message)
    return message


def make(plan: EncoderPlan) -> Encoder:
    """Make an encoder."""
    text = plan.text.encode("utf-8", "surrogateescape")
    match plan.kind:
        case "prefix":
            return lambda message: text + message
        case "suffix":
            return lambda message: message + text
        case "nl":
            return lambda message: message + b"\n"
        case "json":
            return _template(plan.text, _inside_json)
        case _:
            return _template(plan.text, lambda message: message)


def _inside_json(message: bytes) -> bytes:
    """The inside of a JSON string; bytes that are no UTF-8 become the characters of the same number."""
    try:
        text = message.decode()
    except UnicodeDecodeError:
        text = message.decode("latin-1")
    return json.dumps(text)[1:-1].encode("ascii")


def _template(text: str, escape: Encoder) -> Encoder:
    pieces = _VARIABLE.split(text)
    # Text and the names of variables take turns.
    plan = [(index % 2 == 1, piece) for index, piece in enumerate(pieces)]

    def fill(message: bytes) -> bytes:
        return b"".join(_value(piece, message, escape) if is_name else piece.encode() for is_name, piece in plan)

    return fill


def _value(name: str, message: bytes, escape: Encoder) -> bytes:
    match name:
        case "msg":
            return escape(message)
        case "msgnl":
            return escape(message + b"\n")
        case "unix":
            return b"%d" % time.time()
        case "millis":
            return b"%d" % (time.time_ns() // 1_000_000)
        case "micros":
            return b"%d" % (time.time_ns() // 1000)
        case _:
            return escape(time.strftime(name.removeprefix("strftime:")).encode())


class Splitter:
    """Cuts what processes write into messages: lines, or with `grouped` a whole traceback as one."""

    def __init__(self, longest_bytes: int, grouped: bool) -> None:
        self._longest = longest_bytes
        self._grouped = grouped
        self._rest = b""
        self._group: list[bytes] = []

    @property
    def holds(self) -> bool:
        """Whether something is kept because its end has not come."""
        return bool(self._rest or self._group)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was written; return the messages that are complete, without their newlines."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        made: list[bytes] = []
        for line in lines:
            self._add(line, made)
        while len(self._rest) >= self._longest:
            self._add(self._rest[: self._longest], made)
            self._rest = self._rest[self._longest :]
        return made

    def end(self) -> list[bytes]:
        """Return what is kept: nothing more has come for a while."""
        made: list[bytes] = []
        if self._rest:
            self._add(self._rest, made)
            self._rest = b""
        if self._group:
            made.append(b"\n".join(self._group))
            self._group = []
        return made

    def _add(self, line: bytes, made: list[bytes]) -> None:
        while len(line) > self._longest:
            self._add(line[: self._longest], made)
            line = line[self._longest :]
        if not self._grouped:
            made.append(line)
            return
        begins = line.startswith(b"Traceback (most recent call last):")
        if begins and not self._group:
            self._group = [line]
        elif self._group:
            self._group.append(line)
            # The line that names the exception is the first that is not indented.
            is_over = not line.startswith((b" ", b"\t")) and not begins
            if is_over or len(self._group) >= LONGEST_GROUP_LINES:
                made.append(b"\n".join(self._group))
                self._group = []
        else:
            made.append(line)
