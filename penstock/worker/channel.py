"""The generation's end of its channel to the master: JSON datagrams, with descriptors beside them.

Only the wire form of the process protocol lives here; what the messages do is in `generation`.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
import time
from typing import Any

from penstock.plan.process_types import AskingPlan, GatesPlan, HooksPlan, TitlesPlan
from penstock.plan.types import AppPlan, EnginePlan, ListenerHandle, from_json_value
from penstock.values import dataclass

DATAGRAM_LIMIT_BYTES = 60_000
"""Of what is sent: a SOCK_SEQPACKET datagram has to fit into the socket's buffer, whose smallest default is 208 KiB."""
DESCRIPTOR_LIMIT = 250
"""Descriptors in one datagram; Linux allows 253 (SCM_MAX_FD)."""


REPORT_LIMIT = 40_000
"""Characters of a traceback in one datagram of a worker to the master."""


class MasterGone(Exception):
    """The other end of the channel is closed."""


class Channel:
    """The descriptor that the master left open for this generation."""

    def __init__(self, descriptor: int) -> None:
        """Take over `descriptor`, a SOCK_SEQPACKET unix socket."""
        os.set_inheritable(descriptor, False)
        self._socket = socket.socket(fileno=descriptor)

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._socket.fileno()

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """Wait for the next message and its descriptors, which belong to the caller.

        Raises MasterGone at end of file.
        """
        # Not socket.recv_fds: in Python 3.11 it drops the flags, and programs that the app starts would get everything.
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                1 << 18, socket.CMSG_LEN(4 * DESCRIPTOR_LIMIT), socket.MSG_CMSG_CLOEXEC
            )
        except ConnectionError as error:
            raise MasterGone from error
        if not data:
            raise MasterGone
        descriptors = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        return json.loads(data), list(descriptors)

    def send(self, event: dict[str, Any]) -> None:
        """Report `event`. A traceback that is too long for one datagram loses its middle.

        Raises MasterGone if nobody listens any more.
        """
        data = json.dumps(event).encode("ascii")
        if len(data) > DATAGRAM_LIMIT_BYTES:
            # A \u escape makes six bytes of one character at worst, and there are two texts.
            kept = DATAGRAM_LIMIT_BYTES // 13
            texts = {key: shorten(value, kept) for key, value in event.items() if isinstance(value, str)}
            data = json.dumps({**event, **texts}).encode("ascii")
        try:
            self._socket.send(data)
        except ConnectionError as error:
            raise MasterGone from error

    def close(self) -> None:
        """Close it in a process that has no business with it."""
        self._socket.close()


def shorten(text: str, limit: int) -> str:
    """Keep both ends of `text`: the first frames say where it began, the last lines what went wrong."""
    if len(text) <= limit:
        return text
    return f"{text[: limit // 3]}\n  [... {len(text) - limit} characters left out ...]\n{text[-(limit - limit // 3) :]}"


def failure_text(word: str, reason: str, details: str) -> str:
    """Make a worker's report of why it will not serve: the cause in the first line, then all that is known of it."""
    return f"{word} {' '.join(reason.splitlines())}\n{shorten(details, REPORT_LIMIT)}"


@dataclass(frozen=True, slots=True)
class Start:
    """What the first message told, with its descriptors where they belong."""

    generation: int
    app: AppPlan
    engine: EnginePlan
    listeners: tuple[ListenerHandle, ...]
    titles: TitlesPlan
    asking: AskingPlan
    hooks: HooksPlan
    gates: GatesPlan
    cpus_per_worker: int
    lazy_apps: bool
    need_app: bool
    processes: int
    master_pid: int
    is_reload: bool
    import_limit_s: float
    """How long the import may take; 0 for any time."""
    began: float
    """When this was read, in seconds of CLOCK_MONOTONIC."""
    become: dict[str, Any] | None
    """`uid`, `gid` and `groups` of the user to change to after the import; None if that has been done."""
    lifeline_fd: int
    scoreboard_fd: int
    handoff_receive_fd: int
    handoff_send_fd: int
    log_fd: int
    request_log_fd: int
    locks_fd: int

    def close_sockets(self) -> None:
        """Let go of what others listen on and wait for, in a process that has no business with it."""
        for descriptor in (
            self.handoff_receive_fd,
            self.handoff_send_fd,
            *(listener.fd for listener in self.listeners),
        ):
            # The engine closes the listeners of a worker that drains itself.
            with contextlib.suppress(OSError):
                os.close(descriptor)


def lone_start(plan: dict[str, Any], scoreboard: int) -> Start:
    """Make a Start of a plan that is carried out without a master: nothing is served, and nobody listens."""
    lifeline, _ = os.pipe2(os.O_CLOEXEC)
    locks = os.memfd_create("penstock-locks", os.MFD_CLOEXEC)
    return _make_start({"generation": 0}, plan, (), (lifeline, scoreboard, -1, -1, 2, 2, locks))


def read_start(message: dict[str, Any], descriptors: list[int]) -> Start:
    """Make a Start of the `start` message.

    The plan comes as the first descriptor, a memfd, because it has no size limit there. A message of another shape is
    a defect of Penstock and ends as the KeyError or TypeError that it gives.
    """
    plan_fd, lifeline, scoreboard, handoff_receive, handoff_send, locks, log, *sockets = descriptors
    plan = json.loads(read_all(plan_fd))
    os.close(plan_fd)
    # The log of requests comes last, where it is not that of the server.
    request_log = sockets.pop() if len(sockets) > len(plan["listeners"]) else log
    listeners = tuple(ListenerHandle(fd=fd, **handle) for fd, handle in zip(sockets, plan["listeners"], strict=True))
    return _make_start(
        message, plan, listeners, (lifeline, scoreboard, handoff_receive, handoff_send, log, request_log, locks)
    )


def _make_start(
    message: dict[str, Any], plan: dict[str, Any], listeners: tuple[ListenerHandle, ...], descriptors: tuple[int, ...]
) -> Start:
    lifeline, scoreboard, handoff_receive, handoff_send, log, request_log, locks = descriptors
    return Start(
        generation=message["generation"],
        app=from_json_value(AppPlan, plan["app"]),
        engine=from_json_value(EnginePlan, plan["engine"]),
        listeners=listeners,
        cpus_per_worker=plan["cpus_per_worker"],
        asking=from_json_value(AskingPlan, plan["asking"]),
        hooks=from_json_value(HooksPlan, plan["hooks"]),
        gates=from_json_value(GatesPlan, plan["gates"]),
        titles=from_json_value(TitlesPlan, plan["titles"]),
        lazy_apps=plan["lazy_apps"],
        need_app=plan["need_app"],
        processes=plan["processes"],
        master_pid=plan["master_pid"],
        is_reload=plan["is_reload"],
        import_limit_s=plan["import_limit_s"],
        began=time.monotonic(),
        become=plan.get("become"),
        lifeline_fd=lifeline,
        scoreboard_fd=scoreboard,
        handoff_receive_fd=handoff_receive,
        handoff_send_fd=handoff_send,
        log_fd=log,
        request_log_fd=request_log,
        locks_fd=locks,
    )


def read_all(descriptor: int) -> bytes:
    """Read a file from its beginning."""
    # By position: the writer's file offset, which is shared, stands at the end.
    pieces: list[bytes] = []
    position = 0
    while piece := os.pread(descriptor, 1 << 20, position):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)
