"""JSON files, as uWSGI reads them: `{"uwsgi": {"processes": 2, "env": ["A=1", "B=2"], "master": true}}`. Pure.

true is the value 1, false and null are 0, a number is its own text, a list gives one pair for each of its items; what
is nested further is passed over. An object can not say that `a` comes again behind `b`, as blocks need it; a section
may therefore be a list of objects, which are read one after the other.

What is above the values is read here, because the standard library tells neither lines nor duplicate keys; everything
below is left to it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from penstock.config.pairs import DEFAULT_SECTION, Malformed, Pair, Remark, Section

_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_WORDS = {True: "1", False: "0", None: "0"}


def read(text: str, section: str) -> Section:
    """Read the object of this name. Raises Malformed."""
    wanted = section or DEFAULT_SECTION
    try:
        return _Reader(text).section(wanted)
    except json.JSONDecodeError as error:
        cure = "take the comma before it away" if text[: error.pos].rstrip().endswith(",") else "correct the line"
        raise Malformed(f"this is not JSON: {error.msg}", error.lineno, cure) from None
    except RecursionError:
        raise Malformed("this is not a configuration: it is nested too deeply", 1, "take the nesting away") from None


def _is_objects(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.items: list[Pair | Remark] = []
        self.end = 0
        """Behind the value that was read last."""

    def section(self, wanted: str) -> Section:
        names: list[str] = []
        found = False
        start = self._skip(0)
        if not self._is("{", start):
            self._value(start)
            raise Malformed("the file holds no object", 1, f'write {{"{wanted}": {{...}}}}')
        for name, place in self._members(start):
            if name == wanted and self._is("{", place):
                found = True
                # As in every reader of JSON the last of two objects of the same name counts.
                self.items.clear()
                self._object(place)
            elif name == wanted and self._is("[", place):
                found = True
                self.items.clear()
                self._objects(place)
            else:
                value = self._value(place)
                if isinstance(value, dict) or _is_objects(value):
                    names.append(name)
        end = self._skip(self.end)
        if end != len(self.text):
            raise json.JSONDecodeError("something follows the end", self.text, end)
        return Section(self.items, None if found else tuple(names))

    def _object(self, place: int) -> None:
        """Add the options of one object."""
        options: dict[str, tuple[object, int]] = {}
        for key, inner in self._members(place):
            if key in options:
                self._repeated(key, self._line(inner))
            options[key] = self._value(inner), self._line(inner)
        for key, (value, line) in options.items():
            self._add(key, value, line)

    def _objects(self, place: int) -> None:
        """Add the options of each object of a list."""
        place = self._skip(place + 1)
        while not self._is("]", place):
            if not self._is("{", place):
                raise json.JSONDecodeError("an object is missing", self.text, place)
            self._object(place)
            place = self._skip(self.end)
            if not self._is("]", place):
                place = self._expect(",", place)
                if self._is("]", place):
                    raise json.JSONDecodeError("an object is missing", self.text, place)
        self.end = place + 1

    def _members(self, place: int) -> Iterator[tuple[str, int]]:
        """Each name of an object and the place of its value; whoever asks reads that before the next one."""
        place = self._skip(place + 1)
        while not self._is("}", place):
            if not self._is('"', place):
                raise json.JSONDecodeError("a name in double quotes is missing", self.text, place)
            name = str(self._value(place))
            yield name, self._expect(":", self.end)
            place = self._skip(self.end)
            if not self._is("}", place):
                place = self._expect(",", place)
                if self._is("}", place):
                    raise json.JSONDecodeError("a name is missing", self.text, place)
        self.end = place + 1

    def _is(self, character: str, place: int) -> bool:
        return self.text[place : place + 1] == character

    def _expect(self, character: str, place: int) -> int:
        place = self._skip(place)
        if not self._is(character, place):
            raise json.JSONDecodeError(f"a {character} is missing", self.text, place)
        return self._skip(place + 1)

    def _value(self, place: int) -> object:
        value, self.end = _DECODER.raw_decode(self.text, place)
        return value

    def _skip(self, place: int) -> int:
        match = _BLANK.match(self.text, place)
        return match.end() if match else place

    def _line(self, place: int) -> int:
        return self.text.count("\n", 0, place) + 1

    def _repeated(self, key: str, line: int) -> None:
        message = f"{key} stands here a second time, and JSON knows only the last one"
        self.items.append(Remark("warning", "repeated-key", message, line, f'write "{key}": [..., ...]'))

    def _add(self, key: str, value: object, line: int) -> None:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict | list):
                message = f"{key}: what is nested inside it is ignored"
                cure = "write each option as a name of its own"
                self.items.append(Remark("warning", "nested-value", message, line, cure))
            elif isinstance(item, bool) or item is None:
                self.items.append(Pair(key, _WORDS[item], line))
            else:
                self.items.append(Pair(key, str(item), line))
