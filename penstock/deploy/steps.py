"""A plan as steps: what each would do, shown or done, one after the other, until the first that fails.

A step is a generator of items: a file that differs, a command, or an act that is neither. It yields only what is not
as it should be, so that a second run yields nothing. When the steps are carried out, each item is done before the step
goes on; when they are only shown, none is, and the step must not count on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

from penstock.deploy.artifact import ArtifactError, Change, Manifest, write_file
from penstock.deploy.releases import make_folder
from penstock.deploy.running import Command, Outcome, Runner
from penstock.values import dataclass


class Failed(Exception):
    """An item could not be done: why, what was said, and what to do."""

    def __init__(self, reason: str, output: str = "", cure: str = "") -> None:
        self.reason = reason
        self.output = output
        self.cure = cure
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that is neither a file nor a command. Without words it is not worth a line."""

    words: str
    do: Callable[[], Any]
    changes: bool = True
    """Something is another way afterwards; a look is no change."""


@dataclass(frozen=True, slots=True)
class Inside:
    """A file in a folder that is ours as a whole, and goes as a whole: written, and not remembered."""

    change: Change
    """Against what had its place before, if anything had."""


@dataclass(frozen=True, slots=True)
class Remark:
    """Something to say, at this place."""

    text: str
    is_warning: bool = False


Item: TypeAlias = Change | Inside | Command | Act | Remark


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a plan."""

    title: str
    items: Callable[[], Iterator[Item]]
    mend: Callable[[], Iterator[str]] | None = None
    """After a failure in it, or in a later step: bring back what served before; what was done, in sentences."""


class Heard(Protocol):
    """Whoever watches the work."""

    def step(self, number: int, total: int, title: str) -> None:
        """A step begins."""
        ...

    def item(self, item: Item) -> None:
        """An item begins."""
        ...

    def done(self, item: Item, seconds: float) -> None:
        """It is done."""
        ...

    def nothing(self) -> None:
        """The step had nothing to do."""
        ...


@dataclass(frozen=True, slots=True)
class Result:
    """What carrying out came to."""

    done: tuple[str, ...]
    """The steps that were carried out."""
    changes: int
    """Items that were done."""
    failed: str = ""
    """The step that failed."""
    error: Failed | None = None
    mended: tuple[str, ...] = ()
    """What was brought back after the failure."""


def carry_out(steps: Sequence[Step], manifest: Manifest, runner: Runner, heard: Heard) -> Result:
    """Do all items of all steps, until one fails."""
    done: list[str] = []
    changes = 0
    for number, step in enumerate(steps, 1):
        heard.step(number, len(steps), step.title)
        count, is_silent = 0, True
        try:
            for item in step.items():
                count += is_change(item)
                is_silent &= not _is_shown(item)
                heard.item(item)
                began = time.monotonic()
                _do(item, manifest, runner)
                heard.done(item, time.monotonic() - began)
        except (Failed, ArtifactError, KeyboardInterrupt) as error:
            failed = error if isinstance(error, Failed) else Failed(str(error) or "interrupted")
            mended = [text for each in steps[number - 1 :: -1] if each.mend is not None for text in each.mend()]
            return Result(tuple(done), changes + count, step.title, failed, tuple(mended))
        changes += count
        if is_silent:
            heard.nothing()
        done.append(step.title)
    return Result(tuple(done), changes)


def show(steps: Sequence[Step], heard: Heard) -> int:
    """Let all items be heard, and do none; how many there are."""
    count = 0
    for number, step in enumerate(steps, 1):
        heard.step(number, len(steps), step.title)
        is_silent = True
        for item in step.items():
            heard.item(item)
            count += is_change(item)
            is_silent &= not _is_shown(item)
        if is_silent:
            heard.nothing()
    return count


def _is_shown(item: Item) -> bool:
    """Whether a reader sees anything of an item."""
    return not isinstance(item, Act) or bool(item.words)


def is_change(item: Item) -> bool:
    """Whether something is another way once the item is done."""
    return not isinstance(item, Remark) and not (isinstance(item, Act) and not (item.words and item.changes))


def _do(item: Item, manifest: Manifest, runner: Runner) -> None:
    if isinstance(item, Change):
        manifest.put(item.artifact)
    elif isinstance(item, Inside):
        artifact = item.change.artifact
        place = manifest.tree.on_disk(artifact.path)
        make_folder(place.parent)
        write_file(place, artifact.text.encode("utf-8", "surrogateescape"), artifact.mode)
    elif isinstance(item, Act):
        item.do()
    elif isinstance(item, Command):
        outcome = runner.run(item)
        if not outcome.is_good and outcome.status not in item.good and not item.may_fail:
            raise failure_of(item, outcome)


def failure_of(command: Command, outcome: Outcome) -> Failed:
    """Make the failure of a command that did not end well."""
    ended = f"was ended by signal {-outcome.status}" if outcome.status < 0 else f"ended with {outcome.status}"
    return Failed(f"{command} {ended}", outcome.tail, command.cure)
