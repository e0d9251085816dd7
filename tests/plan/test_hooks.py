"""What is done at the points of an instance's life: read, put into order, and refused."""

from __future__ import annotations

import re

import pytest

from penstock import hooks
from penstock.plan.hooks import ONLY_UWSGI
from penstock.plan.process_types import HOOK_ACTIONS, HooksPlan
from tests.plan.test_resolve import SERVE, plan, refusal
from tools.tidy import ROOT


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    assert plan().hooks == HooksPlan()


def test_hooks_come_before_the_commands_of_their_point() -> None:
    made = plan(
        *("--exec-as-user", "one", "--hook-as-user", "mkdir:/a", "--hook-as-user", "exec:two:three"),
        *("--exec-asap", "zero", "--hook-accepting1-once", "log: ready "),
    ).hooks
    assert [(one.point, one.action, one.argument) for one in made.each] == [
        ("asap", "exec", "zero"),
        ("as-user", "mkdir", "/a"),
        ("as-user", "exec", "two:three"),
        ("as-user", "exec", "one"),
        ("accepting1-once", "log", " ready"),
    ]
    assert [one.argument for one in made.at("as-user", "asap")] == ["/a", "two:three", "one", "zero"]


def test_files_that_are_touched() -> None:
    made = plan("--touch-exec", "a make it", "--hook-touch", "/b print:touched").hooks.at("touch")
    assert [(one.path, one.action, one.argument) for one in made] == [
        ("/a", "exec", "make it"),
        ("/b", "print", "touched"),
    ]


def test_a_graceful_stop_is_what_sigterm_does_anyway() -> None:
    made = plan("--hook-master-start", "unix_signal:15 gracefully_kill_them_all")
    assert made.hooks == HooksPlan() and any("SIGTERM stops gracefully already" in note for note in made.notes)


def test_every_action_can_be_done() -> None:
    assert set(HOOK_ACTIONS) == {*hooks.ACTIONS, "exec", "safeexec"}


def test_the_guide_names_what_is_done_and_what_is_refused() -> None:
    table = (ROOT / "docs" / "guides" / "process-management.md").read_text().partition("| action | | |\n")[2]
    cells = [line.split(" | ") for line in table.partition("\n\n")[0].splitlines()]
    for verdict, names in (("done", HOOK_ACTIONS), ("refused", ONLY_UWSGI)):
        named = [name for row in cells if row[1:2] == [verdict] for name in re.findall(r"`(\w+)`", row[0])]
        assert sorted(named) == sorted(names)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--hook-as-user", "dance:now"), "there is no action 'dance'"),
        (("--hook-as-root", "mount:proc none /proc"), "the action mount is not supported"),
        (("--hook-asap", "exec:"), "not what exec takes"),
        (("--hook-asap", "chmod:/a 999"), "not what chmod takes"),
        (("--hook-asap", "chmod:/a"), "write chmod:FILE MODE"),
        (("--hook-asap", "chown:/a root"), "not what chown takes"),
        (("--hook-asap", "putenv:A"), "write putenv:NAME=VALUE"),
        (("--hook-asap", "exit:soon"), "not what exit takes"),
        (("--hook-post-fork", "exit:1"), "exit is for the start of the master"),
        (("--hook-master-start", "unix_signal:1 reload"), "can not be given another meaning"),
        (("--touch-exec", "/only-a-file"), "a file, a blank and what to do"),
        (("--hook-touch", "/f"), "a file, a blank and what to do"),
    ],
)
def test_what_can_not_be_done(argv: tuple[str, ...], said: str) -> None:
    refused = str(refusal(*SERVE, *argv))
    assert said in refused and argv[0] in refused
