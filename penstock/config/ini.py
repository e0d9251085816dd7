"""The grammar of ini files, as uWSGI reads them. Pure: text in, pairs out.

    file    = { line "\\n" }
    line    = blank | comment | section | key [ "=" value ]
    comment = ( ";" | "#" ) anything           only as the first non-blank character of a line
    section = "[" name "]" [ anything ]

A value may hold anything, quotes and comment characters included; there are no continuation lines; a key without `=`
has an empty value; keys are compared byte for byte. Blanks are space, tab and carriage return.
"""

from __future__ import annotations

from typing import Literal

from penstock.config.pairs import DEFAULT_SECTION, Pair, Remark, Section
from penstock.values import dataclass

BLANKS = " \t\r"
_CONFLICT_MARKERS = ("<<<<<<<", ">>>>>>>", "|||||||")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that means something."""

    kind: Literal["section", "pair", "open-section"]
    """`open-section` is a header without its closing bracket."""
    number: int
    key: str
    """Key, or name of the section."""
    value: str = ""


def parse_line(text: str, number: int) -> Line | None:
    """Read one line without its line end; None for comments and empty lines."""
    text = text.strip(BLANKS)
    if text[:1] in ("", ";", "#"):
        return None
    if text.startswith("["):
        name, bracket, _ = text[1:].partition("]")
        return Line("section" if bracket else "open-section", number, name.strip(BLANKS))
    key, _, value = text.partition("=")
    return Line("pair", number, key.rstrip(BLANKS), value.lstrip(BLANKS))


def read(text: str, section: str) -> Section:
    """Read one section; only a line feed ends a line, and a section may be opened again further down."""
    wanted = section or DEFAULT_SECTION
    items: list[Pair | Remark] = []
    seen: dict[str, None] = {}
    current: str | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = parse_line(raw, number)
        if line is None:
            continue
        if line.kind == "open-section" and (current == wanted or line.key.startswith(wanted)):
            cure = f"write [{line.key}]"
            items.append(Remark("error", "section-not-closed", f"[{line.key} has no closing bracket", number, cure))
        if line.kind != "pair":
            current = line.key
            seen[line.key] = None
        elif current is None:
            message = f"{line.key} is ignored, no section has begun"
            items.append(Remark("warning", "outside-section", message, number, f"put [{wanted}] on a line above it"))
        elif current == wanted:
            items.append(_pair(line))
    return Section(items, None if wanted in seen else tuple(seen))


def _pair(line: Line) -> Pair | Remark:
    if line.key.startswith(_CONFLICT_MARKERS) or (not line.key and line.value.startswith("=====")):
        cure = "keep one side and remove the markers"
        return Remark("warning", "conflict-marker", "a merge conflict was left here", line.number, cure)
    if not line.key:
        cure = "remove the line, or give the option's name"
        return Remark("warning", "empty-key", "there is no name before the equals sign", line.number, cure)
    return Pair(line.key, line.value, line.number)
