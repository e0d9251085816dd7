"""The master's ends of what connects it to one generation: channel, scoreboard, control pairs.

Messages in and out, and who they belong to; what they mean is the loop's and the policy's business.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from penstock.master.luggage import HandoverError, Luggage, Unpacked
from penstock.master.privileges import Identity
from penstock.master.processes import ProcessRef
from penstock.master.sockets import BoundListener
from penstock.observe.scoreboard import Layout, Scoreboard
from penstock.plan.types import Plan, from_json_value, to_json_value
from penstock.values import asdict

MESSAGE_BYTES = 1 << 20
"""More than any datagram that fits into a socket's buffer."""


class WorkerLink:
    """The master's end of one worker's control pair."""

    def __init__(self, worker: int, slot: int, control: socket.socket) -> None:
        self.worker = worker
        self.slot = slot
        self.control = control
        self.process: ProcessRef | None = None

    @property
    def pid(self) -> int:
        """The worker's pid; 0 until the generation has reported it."""
        return self.process.pid if self.process else 0

    def tell(self, word: str) -> None:
        """Send one word. A worker that does not read is the business of a timer."""
        with contextlib.suppress(OSError):
            self.control.send(word.encode())

    def give_logs(self, descriptors: tuple[int, ...]) -> None:
        """Give the worker logs that were opened anew: the server's, and that of requests if it is another."""
        for word, fd in zip((b"log", b"request-log"), descriptors, strict=False):
            with contextlib.suppress(OSError):
                socket.send_fds(self.control, [word], [fd])

    def signal(self, number: int) -> None:
        """Send a signal, if there is a process."""
        if self.process is not None:
            self.process.send(number)

    def receive(self) -> tuple[list[str], bool]:
        """Take what the worker has sent, and tell whether its end is still open."""
        messages, is_open = _receive(self.control)
        return [message.decode("utf-8", "replace") for message in messages], is_open

    def pack(self, luggage: Luggage) -> list[int]:
        """Pack everything for an upgrade."""
        reference = luggage.take(self.process.fileno()) if self.process is not None else -1
        return [self.worker, self.slot, luggage.take(self.control.fileno()), self.pid, reference]

    @classmethod
    def unpack(cls, packed: Sequence[int], unpacked: Unpacked) -> WorkerLink:
        """Make what `pack` has packed."""
        worker, slot, control, pid, reference = packed
        link = cls(worker, slot, unpacked.socket(control))
        link.process = ProcessRef.adopt(pid, reference) if pid else None
        return link

    def close(self) -> None:
        """Give back what belongs to a worker that is gone."""
        self.control.close()
        if self.process is not None:
            self.process.close()


class GenerationLink:
    """The master's ends of one generation."""

    def __init__(
        self,
        number: int,
        plan: Plan,
        listeners: tuple[BoundListener, ...],
        scoreboard: Scoreboard,
        channel: socket.socket,
    ) -> None:
        self.number = number
        self.plan = plan
        self.listeners = listeners
        self.scoreboard = scoreboard
        self.channel = channel
        self.pid = 0
        self.workers: dict[int, WorkerLink] = {}
        """By slot."""
        self._answered_before = 0, 0
        """By workers that are gone."""
        self._outgoing: deque[tuple[bytes, list[int]]] = deque()

    def send(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> None:
        """Send a message with descriptors, which stay the caller's. What does not fit now waits for `flush`."""
        kept = [os.dup(fd) for fd in descriptors]
        self._outgoing.append((json.dumps(message).encode(), kept))
        self.flush()

    def flush(self) -> bool:
        """Send what waits; tell whether nothing waits any more. A generation that is gone loses its messages."""
        while self._outgoing:
            data, descriptors = self._outgoing[0]
            try:
                socket.send_fds(self.channel, [data], descriptors)
            except BlockingIOError:
                return False
            except OSError:
                pass
            self._outgoing.popleft()
            for fd in descriptors:
                os.close(fd)
        return True

    def pack(self, luggage: Luggage) -> dict[str, Any]:
        """Pack everything for an upgrade, once nothing waits to be sent.

        Raises:
            HandoverError: something does.
        """
        if not self.flush():
            raise HandoverError(f"generation {self.number} (pid: {self.pid}) does not read what it is told")
        return {
            "number": self.number,
            "plan": to_json_value(self.plan),
            "listeners": [luggage.take_listener(one) for one in self.listeners],
            "layout": asdict(self.scoreboard.layout),
            "scoreboard": [luggage.take(self.scoreboard.fd), self.scoreboard.slots, self.scoreboard.threads],
            "channel": luggage.take(self.channel.fileno()),
            "pid": self.pid,
            "answered": self._answered_before,
            "workers": [worker.pack(luggage) for worker in self.workers.values()],
        }

    @classmethod
    def unpack(cls, packed: Mapping[str, Any], unpacked: Unpacked) -> GenerationLink:
        """Make what `pack` has packed."""
        fd, slots, threads = packed["scoreboard"]
        listeners = tuple(unpacked.listener(one) for one in packed["listeners"])
        scoreboard = Scoreboard.adopt(Layout.of(packed["layout"]), fd, slots, threads)
        channel = unpacked.socket(packed["channel"])
        link = cls(packed["number"], from_json_value(Plan, packed["plan"]), listeners, scoreboard, channel)
        link.pid = packed["pid"]
        link._answered_before = tuple(packed["answered"])
        workers = [WorkerLink.unpack(one, unpacked) for one in packed["workers"]]
        link.workers = {one.slot: one for one in workers}
        return link

    def receive(self) -> tuple[list[dict[str, Any]], bool]:
        """Take what the generation has sent, and tell whether its end is still open."""
        messages, is_open = _receive(self.channel)
        return [json.loads(message) for message in messages], is_open

    def keep_answers(self, slot: int) -> None:
        """Remember what a worker that is gone has answered."""
        row, (requests, errors) = self.scoreboard.worker(slot), self._answered_before
        self._answered_before = requests + row.requests, errors + row.server_errors

    def answered(self) -> tuple[int, int]:
        """Count what it has answered so far, and how much of that with 5xx."""
        rows = [self.scoreboard.worker(slot) for slot in self.workers]
        requests, errors = self._answered_before
        return requests + sum(row.requests for row in rows), errors + sum(row.server_errors for row in rows)

    def close(self) -> None:
        """Give everything back. Its workers are gone."""
        for _, descriptors in self._outgoing:
            for fd in descriptors:
                os.close(fd)
        for worker in self.workers.values():
            worker.close()
        self.channel.close()
        self.scoreboard.close()


def _receive(connection: socket.socket) -> tuple[list[bytes], bool]:
    """Read datagrams until there are no more, or the other end is closed."""
    messages: list[bytes] = []
    while connection.fileno() >= 0:
        try:
            data = connection.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return messages, True
        except OSError:
            return messages, False
        if not data:
            return messages, False
        messages.append(data)
    return messages, False


def start_document(
    plan: Plan,
    listeners: Sequence[BoundListener],
    is_reload: bool,
    import_limit_s: float = 0.0,
    become: Identity | None = None,
) -> dict[str, Any]:
    """What a generation is told of the plan; `import_limit_s` is how long its import may take, 0 for any time.

    `become` is who its workers are where the master stays root.
    """
    late = become if plan.groups.imports_as_root else None
    return {
        "become": None if late is None else {"uid": late.uid, "gid": late.gid, "groups": list(late.groups)},
        "app": to_json_value(plan.app),
        "engine": to_json_value(plan.engine),
        "lazy_apps": plan.lazy_apps,
        "titles": to_json_value(plan.titles),
        "asking": to_json_value(plan.asking),
        "hooks": to_json_value(plan.hooks),
        "gates": to_json_value(plan.gates),
        "cpus_per_worker": plan.limits.cpus_per_worker,
        # Where a generation serves already, one without an app is never better.
        "need_app": plan.need_app or is_reload,
        "processes": plan.processes,
        "listeners": [
            {
                "protocol": one.plan.protocol,
                "name": one.name,
                "server_port": one.server_port,
                "is_unix": one.plan.family in ("unix", "abstract"),
                "is_kept": bool(one.keeper),
            }
            for one in listeners
        ],
        "master_pid": os.getpid(),
        "is_reload": is_reload,
        "import_limit_s": import_limit_s,
    }


def memory_file(name: str, content: bytes) -> int:
    """Put bytes into a memfd, to be read from its beginning."""
    fd = os.memfd_create(name, os.MFD_CLOEXEC)
    try:
        while content:
            content = content[os.write(fd, content) :]
        os.lseek(fd, 0, os.SEEK_SET)
    except OSError:
        os.close(fd)
        raise
    return fd
