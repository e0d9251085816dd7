"""A generation without an engine, for tests of the master: it speaks the process protocol and serves a word.

Run by the master as a real generation is: its channel is descriptor 3. The app's `target` is a file whose first word
says how the import goes (`fine`, `broken`, `exit`, `hang`, `crash`); each connection is answered with the rest of
that line, the generation and the pid. A client that sends `stick` is never answered; one that sends `say WORDS` makes
the worker say them to the master.
"""

from __future__ import annotations

import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import time
from typing import Any, NoReturn

EXIT_NO_APP = 22


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP, signal.SIGUSR1):
        assert signal.getsignal(number) is not signal.SIG_IGN, "the master's handlers must not be inherited"
        signal.signal(number, signal.SIG_IGN)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    assert "NOTIFY_SOCKET" not in os.environ
    channel = socket.socket(fileno=3)
    data, descriptors, _, _ = socket.recv_fds(channel, 1 << 16, 64)
    message = json.loads(data)
    plan_fd, lifeline, board_fd, _, _, _, log_fd, *listeners = descriptors
    with os.fdopen(plan_fd) as file:
        plan = json.load(file)
    assert message["op"] == "start" and len(listeners) == len(plan["listeners"])
    assert os.fstat(log_fd).st_ino == os.fstat(2).st_ino
    word, _, text = import_app(plan, channel, lifeline).partition(" ")
    assert word == "fine" or plan["lazy_apps"]
    if not plan["lazy_apps"]:
        channel.send(json.dumps({"event": "imported", "seconds": 0.25}).encode())
    else:
        channel.send(json.dumps({"event": "imported", "seconds": 0, "lazy": True}).encode())
    answer = f"{text} generation={message['generation']}"
    Forker(channel, lifeline, board_fd, [socket.socket(fileno=fd) for fd in listeners], plan, answer).run()


def import_app(plan: dict[str, Any], channel: socket.socket, lifeline: int) -> str:
    with open(plan["app"]["target"]) as file:
        text = file.read().strip()
    match text.split()[0]:
        case "broken":
            failed: dict[str, Any] = {
                "traceback": "Traceback: SyntaxError in views.py",
                "exit_code": None,
                "reason": "SyntaxError",
            }
        case "exit":
            failed = {"traceback": "", "exit_code": 5, "reason": "SystemExit(5)"}
        case "hang":
            print("import hangs", file=sys.stderr, flush=True)
            select.select([lifeline], [], [])
            os._exit(1)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
            return ""
        case _:
            return text
    channel.send(json.dumps({"event": "import-failed", **failed}).encode())
    os._exit(EXIT_NO_APP)


class Forker:
    def __init__(
        self,
        channel: socket.socket,
        lifeline: int,
        board_fd: int,
        listeners: list[socket.socket],
        plan: dict[str, Any],
        answer: str,
    ) -> None:
        self.channel, self.lifeline, self.board_fd, self.listeners = channel, lifeline, board_fd, listeners
        self.plan, self.answer = plan, answer
        self.workers: dict[int, tuple[int, int]] = {}

    def run(self) -> None:
        ending = False
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        while not (ending and not self.workers):
            watched: list[Any] = [self.channel, self.lifeline, wake_read]
            ready, _, _ = select.select(watched, [], [])
            if self.lifeline in ready:
                os._exit(0)
            if wake_read in ready:
                os.read(wake_read, 4096)
                self.reap()
            if self.channel in ready:
                data, descriptors, _, _ = socket.recv_fds(self.channel, 1 << 16, 8)
                if not data:
                    os._exit(0)
                message = json.loads(data)
                if message["op"] == "end":
                    ending = True
                elif message["op"] == "spawn":
                    self.spawn(message["worker"], message["slot"], descriptors[0], message["entry"] == "reload")
        os._exit(0)

    def reap(self) -> None:
        while self.workers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            worker, slot = self.workers.pop(pid)
            event = {"event": "exited", "worker": worker, "slot": slot, "pid": pid, "status": status}
            self.channel.send(json.dumps(event).encode())

    def spawn(self, worker: int, slot: int, control_fd: int, is_held: bool) -> None:
        pid = os.fork()
        if not pid:
            signal.set_wakeup_fd(-1)
            self.channel.close()
            work(self, worker, slot, socket.socket(fileno=control_fd), is_held)
        os.close(control_fd)
        self.workers[pid] = (worker, slot)
        event = {"event": "spawned", "worker": worker, "slot": slot, "pid": pid}
        self.channel.send(json.dumps(event).encode())


class Board:
    """A worker's place in the fake scoreboard: see `fake_layout`."""

    def __init__(self, fd: int, slot: int, threads: int) -> None:
        self.memory = mmap.mmap(fd, 0)
        self.base = 32 + slot * (48 + threads * 264)

    def put(self, offset: int, value: int) -> None:
        struct.pack_into("=Q", self.memory, self.base + offset, value)

    def count(self, offset: int, by: int) -> None:
        self.put(offset, struct.unpack_from("=Q", self.memory, self.base + offset)[0] + by)

    def enter(self, line: bytes) -> None:
        self.put(48 + 40, 2)
        self.put(48 + 48, len(line))
        self.memory[self.base + 48 + 56 : self.base + 48 + 56 + len(line)] = line
        self.put(48 + 8, time.monotonic_ns() // 1000)
        self.put(48 + 16, time.time_ns() // 1000)
        self.put(48, 1)

    def leave(self) -> None:
        self.put(48, 0)
        self.count(48 + 24, 1)
        self.count(16, 1)


def work(forker: Forker, worker: int, slot: int, control: socket.socket, is_held: bool) -> NoReturn:
    """Be a worker."""
    plan = forker.plan
    signal.signal(signal.SIGRTMIN + 1, lambda number, frame: os.write(2, b"stacks are here\n") and None)
    if plan["lazy_apps"]:
        with open(plan["app"]["target"]) as file:
            if file.read().startswith("lazybroken"):
                control.send(b"failed could not import the app: SyntaxError\nTraceback: lazy SyntaxError")
                os._exit(EXIT_NO_APP)
    board = Board(forker.board_fd, slot, plan["engine"]["threads"])
    board.put(0, os.getpid())
    board.put(8, 3 if is_held else 2)
    control.send(b"ready")
    accepting, served = not is_held, 0
    limit = plan["engine"]["max_requests"]
    while True:
        watched: list[Any] = [control, forker.lifeline, *(forker.listeners if accepting else [])]
        ready, _, _ = select.select(watched, [], [])
        if forker.lifeline in ready:
            os._exit(0)
        if control in ready:
            word = control.recv(4096)
            if word in (b"drain", b"retire", b"stop", b""):
                os._exit(0)
            accepting = word == b"resume"
            board.put(8, 2 if accepting else 3)
            continue
        for listener in ready:
            if isinstance(listener, socket.socket) and listener in forker.listeners:
                served += answer(listener, forker, board, control)
                if limit and served == limit:
                    control.send(f"recycle max-requests {limit}".encode())


def answer(listener: socket.socket, forker: Forker, board: Board, control: socket.socket) -> int:
    try:
        connection, _ = listener.accept()
    except BlockingIOError:
        return 0
    connection.setblocking(True)
    with connection:
        asked = connection.recv(1000)
        board.enter(b"GET /" + asked.strip())
        if asked.startswith(b"stick"):
            os.write(2, b"stuck now\n")
            select.select([forker.lifeline], [], [])
            os._exit(1)
        if asked.startswith(b"say "):
            control.send(asked[4:].strip())
        if asked.startswith(b"hold"):
            # A request that ends when its client says so, whatever the master wants meanwhile.
            connection.send(b"held\n")
            connection.recv(1000)
        board.leave()
        connection.sendall(f"{forker.answer} pid={os.getpid()}\n".encode())
    return 1


if __name__ == "__main__":
    main()
