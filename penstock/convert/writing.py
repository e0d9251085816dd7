"""Document -> text, for each kind of file that can be written: ini, TOML, YAML, JSON.

An option that stands there several times becomes a list, which all readers take for the same. Where a list would put
an option before something that must stay between its values (blocks, files that are read, rules), the kinds that can
not repeat a key begin another table (`[[uwsgi]]`, or an object in a list); YAML repeats it, as uWSGI reads it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from penstock.config.convert import FALSE_WORDS, TRUE_WORDS
from penstock.config.pairs import DEFAULT_SECTION, Kind
from penstock.convert.document import (
    Comment,
    Document,
    NotSaid,
    Part,
    Said,
    by_magic,
    has_magic,
    mentioned,
)
from penstock.options.configuration import BLOCK_ENDS, BLOCK_OPENERS
from penstock.options.option import Option
from penstock.options.table import BY_NAME

Target = Literal["ini", "toml", "yaml", "json"]
TARGETS: tuple[Target, ...] = ("ini", "toml", "yaml", "json")

Scalar = bool | int | str

_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_YAML_PLAIN = re.compile(r"[A-Za-z/](?:[A-Za-z0-9_./@+=-]|:(?=[A-Za-z0-9_./@+=-]))*")
_YAML_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
"""What other readers of YAML take for something else than text."""
_YAML_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_TOML_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t", "\r": "\\r"}
_ORDERED = ("route", "error-route", "response-route", "final-route", "log-route", "log-req-route", "hook", "exec")
"""Options of which the order among different ones may count."""
_DIGIT_FLAGS = {"1": "true", "0": "false"}
_CONFLICT_MARKERS = ("<<<<<<<", ">>>>>>>", "|||||||")
_INDENT = "  "


def write(document: Document) -> str:
    """Write a document as its kind says. Raises NotSaid."""
    return _WRITERS[document.kind](document)


# Which options stand together


class _Line:
    """A key with its values, and the comments above it."""

    def __init__(self, said: Said, comments: Sequence[str | None]) -> None:
        self.key = said.key
        self.line = said.line
        self.comments = list(comments)
        self.values = [said.value]


class _Tables:
    """The options of a section as tables in which no key repeats."""

    def __init__(self, part: Part, ordered: frozenset[str]) -> None:
        self.tables: list[dict[str, _Line]] = [{}]
        self.rest: list[str | None] = []
        """Comments below the last option."""
        comments: list[str | None] = []
        block: str | None = None
        for item in part.items:
            if isinstance(item, Comment):
                comments.append(item.text)
                continue
            table = self.tables[-1]
            if item.key in BLOCK_OPENERS:
                block = item.key
            elif item.key in BLOCK_ENDS or item.key == "end":
                block = None
            line = table.get(item.key)
            if line is None:
                table[item.key] = _Line(item, comments)
            elif _may_join(item.key, list(table), ordered):
                line.values.append(item.value)
                line.comments += [words for words in comments if words is not None]
            else:
                self._another(item.key, block)[item.key] = _Line(item, comments)
            comments = []
        self.rest = comments

    def _another(self, key: str, block: str | None) -> dict[str, _Line]:
        """Begin a table for `key`, and take the block that `key` stands in along, unless `key` is in it already."""
        table = self.tables[-1]
        names = list(table)
        inside = names[names.index(block) :] if block is not None and block in table else []
        if key in inside or len(inside) == len(names):
            inside = []
        self.tables.append({name: table.pop(name) for name in inside})
        return self.tables[-1]

    @property
    def are_several(self) -> bool:
        return len(self.tables) > 1


def _clash(key: str, other: str) -> bool:
    """Two spellings of one option, which stand in one table in the order of their first values."""
    return key != other and key in BY_NAME and BY_NAME[key] is BY_NAME.get(other)


def _may_join(key: str, keys: list[str], ordered: frozenset[str]) -> bool:
    """Whether a value may move up to the one before it of the same key, past the keys between them."""
    between = keys[keys.index(key) + 1 :]
    if not between:
        return True
    return not _is_ordered(key, ordered) and not any(_is_ordered(one, ordered) or _clash(key, one) for one in between)


def _is_ordered(key: str, ordered: frozenset[str]) -> bool:
    option = BY_NAME.get(key)
    is_directive = option is not None and option.role == "directive"
    return is_directive or key in ("end", "else", "print", "inherit") or key in ordered or key.startswith(_ORDERED)


def _own_options(document: Document) -> frozenset[str]:
    declaring = (said for said in document.said if said.name in ("declare-option", "declare-option2"))
    return frozenset(said.value.partition("=")[0] for said in declaring)


def _scalar(key: str, value: str, exact: frozenset[str]) -> Scalar:
    """A flag as a truth value and a number as a number, where the text itself is not asked for."""
    option: Option | None = BY_NAME.get(key)
    if option is None or option.role == "directive":
        return value
    if option.type == "flag" and key not in exact:
        word = value.lower()
        if word == "" or word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
    if option.is_number and _NUMBER.fullmatch(value):
        return int(value)
    return value


# ini


def _ini(document: Document) -> str:
    exact = mentioned(document.said)
    lines: list[str] = []
    for part in document.parts:
        if lines and lines[-1]:
            lines.append("")
        if any(character in part.name for character in "]\n") or part.name != part.name.strip(" \t\r"):
            raise NotSaid(f"{part.name!r} can not be the name of a section in an ini file", 0, "rename it")
        lines.append(f"[{part.name}]")
        indent = ""
        for item in part.items:
            if isinstance(item, Comment):
                if item.text is None:
                    lines += [""] if lines[-1] else []
                else:
                    lines.append(f"{indent}# {_one_line(item.text)}".rstrip())
                continue
            if item.key in BLOCK_ENDS or item.key == "end":
                indent = ""
            lines.append(indent + _ini_line(item, exact))
            if item.key in BLOCK_OPENERS:
                indent = _INDENT
    return "\n".join(lines).rstrip("\n") + "\n"


def _ini_line(said: Said, exact: frozenset[str]) -> str:
    key, value = said.key, said.value
    if key != key.strip(" \t\r") or not key or key[0] in ";#[" or "=" in key or "\n" in key:
        raise NotSaid(f"{key!r} can not be a key in an ini file", said.line, "rename it, or write TOML")
    if key.startswith(_CONFLICT_MARKERS):
        raise NotSaid(f"{key!r} looks like the mark of a merge", said.line, "rename it, or write TOML")
    option = said.option
    if option is not None and (option.type == "flag" or option.is_number):
        value = value.strip(" \t\r")
    if option is not None and option.type == "flag" and key not in exact:
        # An empty element of XML and a truth value of JSON are read as digits, which nobody has written.
        value = _DIGIT_FLAGS.get(value, value)
    if "\0" in key + value:
        raise NotSaid(f"{key} holds a zero byte, which no ini file can", said.line, "remove it")
    if "\n" in value:
        raise NotSaid(f"{key} has several lines, and an ini file has one for each value", said.line, "write TOML")
    if value != value.strip(" \t\r"):
        cure = "remove them, or write TOML"
        raise NotSaid(f"{key} begins or ends with blanks, which an ini file does not keep", said.line, cure)
    if not value:
        return f"{key} = true" if option is not None and option.type == "flag" else f"{key} ="
    return f"{key} = {value}"


def _one_line(text: str) -> str:
    """A comment that no magic variable and no control character breaks."""
    text = by_magic(text, lambda letter: "%%[" if letter == "[" else None)
    return "".join(" " if not character.isprintable() and character != "\t" else character for character in text)


# TOML


def _toml(document: Document) -> str:
    exact, own = mentioned(document.said), _own_options(document)
    lines: list[str] = []
    parts = sorted(document.parts, key=lambda part: part.name != DEFAULT_SECTION)
    for part in parts:
        name = "uwsgi" if part.name == DEFAULT_SECTION else f"uwsgi.{_toml_key(part.name)}"
        tables = _Tables(part, own)
        for table in tables.tables:
            lines += ["", f"[[{name}]]" if tables.are_several else f"[{name}]"]
            for line in table.values():
                lines += _comment_lines(line.comments)
                values = [_toml_value(_scalar(line.key, value, exact)) for value in line.values]
                lines += _listed(f"{_toml_key(line.key)} = ", values)
        lines += _comment_lines(tables.rest)
    return _joined(lines)


def _toml_key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _toml_value(key)


def _toml_value(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    # Between single quotes nothing but a single quote is special: a path that %d brings may hold all others.
    if "'" not in value and has_magic(value) and _is_printable(_with_escape(value)):
        return f"'{value}'"
    return _quoted(_with_escape(value), _TOML_ESCAPES)


def _listed(beginning: str, values: Sequence[str]) -> list[str]:
    if len(values) == 1:
        return [beginning + values[0]]
    if sum(map(len, values)) + 2 * len(values) + len(beginning) < 100:
        return [f"{beginning}[{', '.join(values)}]"]
    return [f"{beginning}[", *(f"    {value}," for value in values), "]"]


# YAML


def _yaml(document: Document) -> str:
    exact, own = mentioned(document.said), _own_options(document)
    lines: list[str] = []
    for part in document.parts:
        tables = _Tables(part, own)
        lines += ["", f"{_yaml_value(part.name)}:"]
        entries = [line for table in tables.tables for line in table.values()]
        for line in entries:
            lines += [_INDENT + words if words else "" for words in _comment_lines(line.comments)]
            values = [_yaml_value(_scalar(line.key, value, exact)) for value in line.values]
            key = f"{_INDENT}{_yaml_value(line.key)}:"
            lines += [f"{key} {values[0]}"] if len(values) == 1 else [key, *(f"{_INDENT * 2}- {one}" for one in values)]
        if not entries:
            lines[-1] += " {}"
        lines += [_INDENT + words if words else "" for words in _comment_lines(tables.rest)]
    return _joined(lines)


def _yaml_value(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if _YAML_PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return value
    text = _with_escape(value)
    if _is_printable(text):
        return "'" + value.replace("'", "''") + "'"
    return _quoted(text, _YAML_ESCAPES)


# JSON


def _json(document: Document) -> str:
    exact, own = mentioned(document.said), _own_options(document)
    sections: list[str] = []
    for part in document.parts:
        tables = _Tables(part, own)
        objects = [_json_object(table.values(), exact, 2 if tables.are_several else 1) for table in tables.tables]
        listed = f"[\n{_INDENT * 2}" + f",\n{_INDENT * 2}".join(objects) + f"\n{_INDENT}]"
        sections.append(f"{_INDENT}{_json_value(part.name)}: {listed if tables.are_several else objects[0]}")
    return "{\n" + ",\n".join(sections) + "\n}\n"


def _json_object(lines: Iterable[_Line], exact: frozenset[str], depth: int) -> str:
    pairs: list[str] = []
    for line in lines:
        values = [_json_value(_scalar(line.key, value, exact)) for value in line.values]
        shown = values[0] if len(values) == 1 else "[" + ", ".join(values) + "]"
        pairs.append(f"{_INDENT * (depth + 1)}{_json_value(line.key)}: {shown}")
    return "{\n" + ",\n".join(pairs) + f"\n{_INDENT * depth}}}" if pairs else "{}"


def _json_value(value: Scalar) -> str:
    return json.dumps(value if not isinstance(value, str) else _with_escape(value), ensure_ascii=False)


# What they share


def _with_escape(value: str) -> str:
    """Write the escape character itself where `%[` would bring it: unescaped it may not stand in such a file."""
    return by_magic(value, lambda letter: "\x1b" if letter == "[" else None)


def _is_printable(text: str) -> bool:
    return all(character.isprintable() or "\udc80" <= character <= "\udcff" for character in text)


def _quoted(text: str, escapes: dict[str, str]) -> str:
    """Put a text in double quotes, all that is no letter to see as an escape."""
    pieces = ['"']
    for character in text:
        code = ord(character)
        if character in escapes:
            pieces.append(escapes[character])
        elif character.isprintable() or 0xD800 <= code <= 0xDFFF:
            pieces.append(character)
        else:
            pieces.append(f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}")
    return "".join([*pieces, '"'])


def _comment_lines(comments: Iterable[str | None]) -> list[str]:
    return ["" if words is None else f"# {_one_line(words)}".rstrip() for words in comments]


def _joined(lines: Sequence[str]) -> str:
    """Join lines: empty ones neither double, nor at the beginning or the end, nor below the name of a section."""
    kept: list[str] = []
    for line in lines:
        if line or (kept and kept[-1] and not kept[-1].startswith("[")):
            kept.append(line)
    while kept and not kept[-1]:
        kept.pop()
    return "\n".join(kept) + "\n"


_WRITERS: dict[Kind, Callable[[Document], str]] = {"ini": _ini, "json": _json, "toml": _toml, "yaml": _yaml}


def comments_lost(document: Document) -> int:
    """How many lines of comments a document has, which JSON can not keep."""
    return sum(1 for _ in _comments(document))


def _comments(document: Document) -> Iterator[Comment]:
    return (item for part in document.parts for item in part.items if isinstance(item, Comment) and item.text)
