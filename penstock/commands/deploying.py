"""What `deploy`, `undeploy`, `releases` and `rollback` share: how work is shown, and how it ends."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Sequence

from penstock.commands.terminal import Style, plain, width, wrap
from penstock.deploy.artifact import Change
from penstock.deploy.running import Command
from penstock.deploy.steps import Act, Inside, Item, Remark, Result

OK = 0
REFUSED = 1
FAILED = 3
"""It was begun, and stopped at a step."""


class Progress:
    """Tells of the steps while they are carried out, or of what they would do."""

    def __init__(self, style: Style, *, is_plan: bool = False) -> None:
        self.style = style
        self._is_plan = is_plan

    def step(self, number: int, total: int, title: str) -> None:
        """Tell of a step that begins."""
        _print(self.style.heading(f"[{number}/{total}] {title}"))

    def item(self, item: Item) -> None:
        """Tell of an item: before it is done, as it may take long."""
        for line in self._lines(item):
            _print(line)

    def done(self, item: Item, seconds: float) -> None:
        """Tell how long it took, if anybody waited."""
        if seconds >= 1 and not isinstance(item, Remark):
            _print(self.style.mark("dim", f"      {seconds:.1f} s"))

    def nothing(self) -> None:
        """Tell that there was nothing to do."""
        _print(self.style.mark("dim", "      nothing to do"))

    def heard(self, line: str) -> None:
        """Show what a command writes, while it works, on a terminal."""
        if self.style is not None and sys.stdout.isatty() and line.strip():
            _print(self.style.mark("dim", f"      | {plain(line.expandtabs())}"[: width()]))

    def _lines(self, item: Item) -> Iterator[str]:
        if isinstance(item, Remark):
            kind = "warning" if item.is_warning else "note"
            mark = "  !   " if item.is_warning else "      "
            for line in wrap(plain(item.text), width(), "      ", mark):
                yield self.style.mark(kind, line) if item.is_warning else line
        elif isinstance(item, Act):
            if item.words:
                yield f"  {'*' if item.changes else '?'}   {plain(item.words)}"
        elif isinstance(item, Command):
            yield f"  $   {self.style.name(plain(str(item)))}"
            if self._is_plan and item.why:
                yield self.style.mark("dim", f"      {item.why}")
        else:
            yield from self._file(item.change if isinstance(item, Inside) else item)

    def _file(self, change: Change) -> Iterator[str]:
        artifact = change.artifact
        mark = "+" if change.before is None else "~"
        why = f": {artifact.why}" if artifact.why else ""
        words = "" if change.before is None else f" ({', '.join(change.words)})"
        yield f"  {mark}   {plain(artifact.path)}{words}{self.style.mark('dim', why)}"
        if self._is_plan:
            if artifact.kind == "link":
                yield f"      -> {plain(artifact.text)}"
            for line in change.diff():
                kind = {"+": "good", "-": "error", "@": "name"}.get(line[:1], "")
                text = f"      {plain(line.expandtabs())}"
                yield self.style.mark(kind, text) if kind else text


def tell_failure(result: Result, go_on: Sequence[str], style: Style) -> None:
    """Say what failed, what was done before, what was brought back, and how to go on."""
    error = result.error
    assert error is not None, "it is told of failures only"
    _print("")
    _print(style.mark("error", f"stopped at the step {result.failed}: {plain(error.reason)}"))
    for line in error.output.rstrip().splitlines():
        _print(f"  | {plain(line.expandtabs())}")
    if error.cure:
        _print(f"  fix: {plain(error.cure)}")
    if result.done:
        _print(f"  done before: {', '.join(result.done)}")
    for text in result.mended:
        _print(f"  {plain(text)}")
    for line in go_on:
        _print(f"  {line}")


def say(text: str) -> None:
    """Tell of an error that hindered the beginning."""
    for line in text.splitlines():
        print(f"[penstock] {plain(line)}", file=sys.stderr)


def _print(line: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(line.encode("utf-8", "backslashreplace") + b"\n")
    sys.stdout.buffer.flush()


tell = _print


def read_words(arguments: Sequence[str], flags: Collection[str], command: str) -> tuple[list[str], set[str], str]:
    """Take apart the words of a command about a deployment: names, flags that were given, and the root.

    Raises:
        ValueError: a word means nothing, or --root has no directory. An empty one is not taken for the machine itself:
            it is what a variable that is not set leaves behind.
    """
    words, names, given, root = list(arguments), [], set(), "/"
    while words:
        word = words.pop(0)
        name, has_value, value = word.partition("=")
        if word in flags:
            given.add(word)
        elif name == "--root":
            root = value if has_value else (words.pop(0) if words else "")
            if not root or root.startswith("-"):
                raise ValueError(f"--root needs a directory; penstock {command} --help tells which")
        elif word.startswith("-"):
            raise ValueError(f"there is no option {word}; penstock {command} --help lists them")
        else:
            names.append(word)
    return names, given, root
