"""The thread that lines pass through: nothing that happens to one line keeps it from taking the next."""

from __future__ import annotations

import os

from penstock.master.log_forwarder import Forwarder, Stream
from penstock.plan.types import LogStreamPlan


class Target:
    """Takes everything but lines with a certain word."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def send(self, message: bytes) -> None:
        if b"bad" in message:
            raise RuntimeError("no such line")
        self.lines.append(message)

    def flush(self) -> bool:
        return True

    def close(self) -> None:
        self.lines.append(b"closed")


def test_a_target_that_fails_loses_one_line() -> None:
    target, raw = Target(), Target()
    stream = Stream(LogStreamPlan(), [("", target)], raw, 1000)
    forwarder = Forwarder([stream])
    os.write(stream.write_end, b"one\nbad\ntwo\nhalf")
    forwarder.end()
    os.close(stream.write_end)
    assert target.lines == [b"one\n", b"two\n", b"half\n", b"closed"]
    assert raw.lines == [b"a log line could not be passed on: RuntimeError('no such line')"]


def test_the_end_does_not_wait_for_who_still_writes() -> None:
    target, raw = Target(), Target()
    streams = [Stream(LogStreamPlan(drains=("drop",)), [("", target)], raw, 1000) for _ in range(2)]
    forwarder = Forwarder(streams)
    os.write(streams[0].write_end, b"drop this\nkeep this\n")
    os.close(streams[1].write_end)
    forwarder.end()
    os.close(streams[0].write_end)
    assert [line for line in target.lines if line != b"closed"] == [b"keep this\n"]
