"""Binding: names, stale sockets, owners, and the words in which it fails."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.master.errors import AddressInUse, StartError
from penstock.master.sockets import (
    BoundListener,
    _why_not_bound,
    bind,
    bind_all,
    bind_own,
    give_away,
    is_same_address,
    patiently,
    remove_socket_file,
    resolve_owner,
)
from tests.master.plans import listener_plan, unix_plan


def test_port_0_gets_a_real_port() -> None:
    bound = bind(listener_plan())
    port = bound.socket.getsockname()[1]
    assert port and bound.name == f"127.0.0.1:{port}" and bound.server_port == str(port)
    assert (
        bound.bound_line(3) == f"http socket 3 bound to TCP address 127.0.0.1:{port} (port auto-assigned) fd {bound.fd}"
    )
    assert bound.url == f"http://127.0.0.1:{port}"
    assert not bound.socket.getblocking() and not os.get_inheritable(bound.fd)
    bound.close(remove=True)


def test_no_host_means_every_ipv4_address() -> None:
    bound = bind(listener_plan(""))
    assert bound.socket.getsockname()[0] == "0.0.0.0"
    assert bound.name.startswith(":") and bound.url.startswith("http://0.0.0.0:")
    bound.close(remove=True)


def test_ipv6_is_named_in_brackets() -> None:
    bound = bind(listener_plan("::1", family="inet6"))
    assert bound.name == f"[::1]:{bound.server_port}" and bound.url == f"http://{bound.name}"
    bound.close(remove=True)


def test_ipv6_wildcard_takes_ipv4_too() -> None:
    bound = bind(listener_plan("::", family="inet6"))
    with socket.create_connection(("127.0.0.1", int(bound.server_port)), timeout=5):
        pass
    bound.close(remove=True)


def test_both_wildcards_fit_on_one_port() -> None:
    free = bind(listener_plan())
    port = int(free.server_port)
    free.close(remove=True)
    for plans in (
        (listener_plan("", port), listener_plan("::", port, family="inet6")),
        (listener_plan("::", port, family="inet6"), listener_plan("", port)),
    ):
        for bound in bind_all(plans):
            bound.close(remove=True)


def test_symbolic_host_is_resolved() -> None:
    bound = bind(listener_plan("localhost"))
    assert bound.socket.getsockname()[0] == "127.0.0.1" and bound.name.startswith("localhost:")
    bound.close(remove=True)


def test_address_in_use_is_named_with_its_origin() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as failure:
            bind(listener_plan("127.0.0.1", port, origin="app.ini:3"))
    assert f"the http socket 127.0.0.1:{port} (app.ini:3) can not be bound" in str(failure.value)
    assert "probably another instance is running on the same address" in str(failure.value)
    assert failure.value.status == 1


def test_address_of_another_machine_is_explained() -> None:
    with pytest.raises(StartError, match="this machine has no such address"):
        bind(listener_plan("192.0.2.1"))


def test_host_without_an_address_is_explained() -> None:
    with pytest.raises(StartError, match="has no address"):
        bind(listener_plan("host.invalid"))


def test_one_failure_takes_the_others_back(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    with pytest.raises(StartError):
        bind_all([unix_plan(str(path)), listener_plan("192.0.2.1")])
    assert not path.exists()


def test_unix_socket_has_the_mode_of_the_plan_or_of_the_umask(short_dir: Path) -> None:
    before = os.umask(0o027)
    try:
        plain = bind(unix_plan(str(short_dir / "a")))
        chosen = bind(unix_plan(str(short_dir / "b"), mode=0o666))
    finally:
        os.umask(before)
    assert (short_dir / "a").stat().st_mode & 0o777 == 0o750
    assert (short_dir / "b").stat().st_mode & 0o777 == 0o666
    assert chosen.url == f"uwsgi+unix:{short_dir}/b" and chosen.server_port == "80"
    for one in (plain, chosen):
        one.close(remove=True)
    assert list(short_dir.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_unix_socket_belongs_to_whom_the_plan_names_or_the_instance_becomes(short_dir: Path) -> None:
    named = bind(unix_plan(str(short_dir / "a"), owner="nobody:12"), (33, 33))
    default = bind(unix_plan(str(short_dir / "b")), (33, 34))
    assert ((short_dir / "a").stat().st_uid, (short_dir / "a").stat().st_gid) == (65534, 12)
    assert ((short_dir / "b").stat().st_uid, (short_dir / "b").stat().st_gid) == (33, 34)
    for one in (named, default):
        one.close(remove=True)


def test_owner_that_does_not_exist_fails_and_leaves_nothing(short_dir: Path) -> None:
    with pytest.raises(StartError, match="there is no user 'nobody-at-all'"):
        bind(unix_plan(str(short_dir / "a"), owner="nobody-at-all"))
    assert list(short_dir.iterdir()) == []


def test_owners_are_read() -> None:
    assert resolve_owner(None, None) == (-1, -1)
    assert resolve_owner(None, (1, 2)) == (1, 2)
    assert resolve_owner("5:6", None) == (5, 6)
    assert resolve_owner(":6", None) == (-1, 6)
    assert resolve_owner("root", None) == (0, -1)
    with pytest.raises(LookupError, match="no group"):
        resolve_owner("5:no-such-group", None)


def test_stale_socket_is_replaced(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    bind(unix_plan(str(path))).socket.close()
    assert path.exists()
    bound = bind(unix_plan(str(path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    bound.close(remove=True)


def test_living_socket_is_refused_and_left_alone(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    living = bind(unix_plan(str(path)))
    with pytest.raises(StartError, match="probably another instance is running on the same address"):
        bind(unix_plan(str(path)))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    living.close(remove=True)


def test_living_socket_with_a_full_queue_is_refused_too(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    living = bind(unix_plan(str(path), backlog=0))
    clients = []
    while True:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        clients.append(client)
        if client.connect_ex(str(path)) == errno.EAGAIN:
            break
    with pytest.raises(StartError, match="another instance"):
        bind(unix_plan(str(path)))
    for client in clients:
        client.close()
    living.close(remove=True)


@pytest.mark.parametrize(
    ("shown", "number", "has", "lacks"),
    [
        ("127.0.0.1:8000", errno.EADDRINUSE, "or another program: ss -ltnp | grep 8000 shows it", "1024"),
        ("/run/app.sock", errno.EADDRINUSE, "on the same address (/run/app.sock)", "ss -ltnp"),
        ("/run/app.sock", errno.EACCES, "may not write to the directory /run", "1024"),
        ("127.0.0.1:80", errno.EACCES, "a port below 1024 needs root", "directory"),
    ],
)
def test_reason_is_of_the_kind_of_the_address(shown: str, number: int, has: str, lacks: str) -> None:
    reason = _why_not_bound(OSError(number, "no"), shown)
    assert has in reason and lacks not in reason


def test_socket_that_can_not_be_removed_is_one_line_in_the_log(
    short_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """After a change of the user its directory may be root's alone; root itself can not unlink a directory."""
    path = short_dir / "s"
    path.mkdir()
    found = path.stat()
    remove_socket_file(str(path), (found.st_dev, found.st_ino))
    assert capfd.readouterr().err == f"can not remove {path}: Is a directory\n"
    remove_socket_file(str(short_dir / "gone"), (1, 1))
    assert capfd.readouterr().err == ""


def test_file_that_is_no_socket_is_not_removed(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    path.write_text("precious")
    with pytest.raises(StartError, match="is no socket"):
        bind(unix_plan(str(path)))
    assert path.read_text() == "precious"


def test_path_that_is_too_long_is_explained(short_dir: Path) -> None:
    with pytest.raises(StartError, match="Linux allows 107"):
        bind(unix_plan(str(short_dir / ("x" * 120))))


def test_directory_that_does_not_exist_is_named(short_dir: Path) -> None:
    with pytest.raises(StartError, match=f"the directory {short_dir}/no does not exist"):
        bind(unix_plan(str(short_dir / "no" / "a.sock")))


def test_socket_of_a_successor_is_not_removed(short_dir: Path) -> None:
    path = short_dir / "a.sock"
    first = bind(unix_plan(str(path)))
    path.unlink()
    second = bind(unix_plan(str(path)))
    first.close(remove=True)
    assert path.exists()
    second.close(remove=True)
    assert not path.exists()
    remove_socket_file(str(path), second.inode)


def test_abstract_socket_leaves_no_file() -> None:
    plan = listener_plan(f"@penstock-test-{os.getpid()}", family="abstract", protocol="uwsgi")
    bound = bind(plan)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(f"\0penstock-test-{os.getpid()}")
    assert bound.name == plan.host and bound.url == f"uwsgi+unix:{plan.host}"
    with pytest.raises(StartError, match="another instance"):
        bind(plan)
    bound.close(remove=True)


def test_port_that_was_chosen_stays_over_a_reload() -> None:
    bound = bind(listener_plan())
    assert is_same_address(bound, listener_plan())
    assert not is_same_address(bound, listener_plan(protocol="uwsgi"))
    assert not is_same_address(bound, listener_plan("127.0.0.1", 8001))
    bound.close(remove=True)


def test_statistics_socket_that_can_not_be_bound_is_named() -> None:
    with pytest.raises(StartError, match=r"the stats socket 192.0.2.1:1 \(test\) can not be bound"):
        bind_own("stats", listener_plan("192.0.2.1", 1))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_link_in_the_place_of_a_new_socket_is_not_followed(short_dir: Path) -> None:
    """Its directory may belong to the app's user, who may be quicker than the change of the owner."""
    precious = short_dir / "precious"
    precious.touch()
    (short_dir / "a").symlink_to(precious)
    give_away(short_dir / "a", 33, 33)
    assert (precious.stat().st_uid, (short_dir / "a").lstat().st_uid) == (0, 33)


@pytest.fixture
def listener_in_use() -> Iterator[socket.socket]:
    """Somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_an_address_that_is_let_go_in_a_moment_is_waited_for(listener_in_use: socket.socket) -> None:
    plan = listener_plan("127.0.0.1", listener_in_use.getsockname()[1])
    tries = []

    def bind_it() -> BoundListener:
        tries.append(1)
        if len(tries) == 3:
            listener_in_use.close()
        return bind(plan)

    bound = patiently(bind_it)
    assert len(tries) == 3
    bound.close(remove=False)


def test_an_address_that_stays_in_use_is_given_up(listener_in_use: socket.socket) -> None:
    plan = listener_plan("127.0.0.1", listener_in_use.getsockname()[1])
    times = iter((10.0, 11.0, 11.9, 12.0))
    with pytest.raises(AddressInUse, match="probably another instance"):
        patiently(lambda: bind(plan), lambda: next(times))
    assert next(times, None) is None


def test_what_waiting_does_not_cure_is_not_waited_for() -> None:
    with pytest.raises(StartError):
        patiently(lambda: bind(listener_plan("192.0.2.1", 1)), lambda: pytest.fail("the time was asked for"))
