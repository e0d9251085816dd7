"""Inherited sockets: what they are, which configured address each of them is, and what becomes of the rest."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from penstock.plan import inherited
from penstock.plan.activation import is_same
from penstock.plan.addresses import parse_address
from penstock.plan.resolve import PlanError, resolve
from penstock.plan.types import InheritedSocket, ListenerPlan, Plan, from_json_value, to_json_value
from penstock.values import replace
from tests.config.support import read
from tests.plan.test_resolve import machine, refusal

ME = str(os.getpid())


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def listening(opened: ExitStack, family: int, address: object, v6_only: bool = False) -> int:
    made = opened.enter_context(socket.socket(family, socket.SOCK_STREAM))
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
    made.bind(address)
    made.listen(1)
    return made.fileno()


def test_descriptors_are_described(opened: ExitStack, short_dir: Path) -> None:
    path = f"{short_dir}/s"
    fd = listening(opened, socket.AF_UNIX, path)
    assert inherited.describe(fd, "a") == InheritedSocket(fd, "a", "unix", path)
    fd = listening(opened, socket.AF_UNIX, f"\0penstock-{ME}")
    assert inherited.describe(fd, "") == InheritedSocket(fd, "", "abstract", f"penstock-{ME}")
    fd = listening(opened, socket.AF_INET, ("127.0.0.1", 0))
    found = inherited.describe(fd, "")
    assert (found.family, found.host, found.takes_ipv4) == ("inet", "127.0.0.1", False) and found.port
    for v6_only in (False, True):
        fd = listening(opened, socket.AF_INET6, ("::", 0), v6_only)
        found = inherited.describe(fd, "")
        assert (found.family, found.host, found.takes_ipv4) == ("inet6", "::", not v6_only)


def test_what_nobody_can_accept_on_is_not_served(opened: ExitStack, short_dir: Path) -> None:
    datagrams = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    silent = opened.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    one, other = socket.socketpair()
    opened.callback(one.close)
    opened.callback(other.close)
    file = os.open(short_dir / "file", os.O_CREAT | os.O_RDWR)
    for fd in (datagrams.fileno(), silent.fileno(), one.fileno(), file):
        assert inherited.describe(fd, "x") == InheritedSocket(fd, "x")
        os.fstat(fd)
    os.close(file)
    assert inherited.describe(file, "x") == InheritedSocket(file, "x")


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_FDS": "1"},
        {"LISTEN_FDS": "1", "LISTEN_PID": "1"},
        {"LISTEN_FDS": "x", "LISTEN_PID": ME},
        {"LISTEN_FDS": "-1", "LISTEN_PID": ME},
        {"LISTEN_FDS": "", "LISTEN_PID": ME},
        {"LISTEN_FDS": "0", "LISTEN_PID": ME},
    ],
)
def test_what_is_meant_for_others_or_for_nobody_is_left_alone(environment: dict[str, str]) -> None:
    assert inherited.look(environment) == ()


def test_names_and_numbers_are_read(opened: ExitStack) -> None:
    fd = listening(opened, socket.AF_INET, ("127.0.0.1", 0))
    environment = {"LISTEN_FDS": "2", "LISTEN_PID": ME, "LISTEN_FDNAMES": "web:", "A": "b"}
    first, second = inherited.look(environment, fd)
    assert (first.fd, first.name, first.family) == (fd, "web", "inet")
    assert (second.fd, second.name) == (fd + 1, "")
    environment |= {"LISTEN_FDNAMES": "web", "LISTEN_FDS": "9" * 90}
    assert len(inherited.look(environment, 100_000)) == inherited.MOST
    inherited.forget(environment)
    assert environment == {"A": "b"}


V4, V4_ALL = InheritedSocket(3, "", "inet", "127.0.0.1", 8000), InheritedSocket(3, "", "inet", "0.0.0.0", 8000)
V6, V6_ALL = InheritedSocket(3, "", "inet6", "::1", 8000), InheritedSocket(3, "", "inet6", "::", 8000)
BOTH = InheritedSocket(3, "", "inet6", "::", 8000, takes_ipv4=True)
PATH, NAME = InheritedSocket(3, "", "unix", "/run/a"), InheritedSocket(3, "", "abstract", "a")
ALL = (V4, V4_ALL, V6, V6_ALL, BOTH, PATH, NAME)


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("127.0.0.1:8000", {V4}),
        ("localhost:8000", {V4}),
        (":8000", {V4_ALL, BOTH}),
        ("0.0.0.0:8000", {V4_ALL, BOTH}),
        ("[::]:8000", {V6_ALL, BOTH}),
        ("[::1]:8000", {V6}),
        ("127.0.0.1:8001", set()),
        ("127.0.0.1:0", set()),
        ("no-such-host.invalid:8000", set()),
        ("/run/a", {PATH}),
        ("@a", {NAME}),
        ("/run/b", set()),
    ],
)
def test_addresses_are_compared_as_the_kernel_means_them(address: str, same: set[InheritedSocket]) -> None:
    parsed = parse_address(address, "/")
    plan = ListenerPlan("http", address, parsed.family, parsed.host, parsed.port, 5, None, None, "")
    assert {one for one in ALL if is_same(one, plan)} == same


def planned(*argv: str, sockets: tuple[InheritedSocket, ...]) -> Plan:
    argv = (*argv, "--module", "app")
    return resolve(read(*argv, cwd="/"), replace(machine("/"), inherited=sockets))


def test_configured_address_takes_its_socket() -> None:
    plan = planned("--http", "127.0.0.1:8000", "--socket", "/run/b", sockets=(PATH, V4))
    shown = [(one.protocol, one.name, one.inherited) for one in plan.listeners]
    assert shown == [("http", "127.0.0.1:8000", V4), ("uwsgi", "/run/b", None), ("uwsgi", "/run/a", PATH)]
    assert plan.unused_sockets == ()
    assert from_json_value(Plan, to_json_value(plan)) == plan


def test_inherited_socket_is_enough() -> None:
    (listener,) = planned(sockets=(V4,)).listeners
    assert (listener.protocol, listener.name, listener.backlog) == ("uwsgi", "127.0.0.1:8000", 0)
    assert refusal("--module", "app").findings[0].code == "no-listener"


def test_protocol_is_said_by_an_option_or_by_the_name() -> None:
    assert planned("--protocol", "http", sockets=(V4,)).listeners[0].protocol == "http"
    assert planned(sockets=(replace(V4, name="http"),)).listeners[0].protocol == "http"
    named = planned("--protocol", "http", sockets=(replace(V4, name="uwsgi"),))
    assert named.listeners[0].protocol == "uwsgi"


def test_second_socket_of_a_port_speaks_what_the_first_does() -> None:
    plan = planned("--http", ":8000", sockets=(V4_ALL, replace(V6_ALL, fd=4)))
    assert [(one.protocol, one.inherited and one.inherited.fd) for one in plan.listeners] == [("http", 3), ("http", 4)]


def test_statistics_take_their_socket() -> None:
    plan = planned("--http", ":1", "--stats", "127.0.0.1:8000", sockets=(V4,))
    assert plan.stats is not None and plan.stats.inherited == V4 and len(plan.listeners) == 1


def test_what_was_stored_and_is_wanted_no_more_is_given_back() -> None:
    stored = replace(V4, name="penstock-127.0.0.1,8000")
    plan = planned("--http", ":1", sockets=(stored,))
    assert plan.unused_sockets == (stored,) and len(plan.listeners) == 1
    assert planned("--http", "127.0.0.1:8000", sockets=(stored,)).listeners[0].inherited == stored


def test_port_that_the_kernel_once_chose_is_found_again() -> None:
    stored = (replace(V4, name="penstock-a"), replace(V4, fd=4, name="penstock-b", port=9000), replace(V6, fd=5))
    plan = planned("--http", "127.0.0.1:0", "--http", "127.0.0.1:8000", "--http", "[::1]:0", sockets=stored)
    shown = [(one.port, one.inherited and one.inherited.fd) for one in plan.listeners]
    # What is not Penstock's own has been bound by somebody who has chosen its port.
    assert shown == [(0, 4), (8000, 3), (0, None), (8000, 5)]


def test_descriptor_of_another_kind_is_named_and_closed() -> None:
    odd = InheritedSocket(7, "odd")
    plan = planned("--http", ":1", sockets=(odd,))
    assert plan.unused_sockets == (odd,)
    assert any("descriptor 7 (odd), passed at the start, is no listening" in note for note in plan.notes)
    with pytest.raises(PlanError, match="no address to serve on"):
        planned(sockets=(odd,))
