"""Who the processes are: user, group, additional groups, and a master that stays root."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, run_penstock, until
from tests.support.reachable import for_others

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")

Start = Callable[..., Penstock]


@pytest.fixture
def start(short_dir: Path) -> Start:
    """Starts an instance whose app and interpreter `nobody` can reach."""
    short_dir.chmod(0o755)
    python, environ = for_others(short_dir)
    shutil.copy(APPS / "cases.py", short_dir)

    def run(*options: str) -> Penstock:
        return Penstock(
            *("--http", "127.0.0.1:0", "--chdir", short_dir, "--module", "cases", *options),
            python=python,
            env=environ,
        )

    return run


def ids(pid: int, what: str) -> list[int]:
    """Numbers of a line of /proc/PID/status: real, effective and saved ones, or the additional groups."""
    line = re.search(rf"^{what}:(.*)$", Path(f"/proc/{pid}/status").read_text(), re.M)
    assert line is not None
    return [int(word) for word in line[1].split()]


@pytest.mark.option("gid", "uid")
def test_uid_and_gid(start: Start) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with start("--uid", "nobody", "--gid", "nogroup") as instance:
        assert get(instance.http, "/hello").status == 200
        for pid in instance.processes():
            assert ids(pid, "Uid")[:3] == [nobody] * 3 and ids(pid, "Gid")[:3] == [65534] * 3
        instance.reload()
        assert get(instance.http, "/hello").status == 200


def test_upgrade_changes_no_user(start: Start, short_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with start("--uid", "nobody", "--gid", "nogroup", "--pidfile", str(short_dir / "pid")) as instance:
        ended = run_penstock("upgrade", short_dir / "pid")
        assert ended.returncode == 0, ended.stderr
        assert ids(instance.pid, "Uid")[:3] == [nobody] * 3
        # What only root could have asked for is no fault of a reload now.
        instance.reload()
        assert "can become another user" not in instance.log
        assert get(instance.http, "/hello").status == 200


def test_a_python_that_the_user_can_not_reach_is_named_with_the_closed_directory(short_dir: Path) -> None:
    short_dir.chmod(0o755)
    closed = short_dir / "closed"
    closed.mkdir(0o700)
    (closed / "python").symlink_to(sys.executable)
    (short_dir / "venv" / "bin").mkdir(parents=True)
    (short_dir / "venv" / "bin" / "python").symlink_to(closed / "python")
    words = ("--http", "127.0.0.1:0", "--wsgi-file", APPS / "cases.py", "--home", short_dir / "venv", "--uid", "nobody")
    done = run_penstock(*words)
    assert done.returncode == 1
    assert f"Permission denied, {closed} may not be entered; chmod o+x {closed}" in done.stderr
    checked = run_penstock("check", *words)
    assert checked.returncode == 2 and "[not-reachable]" in checked.stdout


@pytest.mark.option("add-gid")
def test_additional_groups(start: Start) -> None:
    adm = grp.getgrnam("adm").gr_gid
    with start("--uid", "nobody", "--gid", "nogroup", "--add-gid", "adm", "--add-gid", "4711") as instance:
        for pid in instance.processes():
            assert {adm, 4711, 65534} == set(ids(pid, "Groups"))


@pytest.mark.option("no-initgroups")
def test_groups_of_the_user_are_left_alone(start: Start) -> None:
    # Some user that is a member of more than its own group, where there is one.
    members = [name for group in grp.getgrall() for name in group.gr_mem if group.gr_gid] or ["nobody"]
    with start("--uid", members[0], "--gid", "4711") as instance:
        groups = set(os.getgrouplist(members[0], 4711))
        assert [set(ids(pid, "Groups")) for pid in instance.workers()] == [groups]
    with start("--uid", members[0], "--gid", "4711", "--no-initgroups", "--add-gid", "4712") as instance:
        assert [set(ids(pid, "Groups")) for pid in instance.workers()] == [{4711, 4712}]


@pytest.mark.option("master-as-root")
def test_master_stays_root_and_nobody_else(start: Start) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    with start("--uid", "nobody", "--gid", "nogroup", "--master-as-root", "--processes", "2") as instance:
        for _ in range(2):
            until("nothing else than a generation and its workers", lambda: len(instance.processes()) == 4)
            others = set(instance.processes()) - {instance.pid}
            assert ids(instance.pid, "Uid") == [0] * 4
            for pid in others:
                assert ids(pid, "Uid") == [nobody] * 4 and ids(pid, "Gid") == [65534] * 4
                assert ids(pid, "Groups") == [65534]
            assert get(instance.http, "/hello").status == 200
            instance.reload()


@pytest.mark.option("drop-after-apps")
@pytest.mark.parametrize("lazy", [False, True])
def test_the_application_is_imported_as_root_and_served_as_nobody(start: Start, short_dir: Path, lazy: bool) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    (short_dir / "early.py").write_text("import os\nprint('imported by', os.getuid(), flush=True)\n")
    more = ("--import" if not lazy else "--shared-import", short_dir / "early.py", *(["--lazy-apps"] if lazy else []))
    with start("--uid", "nobody", "--gid", "nogroup", "--drop-after-apps", "--processes", "2", *more) as instance:
        for round_number in (1, 2):
            until("a generation and its workers", lambda: len(instance.processes()) == 4)
            assert ids(instance.pid, "Uid") == [0] * 4
            for pid in set(instance.processes()) - {instance.pid}:
                assert ids(pid, "Uid") == [nobody] * 4 and ids(pid, "Groups") == [65534]
            assert get(instance.http, "/hello").status == 200
            assert instance.log.count("imported by 0") == round_number
            instance.reload()


def test_group_that_does_not_exist_stops_the_start() -> None:
    result = run_penstock("--http", "127.0.0.1:0", "--add-gid", "no-such-group")
    assert result.returncode == 1 and "add-gid = no-such-group: there is no such group" in result.stderr
