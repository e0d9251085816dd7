"""How commands write to a terminal: its width, colours where they are wanted, and text that fits."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable

_NARROWEST, _WIDEST = 60, 110
_CODES = {"heading": "1", "name": "36", "error": "1;31", "warning": "1;33", "note": "1;34", "good": "32", "dim": "2"}


class Style:
    """Marks what a text is; plain text stays plain where no colours are wanted."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def mark(self, kind: str, text: str) -> str:
        """Mark `text` as a heading, a name, an error, a warning, a note, as good, or as dim."""
        return f"\x1b[{_CODES[kind]}m{text}\x1b[0m" if self._coloured else text

    def heading(self, text: str) -> str:
        """Mark a heading."""
        return self.mark("heading", text)

    def name(self, text: str) -> str:
        """Mark the name of an option or a command."""
        return self.mark("name", text)


PLAIN_STYLE = Style(False)


def style() -> Style:
    """Colours only on a terminal, and not where NO_COLOR is set (no-color.org)."""
    return Style(sys.stdout.isatty() and "NO_COLOR" not in os.environ)


def width() -> int:
    """Columns to use."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, _NARROWEST), _WIDEST)


def wrap(text: str, columns: int, indent: str, first: str | None = None) -> list[str]:
    """Break a text into lines; `first` stands before the first of them."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def write(lines: Iterable[str]) -> None:
    """Write lines to standard output; bytes that are no text are shown as escapes."""
    sys.stdout.flush()
    text = "".join(f"{line}\n" for line in lines)
    sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def plain(text: str) -> str:
    """Show what must not reach a terminal (control characters, which a value may hold) as escapes."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() or "\udc80" <= letter <= "\udcff" else _escaped(letter) for letter in text
    )


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape", "backslashreplace").decode("ascii")
