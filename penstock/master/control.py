"""The control socket: how commands talk to a running master.

One request is one line of JSON, `{"command": "reload", "wait": true}`; every answer is one line too: any number of
`{"progress": TEXT}` and one last line with `"ok"` and `"status"`, the exit status of the command that asked. Only root
and the instance's own user are served. A client can be silent, slow or wrong: it is dropped, and nobody else notices.
What a command means is the business of the loop and the policy.
"""

from __future__ import annotations

import errno
import json
import os
import selectors
import socket
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.master.sockets import bind_path, give_away

if TYPE_CHECKING:
    from penstock.master.luggage import Luggage, Unpacked

MOST_CLIENTS = 32
BACKLOG = 128
MOST_REQUEST_BYTES = 65_536
MOST_ANSWER_BYTES = 4 << 20
"""What is kept for a client that does not read."""

PATIENCE_S = 10.0
"""How long a client may be silent, or not read, while nothing is being done for it."""

Answer = dict[str, Any]


class Client:
    """Somebody who is connected."""

    __slots__ = ("connection", "deadline", "events", "incoming", "number", "outgoing", "waiting")

    def __init__(self, connection: socket.socket, number: int, deadline: float) -> None:
        self.connection = connection
        self.number = number
        """Never used twice; the policy's ticket."""
        self.deadline = deadline
        self.incoming = b""
        self.outgoing = b""
        self.waiting = False
        """Whether an answer is still to come."""
        self.events = selectors.EVENT_READ


class ControlServer:
    """The master's end of the control socket."""

    def __init__(
        self,
        listener: socket.socket,
        path: Path,
        selector: selectors.BaseSelector,
        handle: Callable[[Client, Answer], None],
        clock: Callable[[], float],
    ) -> None:
        """Serve on `listener`. `handle` gets each request and answers it with `finish`, at once or later."""
        self.path = path
        self._listener = listener
        self._selector = selector
        self._handle = handle
        self._clock = clock
        self._clients: dict[int, Client] = {}
        self._last_number = 0
        selector.register(listener, selectors.EVENT_READ, self._accept)

    def pack(self, luggage: Luggage) -> dict[str, Any]:
        """Pack everything for an upgrade, with the clients that wait for something."""
        clients = [
            [each.number, luggage.take(each.connection.fileno()), each.incoming.decode("latin-1"),
             each.outgoing.decode("latin-1"), each.waiting]
            for each in self._clients.values()
        ]  # fmt: skip
        listener = luggage.take(self._listener.fileno())
        return {"listener": listener, "path": str(self.path), "last": self._last_number, "clients": clients}

    def unpack(self, packed: Mapping[str, Any], unpacked: Unpacked) -> None:
        """Go on with the clients that `pack` has packed."""
        self._last_number = packed["last"]
        for number, fd, incoming, outgoing, waiting in packed["clients"]:
            client = self._join(unpacked.socket(fd), number)
            client.incoming, client.outgoing = incoming.encode("latin-1"), outgoing.encode("latin-1")
            client.waiting = waiting
            self._flush(client)

    def next_deadline(self) -> float | None:
        """Tell when `expire` should be called next."""
        return min((client.deadline for client in self._clients.values() if not client.waiting), default=None)

    def expire(self) -> None:
        """Drop the clients whose time is over."""
        now = self._clock()
        for client in list(self._clients.values()):
            if not client.waiting and client.deadline <= now:
                self._drop(client)

    def progress(self, text: str) -> None:
        """Tell everybody who waits for something what is happening."""
        for client in list(self._clients.values()):
            if client.waiting:
                self._send(client, {"progress": text})

    def finish(self, number: int, answer: Answer) -> None:
        """Give a client its last line; nothing happens if it has left."""
        client = self._clients.get(number)
        if client is not None:
            client.waiting = False
            client.deadline = self._clock() + PATIENCE_S
            self._send(client, answer)

    def close(self) -> None:
        """Stop serving and remove the socket. What clients have not read yet gets one last chance."""
        for client in list(self._clients.values()):
            if client.waiting:
                self.finish(client.number, {"ok": True, "status": 0, "reason": "the instance has stopped"})
        for client in list(self._clients.values()):
            self._drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()
        try:
            self.path.unlink()
        except OSError:
            return

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        if peer_uid(connection) not in (0, os.geteuid()):
            connection.close()
            return
        if len(self._clients) >= MOST_CLIENTS:
            idle = [one for one in self._clients.values() if not one.waiting]
            if not idle:
                connection.close()
                return
            self._drop(min(idle, key=lambda one: one.deadline))
        self._last_number += 1
        self._join(connection, self._last_number)

    def _join(self, connection: socket.socket, number: int) -> Client:
        client = Client(connection, number, self._clock() + PATIENCE_S)
        self._clients[number] = client
        self._selector.register(connection, client.events, lambda events: self._ready(client, events))
        return client

    def _ready(self, client: Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(client)
        if events & selectors.EVENT_READ and client.number in self._clients:
            self._read(client)

    def _read(self, client: Client) -> None:
        try:
            data = client.connection.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
            return
        client.incoming += data
        if len(client.incoming) > MOST_REQUEST_BYTES:
            self._drop(client)
            return
        while b"\n" in client.incoming and not client.waiting and client.number in self._clients:
            line, _, client.incoming = client.incoming.partition(b"\n")
            self._take(client, line)

    def _take(self, client: Client, line: bytes) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            self._send(client, {"ok": False, "status": 1, "reason": 'not a request: {"command": NAME} is one'})
            return
        client.waiting = True
        self._handle(client, request)

    def _send(self, client: Client, answer: Answer) -> None:
        client.outgoing += json.dumps(answer).encode() + b"\n"
        if len(client.outgoing) > MOST_ANSWER_BYTES:
            self._drop(client)
        else:
            self._flush(client)

    def _flush(self, client: Client) -> None:
        try:
            while client.outgoing:
                sent = client.connection.send(client.outgoing)
                client.outgoing = client.outgoing[sent:]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        if wanted != client.events:
            client.events = wanted
            self._selector.modify(client.connection, wanted, lambda events: self._ready(client, events))

    def _drop(self, client: Client) -> None:
        if self._clients.pop(client.number, None) is not None:
            self._selector.unregister(client.connection)
            client.connection.close()


def bind(directory: Path, owner: tuple[int, int] | None) -> tuple[socket.socket, Path]:
    """Make the control socket of this process in `directory`, for `owner` (uid, gid) if this is root.

    Raises:
        OSError: it can not be made there.
    """
    _remove_stale(directory)
    path = directory / f"{os.getpid()}.ctl"
    path.unlink(missing_ok=True)  # Of an earlier process with this pid; nobody else writes here.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        bind_path(listener, str(path), 0o600)
        if owner is not None and os.geteuid() == 0:
            give_away(path, *owner)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener, path


def _remove_stale(directory: Path) -> None:
    """Remove the sockets of masters that were killed: nobody listens on them any more."""
    for path in directory.glob("*.ctl"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)


def peer_uid(connection: socket.socket) -> int:
    """Tell the user at the other end of a unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("=iII"))
    uid: int = struct.unpack("=iII", credentials)[1]
    return uid
