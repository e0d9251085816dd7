"""gunicorn's command line, as argparse reads it there: `gunicorn -w 4 --bind=:8000 project.wsgi`. Pure.

The variables of a shell, which stand in Procfiles and Dockerfiles, become those of a configuration: `$PORT` and
`${PORT:-8000}` are `$(PORT)` and `$(PORT:-8000)`.
"""

from __future__ import annotations

import re
import shlex

from penstock.convert.document import literal
from penstock.convert.gunicorn.settings import BY_FLAG, NEGATIVE, Setting
from penstock.convert.gunicorn.values import Given, Text, Unread, Value

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(:?-[^}$()]*)?\}|([A-Za-z_][A-Za-z0-9_]*))")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PROGRAM = re.compile(r"(?:.*/)?gunicorn[0-9.]*")


def split(line: str) -> tuple[list[str], list[str]]:
    """Take a command line apart: the variables that are set in front of it, and the words behind the program.

    Raises ValueError where a quote is missing.
    """
    words = shlex.split(line, comments=False)
    while words and words[0] in ("exec", "env"):
        words.pop(0)
    environ: list[str] = []
    while words and _ASSIGNMENT.match(words[0]):
        environ.append(words.pop(0))
    for place, word in enumerate(words[:4]):
        if _PROGRAM.fullmatch(word):
            return environ, words[place + 1 :]
    return environ, words


def read(words: list[str], where: str) -> tuple[list[Given], list[Unread]]:
    """Read the words behind the program's name; `where` names the place that they come from."""
    reader = _Reader(where)
    reader.read(list(reversed(words)))
    return [*reader.given, *(Given(name, list(of), where) for name, of in reader.lists.items())], reader.unread


class _Reader:
    def __init__(self, where: str) -> None:
        self.where = where
        self.given: list[Given] = []
        self.lists: dict[str, list[Value]] = {}
        self.unread: list[Unread] = []

    def read(self, rest: list[str]) -> None:
        """`rest` is turned round, so that the next word is its last one."""
        only_words = False
        while rest:
            word = rest.pop()
            if word == "--" and not only_words:
                only_words = True
            elif only_words or not word.startswith("-") or word == "-":
                self._add("wsgi_app", value_of(word))
            elif word.startswith("--"):
                self._long(word, rest)
            else:
                self._short(word, rest)

    def _add(self, name: str, value: Value) -> None:
        self.given.append(Given(name, value, self.where))

    def _unknown(self, word: str) -> None:
        self.unread.append(Unread(word, "gunicorn has no such option", 0))

    def _long(self, word: str, rest: list[str]) -> None:
        typed, equals, value = word.partition("=")
        names = [typed] if typed in BY_FLAG else [flag for flag in BY_FLAG if flag.startswith(typed)]
        settings = {BY_FLAG[flag].name for flag in names}
        if len(settings) != 1:
            self._unknown(word)
            return
        self._set(names[0], BY_FLAG[names[0]], value if equals else None, rest)

    def _short(self, word: str, rest: list[str]) -> None:
        letters = word[1:]
        while letters:
            flag, letters = f"-{letters[0]}", letters[1:]
            setting = BY_FLAG.get(flag)
            if setting is None:
                self._unknown(word)
                return
            if setting.takes == "nothing":
                self._set(flag, setting, None, rest)
            else:
                self._set(flag, setting, letters.removeprefix("=") or None, rest)
                return

    def _set(self, flag: str, setting: Setting, value: str | None, rest: list[str]) -> None:
        if setting.takes == "nothing":
            self._add(setting.name, flag not in NEGATIVE)
        elif value is None and setting.takes == "perhaps" and (not rest or rest[-1].startswith("-")):
            self._add(setting.name, "auto")
        elif value is None and not rest:
            self.unread.append(Unread(flag, "its value is missing", 0))
        else:
            found = value_of(value if value is not None else rest.pop())
            if setting.repeats:
                self.lists.setdefault(setting.name, []).append(found)
            else:
                self._add(setting.name, found)


def value_of(word: str) -> Value:
    """Turn the variables of a shell into placeholders."""
    if not _VARIABLE.search(word):
        return int(word) if word.isascii() and word.isdigit() and len(word) < 10 and str(int(word)) == word else word
    pieces: list[str] = []
    position = 0
    for match in _VARIABLE.finditer(word):
        pieces.append(literal(word[position : match.start()]))
        pieces.append(f"$({match[1] or match[3]}{literal(match[2] or '')})")
        position = match.end()
    return Text("".join([*pieces, literal(word[position:])]))
