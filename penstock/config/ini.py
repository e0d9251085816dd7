"""The grammar of ini files, as uWSGI reads them. Pure: text in, lines out.

    file    = { line "\\n" }
    line    = blank | comment | section | key [ "=" value ]
    comment = ( ";" | "#" ) anything           only as the first non-blank character of a line
    section = "[" name "]" [ anything ]

A value may hold anything, quotes and comment characters included; there are no continuation lines; a key without `=`
has an empty value; keys are compared byte for byte. Blanks are space, tab and carriage return.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

BLANKS = " \t\r"


@dataclass(frozen=True, slots=True)
class Line:
    """One line that means something."""

    kind: Literal["section", "pair", "open-section"]
    """`open-section` is a header without its closing bracket."""
    number: int
    key: str
    """Key, or name of the section."""
    value: str = ""


def is_comment(text: str) -> bool:
    """Tell whether a line is a comment or empty."""
    return text.strip(BLANKS)[:1] in ("", ";", "#")


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


def split_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number the lines of a text from 1; only a line feed ends a line."""
    return enumerate(text.split("\n"), 1)
