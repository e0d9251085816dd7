"""Text -> Document, for each kind of file that Penstock reads.

The readers of `penstock.config` do the work. They see the text before magic variables are replaced, each of which is
hidden from them behind a private character, so that `%d` can not be taken for syntax and is told from a percent sign
that the file has written in another way, such as `\\u0025`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from penstock.config import ini, pairs
from penstock.config.pairs import DEFAULT_SECTION, Kind, Malformed, Pair, Remark, Section
from penstock.convert.document import MAGIC, Comment, Document, Item, Note, Part, Said, literal
from penstock.options.known import known_names
from penstock.options.table import BY_NAME

_NO_SECTION = "\ufdd0"
"""A name that no section has: what is there instead is told then."""
_MARKS = "\ue000\ue001\ue002\ue003\uf8ff"
_PLAIN = re.compile(r"(?<=[=:,\[])([ \t]*)%([A-Za-z0-9])(?=[ \t]*(?:[,}\]\r\n#]|$))")
"""A magic variable as a whole value, without the quotes that these kinds need: it is a number when it counts."""
_XML_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_LONG_QUOTES = re.compile(r'"""|' + "'''")


def read(kind: Kind, text: str, name: str) -> tuple[Document, list[Note]]:
    """Read a whole file with all its sections, and tell what is left out. Raises Malformed."""
    notes: list[Note] = []
    if kind == "ini":
        return Document(kind, name, tuple(_ini(text, notes))), notes
    mark = next((mark for mark in _MARKS if mark not in text), None)
    if mark is None:
        raise Malformed("this is not a configuration: it uses every private character", 0, "write it as text")
    comments = _comments(kind, text)
    found: list[tuple[str, Section]] = []
    main = _section(kind, text, "", mark)
    if main.others is None:
        found.append((DEFAULT_SECTION, main))
        others = [one for one in _names(kind, text, mark) if one != DEFAULT_SECTION]
    else:
        others = list(main.others)
    for other in others:
        section = _section(kind, text, other, mark)
        if section.others is None:
            found.append((other, section))
    parts: list[Part] = []
    for section_name, section in found:
        plain = _unmark(section_name, mark)
        parts.append(Part(plain, tuple(_items(section.items, comments, kind, text, mark, notes))))
    if parts and comments:
        # What is below the last option.
        parts[-1] = Part(parts[-1].name, (*parts[-1].items, *(Comment(text, line) for line, text in comments)))
    return Document(kind, name, tuple(parts)), notes


def _section(kind: Kind, text: str, name: str, mark: str) -> Section:
    try:
        return pairs.read(kind, _hide(text, mark), name)
    except Malformed:
        quoted = _PLAIN.sub(r'\1"%\2"', text) if kind in ("json", "toml") else text
        if quoted == text:
            raise
        return pairs.read(kind, _hide(quoted, mark), name)


def _names(kind: Kind, text: str, mark: str) -> Iterable[str]:
    names = _section(kind, text, _NO_SECTION, mark).others or ()
    # In TOML a table may also be the value of an option.
    return [name for name in names if kind != "toml" or (name not in BY_NAME and name not in known_names())]


def _hide(text: str, mark: str) -> str:
    """Put the private character in place of each percent sign that begins a magic variable."""
    pieces: list[str] = []
    position = 0
    while (percent := text.find("%", position)) >= 0:
        pieces.append(text[position:percent])
        letter = text[percent + 1 : percent + 2]
        if letter and letter in MAGIC:
            # The letter itself may be syntax: `%[`.
            pieces.append(mark + ("\ue010" if letter == "[" else letter))
            position = percent + 2
        else:
            pieces.append("%")
            position = percent + 1
    return "".join([*pieces, text[position:]])


def _unmark(text: str, mark: str) -> str:
    pieces = text.split(mark)
    result = literal(pieces[0])
    for piece in pieces[1:]:
        letter = "[" if piece[:1] == "\ue010" else piece[:1]
        result += "%" + letter + literal(piece[1:])
    return result


def _items(
    found: Iterable[Pair | Remark],
    comments: list[tuple[int, str]],
    kind: Kind,
    text: str,
    mark: str,
    notes: list[Note],
) -> Iterable[Item]:
    lines = text.split("\n")
    last = 0
    for item in found:
        while comments and comments[0][0] < item.line:
            line, words = comments.pop(0)
            yield Comment(words, line)
        if isinstance(item, Remark):
            if item.code not in ("nested-value", "yaml-empty") or "ignored" in item.message:
                notes.append(Note(f"{_unmark(item.message, mark)}; {item.cure}", item.line))
            continue
        words = _behind(kind, lines[item.line - 1]) if item.line != last and item.line <= len(lines) else ""
        if words:
            yield Comment(words, item.line)
        last = item.line
        yield Said(_unmark(item.key, mark), _unmark(item.value, mark), item.line)


def _behind(kind: Kind, line: str) -> str:
    """Find the comment behind a value."""
    quote = ""
    escaped = False
    for place, character in enumerate(line if kind in ("toml", "yaml") else ""):
        if quote:
            quote = "" if character == quote and not escaped else quote
            escaped = character == "\\" and quote == '"' and not escaped
        elif character in "\"'":
            quote = character
        elif character == "#" and (kind == "toml" or line[place - 1 : place].isspace()):
            return line[place:].strip("# \t\r")
    return ""


def _comments(kind: Kind, text: str) -> list[tuple[int, str]]:
    """The comments that have lines of their own, with the line that they begin on; JSON has none."""
    if kind == "xml":
        return [
            (text.count("\n", 0, match.start()) + 1, line.strip())
            for match in _XML_COMMENT.finditer(text)
            for line in match[1].strip().split("\n")
        ]
    found: list[tuple[int, str]] = []
    inside = ""
    for number, line in enumerate(text.split("\n"), 1):
        if not inside and kind != "json" and line.lstrip().startswith("#"):
            found.append((number, line.strip().lstrip("#").strip()))
        elif kind == "toml":
            for quotes in _LONG_QUOTES.findall(line):
                inside = "" if inside == quotes else inside or quotes
    return found


def _ini(text: str, notes: list[Note]) -> Iterable[Part]:
    """An ini file, with its comments and empty lines where they stand."""
    parts: dict[str, list[Item]] = {}
    current: str | None = None
    waiting: list[Comment] = []
    for number, raw in enumerate(text.split("\n"), 1):
        line = ini.parse_line(raw, number)
        if line is None:
            words = raw.strip(ini.BLANKS)
            waiting.append(Comment(words.lstrip(";#").strip() if words else None, number))
        elif line.kind != "pair":
            if line.kind == "open-section":
                raise Malformed(f"[{line.key} has no closing bracket", number, f"write [{line.key}]")
            _end_part(parts, current, waiting)
            current = line.key
            parts.setdefault(line.key, [])
        elif current is None:
            notes.append(Note(f"{line.key} is left out, no section has begun there", number))
        elif not line.key or line.key.startswith(("<<<<<<<", ">>>>>>>", "|||||||")):
            notes.append(Note("a line without a name, or a mark of a merge, is left out", number))
        else:
            parts[current] += [*waiting, Said(line.key, line.value, number)]
            waiting.clear()
    if current is not None:
        parts[current] += waiting
    return [Part(name, tuple(items)) for name, items in parts.items()]


def _end_part(parts: dict[str, list[Item]], current: str | None, waiting: list[Comment]) -> None:
    """Comments above the first section go with it, and those directly above a later one with that."""
    if current is None:
        return
    blank = max((index for index, item in enumerate(waiting) if item == Comment(None, item.line)), default=-1)
    parts[current] += waiting[: blank + 1]
    del waiting[: blank + 1]
