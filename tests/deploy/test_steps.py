"""Steps that are shown, carried out, stopped by a failure, and mended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from penstock.deploy.artifact import Artifact, Manifest, Tree, compare
from penstock.deploy.running import Command, Machine
from penstock.deploy.steps import Act, Failed, Inside, Item, Remark, Step, carry_out, show


class Listener:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def step(self, number: int, total: int, title: str) -> None:
        """A step begins."""
        self.told.append(f"{number}/{total} {title}")

    def item(self, item: Item) -> None:
        """An item begins."""
        self.told.append(type(item).__name__)

    def done(self, item: Item, seconds: float) -> None:
        """It is done."""

    def nothing(self) -> None:
        """The step had nothing to do."""
        self.told.append("nothing")


def run(tmp_path: Path, *steps: Step) -> tuple[object, Listener]:
    """Carry steps out in a folder."""
    heard = Listener()
    return carry_out(steps, Manifest(Tree(str(tmp_path)), "shop"), Machine(), heard), heard


def test_each_item_is_done_before_the_step_goes_on(tmp_path: Path) -> None:
    tree, seen = Tree(str(tmp_path)), []

    def items() -> Iterator[Item]:
        yield compare(Artifact("/etc/a", "1"), tree)
        seen.append((tmp_path / "etc/a").read_text())
        yield Inside(compare(Artifact("/srv/shop/b", "2"), tree))
        seen.append((tmp_path / "srv/shop/b").read_text())
        yield Command(("touch", str(tmp_path / "c")))
        seen.append(str((tmp_path / "c").exists()))
        yield Remark("said")
        yield Act("", lambda: seen.append("silent"))
        yield Act("a look", lambda: seen.append("looked"), changes=False)

    result = carry_out([Step("one", items)], Manifest(tree, "shop"), Machine(), Listener())
    assert seen == ["1", "2", "True", "silent", "looked"]
    assert (result.done, result.changes, result.error) == (("one",), 3, None)
    assert list(Manifest(tree, "shop").entries) == ["/etc", "/etc/a"], "what lies in a folder of ours is not remembered"


def test_a_failure_ends_it_and_is_mended_backwards(tmp_path: Path) -> None:
    mended: list[str] = []

    def step(title: str, *items: Item) -> Step:
        def mend() -> Iterator[str]:
            mended.append(title)
            yield f"{title} is as before"

        return Step(title, lambda: iter(items), mend)

    failing = Command(("sh", "-c", "echo why; exit 4"), cure="do this")
    result = carry_out(
        [step("one"), step("two", Act("x", list), failing, Act("y", lambda: mended.append("never"))), step("three")],
        Manifest(Tree(str(tmp_path)), "shop"),
        Machine(),
        Listener(),
    )
    assert (result.done, result.failed, result.changes) == (("one",), "two", 2)
    assert result.error is not None and "ended with 4" in result.error.reason
    assert (result.error.output, result.error.cure) == ("why", "do this")
    assert mended == ["two", "one"] and result.mended == ("two is as before", "one is as before")


def test_ctrl_c_is_a_failure_as_well(tmp_path: Path) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    def mend() -> Iterator[str]:
        yield "as before"

    step = Step("one", lambda: iter([Act("x", interrupted)]), mend)
    result = carry_out([step], Manifest(Tree(str(tmp_path)), "shop"), Machine(), Listener())
    assert result.error is not None and result.error.reason == "interrupted"
    assert result.mended == ("as before",)


def test_some_commands_may_end_otherwise(tmp_path: Path) -> None:
    items = [Command(("sh", "-c", "exit 1"), good=(0, 1)), Command(("sh", "-c", "exit 9"), may_fail=True)]
    result, _ = run(tmp_path, Step("one", lambda: iter(items)))
    assert result.error is None  # type: ignore[attr-defined]


def test_what_is_shown_is_not_done(tmp_path: Path) -> None:
    def fails() -> None:
        raise Failed("it was done")

    heard = Listener()
    items = [Act("x", fails), Command(("touch", str(tmp_path / "c"))), Remark("y")]
    assert show([Step("one", lambda: iter(items)), Step("two", lambda: iter(()))], heard) == 2
    assert heard.told == ["1/2 one", "Act", "Command", "Remark", "2/2 two", "nothing"]
    assert list(tmp_path.iterdir()) == []
