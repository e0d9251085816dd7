"""The thread that lines pass through on their way to loggers that processes can not write to by themselves.

Processes write to a pipe, so that for them a log is a file as any other. The thread reads the pipe at once, always: a
logger that is slow or gone costs lines, which are counted, and never holds up a request. The master's loop has nothing
to do with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.master import log_encoders
from penstock.master.log_targets import Target
from penstock.plan.types import LogStreamPlan

if TYPE_CHECKING:
    from penstock._engine import Pattern

READ_BYTES = 1 << 16
PATIENCE_S = 0.05
"""How often a target is tried again that does not take its lines."""
UNFINISHED_S = 0.5
"""How long the end of a line, or of a traceback, is waited for."""
PAUSE_BYTES = 1 << 20
"""What pipes hold while nothing is forwarded; more needs privileges (pipe(7), pipe-max-size)."""
END_S = 2.0
"""How long targets may take at the end of the instance."""


class Stream:
    """The lines of the server, or those of requests."""

    def __init__(
        self,
        plan: LogStreamPlan,
        targets: Sequence[tuple[str, Target]],
        raw: Target,
        line_bytes: int,
        ends: tuple[int, int] | None = None,
    ) -> None:
        """`targets` are the loggers with their names; `raw` takes the lines where no logger does.

        `ends` is a pipe that there is already.
        """
        self.read_end, self.write_end = ends or os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_end, False)
        self.splitter = log_encoders.Splitter(line_bytes, grouped=bool(plan.encoders))
        self.heard_at = 0.0
        self._targets = targets
        self._raw = raw
        self._encoders = [(one.logger, log_encoders.make(one)) for one in plan.encoders]
        self._routes = [(name, _compile(pattern)) for name, pattern in plan.routes]
        self._drains = [_compile(pattern) for pattern in plan.drains]
        self._filters = [_compile(pattern) for pattern in plan.filters]

    def take(self, message: bytes) -> None:
        """Send a message where it belongs."""
        if any(pattern.matches(message) for pattern in self._drains):
            return
        if self._filters and not any(pattern.matches(message) for pattern in self._filters):
            return
        routed = [name for name, pattern in self._routes if pattern.matches(message)]
        chosen = [one for one in self._targets if (one[0] in routed if routed else not one[0])]
        for name, target in chosen or [("", self._raw)]:
            # What is whole without an encoder is a line; what an encoder made is what it made.
            encoded = log_encoders.encode(message, name, self._encoders)
            target.send(encoded if self._encoders else encoded + b"\n")

    def complain(self, text: str) -> None:
        """Say something about the log itself, where no logger is in the way."""
        self._raw.send(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> bool:
        """Let every target write what it has kept; tell whether nothing is kept any more."""
        is_done = True
        for target in (*(each for _, each in self._targets), self._raw):
            is_done = target.flush() and is_done
        return is_done

    def close_targets(self) -> None:
        """Give everything back but the pipe's write end, which may be a standard stream by now."""
        for _, target in self._targets:
            target.close()
        os.close(self.read_end)


def _compile(pattern: str) -> Pattern:
    # Here, because few instances have patterns.
    from penstock._engine import Pattern

    return Pattern(pattern)


class Forwarder:
    """The thread and its streams."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        """Begin to forward."""
        self._streams = streams
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._wake_read, selectors.EVENT_READ)
        for stream in streams:
            self._selector.register(stream.read_end, selectors.EVENT_READ, stream)
        self._begin()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name="penstock-log", daemon=True)
        self._thread.start()

    def pause(self) -> bool:
        """Forward what has been written so far, and stand still: what is written from here on waits in the pipe.

        Returns False if that did not come about in time.
        """
        for stream in self._streams:
            # A second's lines of a busy instance. Past what the user may have, the pipe stays as it is.
            with contextlib.suppress(OSError):
                fcntl.fcntl(stream.read_end, fcntl.F_SETPIPE_SZ, PAUSE_BYTES)
        os.write(self._wake_write, b"x")
        self._thread.join(END_S + 1.0)
        return not self._thread.is_alive()

    def go_on(self) -> None:
        """Forward again after `pause`."""
        os.read(self._wake_read, 1)
        self._begin()

    def end(self) -> None:
        """Forward what has been written so far, and stop. Who still holds the pipe writes in vain from here on."""
        os.write(self._wake_write, b"x")
        self._thread.join(END_S + 1.0)
        if self._thread.is_alive():
            return
        self._selector.close()
        for stream in self._streams:
            stream.close_targets()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _run(self) -> None:
        is_kept = False
        while True:
            holds = any(stream.splitter.holds for stream in self._streams)
            ready = self._selector.select(PATIENCE_S if is_kept or holds else None)
            for key, _ in ready:
                if key.data is not None:
                    self._read(key.data)
            now = time.monotonic()
            for stream in self._streams:
                if stream.splitter.holds and now - stream.heard_at > UNFINISHED_S:
                    _take_all(stream, stream.splitter.end())
            is_kept = not self._flush()
            if any(key.data is None for key, _ in ready):
                self._finish()
                return

    def _flush(self) -> bool:
        is_done = True
        for stream in self._streams:
            is_done = stream.flush() and is_done
        return is_done

    def _read(self, stream: Stream) -> bool:
        try:
            data = os.read(stream.read_end, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            # Nobody can write any more; the loop would hear of that for ever.
            if stream.read_end in self._selector.get_map():
                self._selector.unregister(stream.read_end)
            return False
        stream.heard_at = time.monotonic()
        _take_all(stream, stream.splitter.feed(data))
        return True

    def _finish(self) -> None:
        until = time.monotonic() + END_S
        for stream in self._streams:
            while time.monotonic() < until and self._read(stream):
                pass
            _take_all(stream, stream.splitter.end())
        while not self._flush() and time.monotonic() < until:
            time.sleep(0.01)


def _take_all(stream: Stream, messages: list[bytes]) -> None:
    for message in messages:
        try:
            stream.take(message)
        except Exception as error:
            # Whatever it is: without this thread every process would come to stand at a full pipe.
            stream.complain(f"a log line could not be passed on: {error!r}")
