"""TOML files: `[tool.penstock]` of a pyproject.toml, or a penstock.toml. Pure. uWSGI has nothing of the kind.

The section is the table `tool.penstock` if there is one, else the table `uwsgi`, else the whole file; with
`file.toml:name` it is the table `name` inside that. A list gives one pair for each of its items, and a table gives
`NAME=VALUE` pairs (`env = {DEBUG = "0"}`) where its name is an option; other tables are sections of their own.

A table can not say that `a` comes again behind `b`, as blocks need it. A section may therefore stand in several tables,
`[[uwsgi]]` each, which are read one after the other.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence

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
    path, tables = _usual_tables(document)
    if section:
        inner = [one for table in tables for one in _tables(table.get(section))]
        if not inner:
            return Section([], tuple(name for table in tables for name, value in table.items() if _tables(value)))
        path, tables = (*path, section), inner
    lines = _lines(text)
    items: list[Pair | Remark] = []
    for table in tables:
        for key, value in table.items():
            places = lines.get((*path, key)) or lines.get(path) or [1]
            items += _pairs(key, value, places.pop(0) if len(places) > 1 else places[0])
    return Section(items)


def _usual_tables(document: Mapping[str, object]) -> tuple[tuple[str, ...], Sequence[Mapping[str, object]]]:
    tool = document.get("tool")
    if isinstance(tool, dict) and (tables := _tables(tool.get("penstock"))):
        return ("tool", "penstock"), tables
    tables = _tables(document.get(DEFAULT_SECTION))
    return ((DEFAULT_SECTION,), tables) if tables else ((), [document])


def _tables(value: object) -> Sequence[Mapping[str, object]]:
    """A table, or several as `[[name]]` makes them; nothing where it is something else."""
    if isinstance(value, dict):
        return [value]
    return value if isinstance(value, list) and all(isinstance(one, dict) for one in value) else []


def _pairs(key: str, value: object, line: int) -> list[Pair | Remark]:
    if _tables(value) and key not in BY_NAME and key not in known_names():
        return []
    if isinstance(value, dict):
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


def _lines(text: str) -> dict[tuple[str, ...], list[int]]:
    """Find the lines of each key: `tomllib` does not tell. The text is known to be TOML."""
    lines: dict[tuple[str, ...], list[int]] = {}
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
                lines.setdefault(table if is_table else (*table, *names), []).append(number)
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
