"""YAML files: `uwsgi:` with `option: value` below it. Pure, and the only place that imports a YAML library.

Every scalar is taken as its text, a list gives one pair for each of its items, keys may repeat, and mappings further
inside count as if they stood one level up, as in uWSGI's builds with libyaml. Its own small reader, which the default
build has, takes lines that YAML refuses, such as `chdir: %(base)/app` and `add-header: Connection: close`; such a line
is read as plain text here too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.config.pairs import DEFAULT_SECTION, Malformed, Pair, Remark, Section

LARGEST_CHARACTERS = 256 * 1024
"""The library needs seconds for more; a configuration of this size is a mistake."""
MOST_REPAIRS = 100
_MOST_NODES = 20_000
"""Aliases of aliases grow without bound."""
_DEEPEST = 20
_PLAIN = re.compile(r"(\s*(?:- +)?(?:[^\s:#\"'\[\]{}&*!|>%@`-][^:#]*?\s*:[ \t]+)|\s*-[ \t]+)(\S.*)")
"""A line with a value: what stands before it, and the value."""
_COMMENT = re.compile(r"[ \t]#.*")
_PRIVATE = 0x10FE00
"""Characters that the library refuses, though a path may hold them, stand here while it reads."""
_HIDDEN = {
    code: chr(_PRIVATE + index)
    for index, code in enumerate(
        (*(code for code in range(0x20) if chr(code) not in "\t\n\r"), *range(0x7F, 0xA0), *range(0xDC80, 0xDD00))
    )
}
_SHOWN = {ord(hidden): chr(code) for code, hidden in _HIDDEN.items()}


def read(text: str, section: str) -> Section:
    """Read one section. Raises Malformed."""
    try:
        import yaml
    except ImportError:
        raise Malformed("reading YAML needs PyYAML, which is not installed", 0, "run pip install PyYAML") from None
    if len(text) > LARGEST_CHARACTERS:
        raise Malformed(f"it is larger than {LARGEST_CHARACTERS // 1024} KiB", 0, "split it, or write an ini file")
    lines = text.translate(_HIDDEN).split("\n")
    repaired: set[int] = set()
    while True:
        try:
            events = list(yaml.parse("\n".join(lines), Loader=yaml.BaseLoader))
            break
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line if mark is not None else 0
            if line in repaired or len(repaired) >= MOST_REPAIRS or not _repair(lines, line):
                what = str(error.problem or error.context or "it can not be read").translate(_SHOWN)
                cure = "correct the line; values with special characters stand in quotes"
                raise Malformed(f"this is not YAML: {what}", line + 1, cure) from None
            repaired.add(line)
        except (yaml.YAMLError, ValueError) as error:
            what = str(error).split("\n")[0].translate(_SHOWN)
            raise Malformed(f"this is not YAML: {what}", 1, "save it as UTF-8") from None
    return _Walk(events, section or DEFAULT_SECTION).section()


def _repair(lines: list[str], number: int) -> bool:
    """Put the value of a line in quotes; False where the line has none."""
    match = _PLAIN.fullmatch(lines[number].rstrip("\r")) if number < len(lines) else None
    if match is None or match[2][0] in "'\"":
        return False
    value = _COMMENT.sub("", match[2]).rstrip()
    lines[number] = f"{match[1]}'{value.replace(chr(39), chr(39) * 2)}'"
    return True


class _Walk:
    """The events of the library, from the first to the last; a node is named by the index of its first event."""

    def __init__(self, events: Sequence[object], wanted: str) -> None:
        self.events = events
        self.wanted = wanted
        self.items: list[Pair | Remark] = []
        self.anchors: dict[str, int] = {}
        self.found = False
        self.others: list[str] = []
        self.nodes = 0

    def section(self) -> Section:
        at = 0
        while at < len(self.events):
            at = self._document(at) if self._is(at, "MappingStart") else at + 1
        return Section(self.items, None if self.found else tuple(self.others))

    def _is(self, at: int, *kinds: str) -> bool:
        return type(self.events[at]).__name__.removesuffix("Event") in kinds

    def _line(self, at: int) -> int:
        mark = getattr(self.events[at], "start_mark", None)
        return int(mark.line) + 1 if mark is not None else 0

    def _text(self, at: int) -> str:
        return str(getattr(self.events[at], "value", "")).translate(_SHOWN)

    def _document(self, at: int) -> int:
        """Find the wanted section among the keys of the outermost mapping."""
        at += 1
        while not self._is(at, "MappingEnd"):
            name = self._text(at)
            value = self._after(at)
            if name == self.wanted and self._is(value, "MappingStart", "Alias"):
                self.found = True
                self._mapping(self._target(value), 0)
            elif self._is(value, "MappingStart"):
                self.others.append(name)
            at = self._after(value)
        return at + 1

    def _after(self, at: int) -> int:
        """Find the event behind a node; anchors on the way are remembered."""
        depth = 0
        while True:
            anchor = getattr(self.events[at], "anchor", None)
            if anchor is not None and not self._is(at, "Alias"):
                self.anchors[anchor] = at
            depth += self._is(at, "MappingStart", "SequenceStart") - self._is(at, "MappingEnd", "SequenceEnd")
            at += 1
            if depth == 0:
                return at

    def _target(self, at: int) -> int:
        """Find the node that an alias stands for. Raises Malformed."""
        if not self._is(at, "Alias"):
            return at
        name = getattr(self.events[at], "anchor", "")
        if name not in self.anchors:
            raise Malformed(f"nothing above is marked &{name}", self._line(at), "put it in quotes if it is plain text")
        return self.anchors[name]

    def _mapping(self, at: int, depth: int) -> None:
        at += 1
        while not self._is(at, "MappingEnd"):
            value = self._after(at)
            following = self._after(value)
            if self._is(at, "Scalar"):
                self._value(self._text(at), value, self._line(at), depth)
            else:
                cure = "write option: value"
                self.items.append(Remark("warning", "nested-value", "a key that is no text", self._line(at), cure))
            at = following

    def _value(self, key: str, at: int, line: int, depth: int) -> None:
        at = self._target(at)
        self.nodes += 1
        if depth > _DEEPEST or self.nodes > _MOST_NODES:
            raise Malformed("this is not a configuration: it is nested too deeply", line, "take the nesting away")
        if self._is(at, "Scalar"):
            self._scalar(key, at, line)
        elif self._is(at, "SequenceStart"):
            at += 1
            while not self._is(at, "SequenceEnd"):
                self._value(key, at, self._line(at), depth + 1)
                at = self._after(at)
        else:
            if key != "<<":
                message = f"{key}: what stands inside it is read as options of their own"
                cure = "write each option directly below the section"
                self.items.append(Remark("warning", "nested-value", message, line, cure))
            self._mapping(at, depth + 1)

    def _scalar(self, key: str, at: int, line: int) -> None:
        text = self._text(at)
        if not text and getattr(self.events[at], "style", None) is None:
            message = f"{key} has no value and is read as {key} alone"
            self.items.append(Remark("warning", "yaml-empty", message, line, f"write {key}: true"))
        self.items.append(Pair(key, text, line))
