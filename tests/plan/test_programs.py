"""Programs beside the workers: what each way to write one comes to, and what is wrong with it."""

from __future__ import annotations

import pytest

from penstock.plan.process_types import ProgramPlan, ProgramsPlan
from tests.plan.test_resolve import SERVE, plan, refusal


def test_there_are_none_unless_they_are_asked_for() -> None:
    assert plan().programs == ProgramsPlan() and plan().programs.mercy_s == 3


def test_each_kind_in_the_order_in_which_they_were_written() -> None:
    made = plan(
        *("--smart-attach-daemon2", "/run/w.pid ./worker --loud", "--attach-daemon", "redis-server -"),
        *("--attach-control-daemon", "main", "--smart-attach-daemon", "/run/m.pid,30 memcached -d"),
        *("--env", "A=1", "--reload-mercy", "8"),
    ).programs
    base = ProgramPlan("", chdir="/", environment=(("A", "1"),))
    assert made.mercy_s == 8
    assert [(one.command, one.pidfile, one.writes_pidfile, one.check_s, one.ends_instance) for one in made.each] == [
        ("./worker --loud", "/run/w.pid", True, 10, False),
        ("redis-server -", "", False, 10, False),
        ("main", "", False, 10, True),
        ("memcached -d", "/run/m.pid", False, 30, False),
    ]
    assert all(one.environment == base.environment and one.chdir == "/" for one in made.each)


def test_the_keys_of_attach_daemon2() -> None:
    (one,) = plan(
        "--attach-daemon2",
        "cmd=celery -A shop worker,pidfile=c.pid,freq=5,daemonize=1,touch=/a;b,stopsignal=INT,reloadsignal=1,"
        "uid=33,gid=34,chdir=sub,max_throttle=60,control=true,stdin=1",
    ).programs.each
    assert one == ProgramPlan(
        "celery -A shop worker", "/c.pid", True, 5, True, 2, 1, 33, 34, "/sub", (), 60, ("/a", "/b"), True
    )


def test_a_key_that_is_ignored_is_named() -> None:
    made = plan("--attach-daemon2", "cmd=true,ns_pid=1,notifypid=1")
    said = "\n".join(made.notes)
    assert "ns_pid is ignored: the program shares the name space of the other processes; unshare --fork" in said
    assert "notifypid is ignored: nobody is told its pid; pidfile names a file" in said


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--attach-daemon2", "cmd=true,colour=red"), "no key 'colour'"),
        (("--attach-daemon2", "pidfile=/x"), "there is no cmd"),
        (("--attach-daemon2", "cmd=true,freq=often"), "freq = often is not a number"),
        (("--attach-daemon2", "cmd=true,stopsignal=99"), "stopsignal = 99 is not a number"),
        (("--attach-daemon2", "cmd=true,uid=www-data"), "uid = www-data is not a number"),
        (("--attach-daemon2", "true"), "no key 'true'"),
        (("--smart-attach-daemon", "/run/x.pid"), "a pid file, perhaps"),
        (("--smart-attach-daemon2", "/run/x.pid,soon true"), "a pid file, perhaps"),
    ],
)
def test_what_can_not_be_meant(argv: tuple[str, ...], said: str) -> None:
    assert said in str(refusal(*SERVE, *argv))
