"""What the master's own servers (statistics, probes) have in common: they live in its loop and never wait.

Few clients at a time, each for a few seconds, one answer for each; whoever is slow, silent or wrong is dropped. What is
read and what is answered is a matter of the server.
"""

from __future__ import annotations

import selectors
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable

MOST_CLIENTS = 64
"""When another one comes, the one whose time is over first has to go: nobody can keep others out by staying."""

PATIENCE_S = 5.0
"""How long a client may take, from its connection to the last byte of its answer."""

LINGER_S = 1.0
"""How long to wait for the client's own end of file; closing with unread bytes would cut what it has not read yet."""

READ_BYTES = 65536


class SmallServer(ABC):
    """Accepts clients, reads from those that have something to say, and writes one answer to each."""

    def __init__(self, listener: socket.socket, selector: selectors.BaseSelector, clock: Callable[[], float]) -> None:
        """Serve on `listener`, which listens already and does not block."""
        self._listener = listener
        self._selector = selector
        self._clock = clock
        self._clients: dict[socket.socket, Client] = {}
        selector.register(listener, selectors.EVENT_READ, self._accept)

    @abstractmethod
    def arrived(self, client: Client) -> None:
        """Somebody has connected: `hear` or `answer` it."""

    @abstractmethod
    def heard(self, client: Client) -> None:
        """There is more in `client.request`: `answer` it when that is enough."""

    def next_deadline(self) -> float | None:
        """Tell when `expire` should be called next."""
        return min((client.deadline for client in self._clients.values()), default=None)

    def expire(self) -> None:
        """Drop the clients whose time is over."""
        now = self._clock()
        for client in [one for one in self._clients.values() if one.deadline <= now]:
            self.drop(client)

    def close(self) -> None:
        """Stop serving."""
        for client in list(self._clients.values()):
            self.drop(client)
        self._selector.unregister(self._listener)
        self._listener.close()

    def settle(self, within_s: float) -> None:
        """Serve those who are connected to their end, and nobody else: what does not wait goes over to nobody."""
        end = self._clock() + within_s
        while self._clients and (left_s := end - self._clock()) > 0:
            with selectors.PollSelector() as waiting:
                for connection in self._clients:
                    key = self._selector.get_key(connection)
                    waiting.register(connection, key.events, key.data)
                for key, mask in waiting.select(left_s):
                    key.data(mask)

    def hear(self, client: Client) -> None:
        """Read what the client says; most have said it by now."""
        self._selector.register(client.connection, selectors.EVENT_READ, lambda events: self._read(client))
        self._read(client)

    def answer(self, client: Client, data: bytes) -> None:
        """Write all of `data`, and let the client go when it has read it."""
        client.rest = data
        if client.connection in self._selector.get_map():
            self._selector.modify(client.connection, selectors.EVENT_WRITE, lambda events: self._write(client))
        else:
            self._selector.register(client.connection, selectors.EVENT_WRITE, lambda events: self._write(client))
        self._write(client)

    def drop(self, client: Client) -> None:
        """Close a client's connection."""
        if self._clients.pop(client.connection, None) is not None:
            if client.connection in self._selector.get_map():
                self._selector.unregister(client.connection)
            client.connection.close()

    def _accept(self, events: int) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        connection.setblocking(False)
        if len(self._clients) >= MOST_CLIENTS:
            self.drop(min(self._clients.values(), key=lambda one: one.deadline))
        client = Client(connection, self._clock() + PATIENCE_S)
        self._clients[connection] = client
        self.arrived(client)

    def _read(self, client: Client) -> None:
        try:
            data = client.connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.drop(client)
            return
        client.request += data
        self.heard(client)

    def _write(self, client: Client) -> None:
        try:
            sent = client.connection.send(client.rest)
            client.rest = client.rest[sent:]
            if not client.rest:
                client.connection.shutdown(socket.SHUT_WR)
                client.deadline = self._clock() + LINGER_S
                self._selector.modify(client.connection, selectors.EVENT_READ, lambda events: self._linger(client))
        except BlockingIOError:
            return
        except OSError:
            self.drop(client)

    def _linger(self, client: Client) -> None:
        try:
            if not client.connection.recv(READ_BYTES):
                self.drop(client)
        except BlockingIOError:
            return
        except OSError:
            self.drop(client)


class Client:
    """Somebody who connected."""

    __slots__ = ("connection", "deadline", "request", "rest")

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.request = b""
        self.rest = b""
        """What is still to be sent."""
        self.deadline = deadline
