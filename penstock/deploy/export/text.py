"""YAML with comments: values are written by the library, in the order they have, and notes become comments.

A note is a pair in a mapping, made by `note`, and stands above the pair that follows it.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_LINE = 110
_MARK = "#"
_LINE = re.compile(r"^( *)'#(\d+)': (.*)$")


class Notes:
    """Makes notes, each with a key of its own: a mapping has each key once."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, text: str) -> dict[str, str]:
        """Make a note: `{**note("why"), "key": value}`."""
        return {f"{_MARK}{next(self._numbers)}": text}


def documents(values: Iterable[Mapping[str, Any]]) -> str:
    """Write documents one behind the other, each with its notes as comments."""
    return "---\n".join(document(value) for value in values)


def document(value: Mapping[str, Any]) -> str:
    """Write one document."""
    # Imported late: only who exports needs it.
    import yaml

    class Writer(yaml.SafeDumper):
        """Lists are indented below their key, and long texts are blocks."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(writer: yaml.SafeDumper, data: str) -> yaml.Node:
        style = "|" if "\n" in data else None
        return writer.represent_scalar("tag:yaml.org,2002:str", data, style=style)

    Writer.add_representer(str, text)
    written = yaml.dump(value, Dumper=Writer, sort_keys=False, width=10**6, allow_unicode=True)
    return "".join(f"{_commented(line)}\n" for line in written.splitlines())


def _commented(line: str) -> str:
    found = _LINE.match(line)
    if found is None:
        return line
    import yaml

    start = f"{found[1]}# "
    text = yaml.safe_load(found[3])
    return "\n".join(textwrap.wrap(text, LONGEST_LINE, initial_indent=start, subsequent_indent=start))
