"""What systemd is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from penstock.master.notify import Supervisor


def test_states_are_told_and_the_address_is_taken_away(short_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(short_dir / "n"))
        environment = {"NOTIFY_SOCKET": str(short_dir / "n"), "A": "b", "LISTEN_FDS": "1", "WATCHDOG_USEC": "9"}
        supervisor = Supervisor.take(environment)
        assert environment == {"A": "b"}
        supervisor.tell("ready", "two\nlines")
        assert receiver.recv(4096).decode() == f"READY=1\nMAINPID={os.getpid()}\nSTATUS=two lines"
        supervisor.tell("reloading", "x")
        said = receiver.recv(4096).decode().split("\n")
        assert said[0] == "RELOADING=1" and said[1].startswith("MONOTONIC_USEC=") and said[2] == "STATUS=x"
        supervisor.tell("stopping", "x")
        assert receiver.recv(4096) == b"STOPPING=1\nSTATUS=x"


def test_abstract_address_works() -> None:
    name = f"penstock-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        Supervisor.take({"NOTIFY_SOCKET": f"@{name}"}).tell("status", "here")
        assert receiver.recv(4096) == b"STATUS=here"


def test_nobody_listening_is_no_error() -> None:
    Supervisor.take({}).tell("ready", "x")
    Supervisor.take({"NOTIFY_SOCKET": "/nonexistent/socket"}).tell("ready", "x")
