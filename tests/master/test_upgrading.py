"""An upgrade, as the policy has it: tried first, done in quiet, followed by a reload, and never at the site's cost."""

from __future__ import annotations

from penstock.master import actions as act
from penstock.master import events as ev
from penstock.master.upgrading import CHECK_MOST_S
from tests.master.world import World, of, only

ASK = ev.UpgradeRequested("upgrade command", 7)
CAN = ev.UpgradeChecked(True, "9.0")
CAN_NOT = ev.UpgradeChecked(False, "ImportError: half installed")


def kinds(actions: list[act.Action]) -> set[type]:
    return {type(one) for one in actions} & {act.CheckUpgrade, act.Upgrade, act.GiveUpCheck, act.StartGeneration}


def test_upgrade_is_tried_done_and_followed_by_a_reload() -> None:
    world = World().serve()
    assert kinds(world.send(ASK)) == {act.CheckUpgrade}
    assert kinds(world.send(CAN)) == {act.Upgrade}
    asked = world.send(ev.Upgraded("8.0", "9.0"))
    assert only(asked, act.StartGeneration) == act.StartGeneration(2, first=False, reread=True)
    assert "Penstock 9.0 has taken over from 8.0" in world.log
    world.started(2)
    world.imported(2)
    assert only(world.ready(2), act.AnswerReload) == act.AnswerReload((7,), 2, ok=True)
    assert world.fleet.upgrade == "" and world.fleet.upgrade_tickets == ()


def test_an_upgrade_does_not_end_what_ends_instead_of_a_reload() -> None:
    world = World(exit_on_reload=True).serve()
    world.send(ASK)
    world.send(CAN)
    assert kinds(world.send(ev.Upgraded("8.0", "9.0"))) == {act.StartGeneration}
    world.started(2, exit_on_reload=True)
    world.imported(2)
    assert only(world.ready(2), act.AnswerReload).ok
    world.send(ev.ReloadRequested("test"))
    assert world.fleet.mode == "draining"


def test_program_that_can_not_take_over_changes_nothing() -> None:
    world = World().serve()
    world.send(ASK)
    answer = only(world.send(CAN_NOT), act.AnswerReload)
    assert (answer.tickets, answer.ok, answer.reason) == ((7,), False, "ImportError: half installed")
    assert world.fleet.mode == "serving" and world.fleet.upgrade == "" and not world.fleet.timers
    # The next try is a new one.
    assert kinds(world.send(ASK)) == {act.CheckUpgrade}


def test_program_that_can_not_be_executed_changes_nothing() -> None:
    world = World().serve()
    world.send(ASK)
    world.send(CAN)
    answer = only(world.send(ev.UpgradeFailed("no such file")), act.AnswerReload)
    assert answer == act.AnswerReload((7,), 0, ok=False, reason="no such file")
    assert world.fleet.upgrade == ""


def test_trial_that_does_not_end_is_ended() -> None:
    world = World().serve()
    world.send(ASK)
    assert kinds(world.advance(CHECK_MOST_S - 1)) == set()
    asked = world.advance(2)
    assert kinds(asked) == {act.GiveUpCheck} and only(asked, act.AnswerReload).tickets == (7,)
    # Its end is reported nevertheless, and means nothing any more.
    assert kinds(world.send(CAN_NOT)) == set()


def test_upgrade_waits_for_a_start_and_for_a_reload() -> None:
    world = World()
    world.send(ev.Begin())
    assert kinds(world.send(ASK)) == set()
    world.started(1)
    world.imported(1)
    assert kinds(world.ready(1)) == {act.CheckUpgrade}
    assert kinds(world.send(ev.Signal("SIGHUP"))) == {act.StartGeneration}
    assert kinds(world.send(CAN)) == set()
    world.started(2)
    world.imported(2)
    assert kinds(world.ready(2)) == {act.Upgrade}


def test_what_was_seen_at_the_same_moment_goes_first() -> None:
    world = World().serve()
    world.send(ASK)
    assert kinds(world.send(CAN)) == {act.Upgrade}
    assert kinds(world.send(ev.Signal("SIGHUP"))) == {act.StartGeneration}
    assert world.fleet.upgrade == "checked"
    world.started(2)
    world.imported(2)
    assert kinds(world.ready(2)) == {act.Upgrade} and world.fleet.upgrade == "going"
    asked = world.send(ev.Signal("SIGTERM"))
    assert world.fleet.upgrade == "" and not only(asked, act.AnswerReload).ok


def test_reload_that_waits_goes_first() -> None:
    world = World().serve()
    world.send(ev.Signal("SIGHUP"))
    world.send(ev.Signal("SIGHUP"))
    world.send(ASK)
    world.started(2)
    world.imported(2)
    assert kinds(world.ready(2)) == {act.StartGeneration}


def test_two_who_ask_at_once_share_an_upgrade() -> None:
    world = World().serve()
    world.send(ASK)
    assert kinds(world.send(ev.UpgradeRequested("upgrade command", 8))) == set()
    world.send(CAN)
    world.send(ev.Upgraded("8.0", "9.0"))
    world.started(2)
    world.imported(2)
    assert only(world.ready(2), act.AnswerReload).tickets == (7, 8)


def test_stop_ends_the_trial_and_tells_who_waits() -> None:
    world = World().serve()
    world.send(ASK)
    asked = world.send(ev.Signal("SIGTERM"))
    assert kinds(asked) == {act.GiveUpCheck}
    assert [one.tickets for one in of(asked, act.AnswerReload)] == [(7,)]
    assert kinds(world.send(CAN)) == set()
    refused = world.send(ASK)
    assert kinds(refused) == set() and not only(refused, act.AnswerReload).ok


def test_reload_that_fails_after_the_upgrade_is_told_to_who_waits() -> None:
    world = World().serve()
    world.send(ASK)
    world.send(CAN)
    world.send(ev.Upgraded("8.0", "9.0"))
    world.started(2)
    answer = only(world.send(ev.ImportFailed(2, "no", "Traceback")), act.AnswerReload)
    assert answer.tickets == (7,) and not answer.ok and world.fleet.mode == "serving"
