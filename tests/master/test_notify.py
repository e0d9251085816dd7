"""What systemd is told. There is no systemd here: a datagram socket plays its side."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.master.notify import MOST_WAITING, Supervisor, Told

ME = os.getpid()


@pytest.fixture
def receiver(short_dir: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(str(short_dir / "n"))
        made.settimeout(10)
        yield made


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def heard(receiver: socket.socket) -> list[str]:
    """Everything that was told so far."""
    receiver.setblocking(False)
    found = []
    while True:
        try:
            found.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return found


def test_states_are_told(receiver: socket.socket) -> None:
    supervisor = Supervisor(Told(receiver.getsockname()))
    supervisor.tell("ready", "two\nlines")
    supervisor.tell("stopping", "x")
    supervisor.tell("importing", "x")
    supervisor.tell("stopping", "no", number=98, exit_status=1)
    assert heard(receiver) == [
        f"READY=1\nMAINPID={ME}\nSTATUS=two lines",
        "STOPPING=1\nSTATUS=x",
        "EXTEND_TIMEOUT_USEC=20000000\nSTATUS=x",
        "STOPPING=1\nSTATUS=no\nERRNO=98\nEXIT_STATUS=1",
    ]
    supervisor.tell("reloading", "x")
    said = heard(receiver)[0].split("\n")
    assert said[0] == "RELOADING=1" and said[1].startswith("MONOTONIC_USEC=") and said[2] == "STATUS=x"


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, Told()),
        ({"NOTIFY_SOCKET": "/n", "FDSTORE": "5"}, Told("/n", 0.0, 5)),
        ({"NOTIFY_SOCKET": "@n"}, Told("@n")),
        ({"NOTIFY_SOCKET": "vsock:2:1234"}, Told()),
        ({"NOTIFY_SOCKET": "n"}, Told()),
        ({"FDSTORE": "5"}, Told()),
        ({"WATCHDOG_USEC": "3000000"}, Told(watchdog_s=3.0)),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(ME)}, Told(watchdog_s=3.0)),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(ME + 1)}, Told()),
        ({"WATCHDOG_USEC": "-3"}, Told()),
        ({"WATCHDOG_USEC": "3s"}, Told()),
        ({"WATCHDOG_USEC": "9" * 5000}, Told()),
    ],
)
def test_what_the_environment_says_is_taken_away(environment: dict[str, str], told: Told) -> None:
    environment["A"] = "b"
    assert Told.take(environment) == told
    assert environment == {"A": "b"}


def test_abstract_address_works() -> None:
    name = f"penstock-notify-{ME}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0{name}")
        Supervisor(Told(f"@{name}")).tell("status", "here")
        assert receiver.recv(4096) == b"STATUS=here"


def test_nobody_listening_is_no_error() -> None:
    Supervisor().tell("ready", "x")
    supervisor = Supervisor(Told("/nonexistent/socket"))
    supervisor.tell("ready", "x")
    assert supervisor.next_deadline() is None


def test_watchdog_is_fed_twice_in_its_time_and_only_by_the_healthy(receiver: socket.socket) -> None:
    clock = Clock()
    supervisor = Supervisor(Told(receiver.getsockname(), watchdog_s=10.0), clock)
    # Another program of this process may have fed it almost half its time ago.
    assert supervisor.next_deadline() == 100.0
    supervisor.expire(is_healthy=True)
    assert heard(receiver) == ["WATCHDOG=1"]
    assert supervisor.next_deadline() == 105.0
    clock.now = 104.9
    supervisor.expire(is_healthy=True)
    assert heard(receiver) == []
    clock.now = 105.0
    supervisor.expire(is_healthy=True)
    assert heard(receiver) == ["WATCHDOG=1"]
    assert supervisor.next_deadline() == 110.0


def test_watchdog_is_fed_as_soon_as_the_instance_is_well_again(receiver: socket.socket) -> None:
    clock = Clock()
    supervisor = Supervisor(Told(receiver.getsockname(), watchdog_s=10.0), clock)
    supervisor.expire(is_healthy=False)
    assert heard(receiver) == []
    assert supervisor.next_deadline() == 100.5
    clock.now = 100.5
    supervisor.expire(is_healthy=True)
    assert heard(receiver) == ["WATCHDOG=1"]
    assert supervisor.next_deadline() == 105.5


def test_supervisor_without_room_is_told_later_in_the_same_order(receiver: socket.socket) -> None:
    clock = Clock()
    supervisor = Supervisor(Told(receiver.getsockname()), clock)
    count = 0
    while supervisor.next_deadline() is None:
        supervisor.tell("status", str(count))
        count += 1
    supervisor.tell("ready", "late")
    before = heard(receiver)
    supervisor.expire(is_healthy=True)
    assert heard(receiver) == []
    clock.now += 0.1
    supervisor.expire(is_healthy=True)
    assert before + heard(receiver) == [
        *(f"STATUS={number}" for number in range(count)),
        f"READY=1\nMAINPID={ME}\nSTATUS=late",
    ]
    assert supervisor.next_deadline() is None


def test_supervisor_that_never_reads_takes_no_memory_without_end(receiver: socket.socket) -> None:
    supervisor = Supervisor(Told(receiver.getsockname()))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(2000):
        supervisor.keep(0, "x")
    # One of them is that of the listing.
    assert len(os.listdir("/proc/self/fd")) <= before + MOST_WAITING
    supervisor.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_descriptor_is_kept_under_its_name_and_forgotten(receiver: socket.socket) -> None:
    supervisor = Supervisor(Told(receiver.getsockname(), store=2))
    assert supervisor.keeps_descriptors
    read_end, write_end = os.pipe()
    supervisor.keep(write_end, "penstock-x")
    data, (fd,), _, _ = socket.recv_fds(receiver, 4096, 4)
    assert data == b"FDSTORE=1\nFDNAME=penstock-x\nFDPOLL=0"
    os.write(fd, b"y")
    assert os.read(read_end, 9) == b"y"
    for each in (read_end, write_end, fd):
        os.close(each)
    supervisor.forget("penstock-x")
    assert heard(receiver) == ["FDSTOREREMOVE=1\nFDNAME=penstock-x"]
