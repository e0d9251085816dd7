"""TOML files: `[tool.penstock]` of a pyproject.toml, or a penstock.toml. Pure. uWSGI has nothing of the kind.

The section is the table `tool.penstock` if there is one, else the table `uwsgi`, else the whole file; with
`file.toml:name` it is the table `name` inside that. A list gives one pair for each of its items, and a table gives
`NAME=VALUE` pairs (`env = {DEBUG = "0"}`) where its name is an option; other tables are sections of their own.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping

from penstock.config.pairs import DEFAULT_SECTION, Malformed, Pair, Remark, Section
from penstock.options.known import known_names
from penstock.options.table import BY_NAME

_PLACE = re.compile(r"\(at line ([0-9]+), column [0-9]+\)$")
_KEY = re.compile(r"""\s*("[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)\s*([.=\]])""")
_LONG_QUOTES = re.compile(r'"""|' + "'''")
_WORDS = {True: "true", False: "false"}


def read(text: str, section: str) -> Section:
    """Read one table. Raises Malformed."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _PLACE.search(str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        what = str(error).partition(" (at ")[0]
        raise Malformed(f"this is not TOML: {what}", line, "correct the line") from None
    except (RecursionError, ValueError) as error:
        # More than the language allows: numbers of thousands of digits, lists in lists without end.
        raise Malformed(f"this is not a configuration: {error}", 1, "simplify it") from None
    path, table = _usual_table(document)
    if section:
        inner = table.get(section)
        if not isinstance(inner, dict):
            return Section([], tuple(name for name, value in table.items() if isinstance(value, dict)))
        path, table = (*path, section), inner
    lines = _lines(text)
    items: list[Pair | Remark] = []
    for key, value in table.items():
        items += _pairs(key, value, lines.get((*path, key)) or lines.get(path) or 1)
    return Section(items)


def _usual_table(document: Mapping[str, object]) -> tuple[tuple[str, ...], Mapping[str, object]]:
    tool = document.get("tool")
    inner = tool.get("penstock") if isinstance(tool, dict) else None
    if isinstance(inner, dict):
        return ("tool", "penstock"), inner
    table = document.get(DEFAULT_SECTION)
    return ((DEFAULT_SECTION,), table) if isinstance(table, dict) else ((), document)


def _pairs(key: str, value: object, line: int) -> list[Pair | Remark]:
    if isinstance(value, dict):
        if key not in BY_NAME and key not in known_names():
            return []
        return [Pair(key, f"{name}={_text(inner)}", line) for name, inner in value.items()]
    items: list[Pair | Remark] = []
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            items += [Pair(key, f"{name}={_text(inner)}", line) for name, inner in item.items()]
        elif isinstance(item, list):
            message = f"{key}: the list inside the list is ignored"
            items.append(Remark("warning", "nested-value", message, line, "write one list"))
        else:
            items.append(Pair(key, _text(item), line))
    return items


def _text(value: object) -> str:
    return _WORDS[value] if isinstance(value, bool) else str(value)


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """Find the line of each key: `tomllib` does not tell. The text is known to be TOML."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    inside = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not inside:
            stripped = line.lstrip()
            is_table = stripped.startswith("[")
            names = _names(stripped.lstrip("[") if is_table else line, "]" if is_table else "=")
            if names and is_table:
                table = names
            if names:
                lines.setdefault(table if is_table else (*table, *names), number)
        for quotes in _LONG_QUOTES.findall(line):
            inside = "" if inside == quotes else inside or quotes
    return lines


def _names(text: str, end: str) -> tuple[str, ...]:
    """Read `a."b".c` up to `end`; nothing where it is something else."""
    names: list[str] = []
    position = 0
    while match := _KEY.match(text, position):
        names.append(match[1].strip("\"'"))
        position = match.end()
        if match[2] != ".":
            return tuple(names) if match[2] == end else ()
    return ()
