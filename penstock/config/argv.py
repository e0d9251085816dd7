"""The grammar of the command line, generated from the option table. Pure: words in, words with a meaning out.

As in GNU getopt_long: options and other words in any order, `--option value` and `--option=value`, `-p4` and `-p 4`,
letters without a value bundled (`-Mp4`), `--` ends the options, and any unambiguous beginning of a name stands for it.
More than getopt: a flag may have a value (`--master=false`), and an option whose value may be left out also takes it
from the next word when that looks like one (`--chmod-socket 660`). A word that begins with `[` is decoration of the
process name and is skipped, as in uWSGI. `--declare-option` makes a name that the words behind it may use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from penstock.config.declared import Declared, declared
from penstock.config.findings import Finding, Origin
from penstock.config.pairs import kind_of
from penstock.options.known import KnownName, known_names
from penstock.options.option import Option
from penstock.options.suggest import nearest
from penstock.options.table import BY_NAME, BY_SHORT
from penstock.values import dataclass

BOOLEAN_WORDS = frozenset({"1", "0", "true", "false", "yes", "no", "on", "off"})


@dataclass(frozen=True, slots=True)
class Given:
    """An option with its value; None where none was given."""

    key: str
    value: str | None
    origin: Origin

    @property
    def option(self) -> Option | None:
        """The row of the table; None for a name that only uWSGI knows."""
        return BY_NAME.get(self.key)


@dataclass(frozen=True, slots=True)
class Positional:
    """A word that is no option: a configuration file."""

    word: str
    origin: Origin


Word = Given | Positional | Finding


@cache
def _letters() -> dict[str, str]:
    """Letter -> name; the table's own letters win over those that only uWSGI knows."""
    letters = {known.short: known.name for known in known_names().values() if known.short}
    return letters | {letter: option.name for letter, option in BY_SHORT.items()}


@cache
def _long_names() -> tuple[str, ...]:
    return tuple(sorted({*known_names(), *BY_NAME}))


def parse_argv(words: Sequence[str]) -> list[Word]:
    """Read the words after the program's name; a word that can not be understood becomes a finding in its place."""
    found: list[Word] = []
    rest = list(reversed(words))
    own: dict[str, Declared] = {}
    while rest:
        word = rest.pop()
        if word == "--":
            found += [_positional(name) for name in reversed(rest)]
            break
        if word.startswith("--"):
            found.append(_own(word, rest, own) or _long(word, rest))
            _remember(found[-1], own)
        elif word.startswith("-") and word != "-":
            found += _one_dash_too_few(word, rest) or _cluster(word, rest)
        elif not word.startswith("["):
            found.append(_positional(word))
    return found


def _remember(word: Word, own: dict[str, Declared]) -> None:
    if isinstance(word, Given) and word.key in ("declare-option", "declare-option2"):
        mine = declared(word.value or "", is_immediate=word.key == "declare-option")
        if mine is not None:
            own.setdefault(mine.name, mine)


def _own(word: str, rest: list[str], own: Mapping[str, Declared]) -> Given | None:
    """Read an option that the command line itself has declared."""
    typed, equals, value = word[2:].partition("=")
    mine = own.get(typed)
    if mine is None or typed in BY_NAME or typed in known_names():
        return None
    origin = Origin("command line", f"--{typed}")
    if equals or not mine.takes_value or not rest:
        return Given(typed, value if equals else None, origin)
    return Given(typed, rest.pop(), origin)


def _positional(word: str) -> Positional:
    return Positional(word, Origin("command line", word))


def _long(word: str, rest: list[str]) -> Word:
    typed, equals, value = word[2:].partition("=")
    origin = Origin("command line", f"--{typed}")
    names = _resolve(typed)
    if len(names) != 1 and not equals:
        _drop_value(rest)
    if not names:
        return _unknown(typed, origin)
    if len(names) > 1:
        names.sort(key=lambda name: name not in BY_NAME)
        listed = ", ".join(f"--{name}" for name in names[:8]) + (" and more" if len(names) > 8 else "")
        return Finding("error", "ambiguous-flag", "is short for several options", origin, f"write one of {listed}")
    return _with_value(names[0], value if equals else None, origin, rest)


def _resolve(typed: str) -> list[str]:
    """Find the names that `typed` may stand for; several spellings of one option count once."""
    if typed in BY_NAME or typed in known_names():
        return [typed]
    if not typed:
        return []
    by_option: dict[str, str] = {}
    for name in _long_names():
        if name.startswith(typed):
            option = BY_NAME.get(name)
            by_option.setdefault(option.name if option else name, name)
    return list(by_option.values())


def _drop_value(rest: list[str]) -> None:
    """Pass over what is probably the value of an option that is not understood: one report for it is enough."""
    if rest and not rest[-1].startswith("-") and kind_of(rest[-1]) is None:
        rest.pop()


def _unknown(typed: str, origin: Origin) -> Finding:
    guess = nearest(typed)
    return Finding(
        "error",
        "unknown-flag",
        "there is no such option",
        origin,
        f"did you mean --{guess}?" if guess else "penstock --help lists the options",
    )


def _with_value(name: str, value: str | None, origin: Origin, rest: list[str]) -> Word:
    """Take the value of a long option from the next words where it needs one."""
    row: Option | KnownName = BY_NAME.get(name) or known_names()[name]
    if value is None and row.argument == "required":
        if not rest or _is_forgotten(row, rest[-1]):
            return _missing(origin, row)
        value = rest.pop()
    elif value is None and isinstance(row, Option) and _takes_next(row, rest):
        value = rest.pop()
    return Given(name, value, origin)


def _is_forgotten(row: Option | KnownName, following: str) -> bool:
    """Whether the next word is an option, and can not be the value that was meant; a text may be anything."""
    return (
        isinstance(row, Option)
        and row.type not in ("text", "assignment")
        and following.startswith("--")
        and following[2:].partition("=")[0] in BY_NAME
    )


def _takes_next(option: Option, rest: Iterable[str]) -> bool:
    """Whether the next word is the value of an option that may stand without one."""
    following = next(reversed(list(rest)), "")
    if option.argument != "optional":
        return False
    if option.type == "mode":
        return len(following) in (3, 4) and set(following) <= set("01234567")
    return following.isascii() and (following.isdigit() or following.lower() in dict(option.words))


def _missing(origin: Origin, row: Option | KnownName) -> Finding:
    value = row.placeholder if isinstance(row, Option) else "VALUE"
    return Finding("error", "missing-value", "needs a value", origin, f"write {origin.name} {value}")


def _one_dash_too_few(word: str, rest: list[str]) -> list[Word]:
    """Refuse `-http :80`: read as letters it would be something else entirely (`-h` is help)."""
    name, equals, _ = word[1:].partition("=")
    option = BY_NAME.get(name)
    if option is None or len(name) < 3:
        return []
    if option.argument == "required" and not equals:
        _drop_value(rest)
    origin = Origin("command line", word)
    return [Finding("error", "unknown-flag", "names of options have two dashes", origin, f"write -{word}")]


def _cluster(word: str, rest: list[str]) -> list[Word]:
    """Read `-Mp4`: letters without a value, then perhaps one with a value, in the same word or the next one."""
    found: list[Word] = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        origin = Origin("command line", f"-{letter}")
        name = _letters().get(letter)
        if name is None:
            guess = nearest(word.strip("-").partition("=")[0])
            cure = f"did you mean --{guess}?" if guess else "penstock --help lists the options"
            found.append(Finding("error", "unknown-flag", f"there is no such option (in {word})", origin, cure))
            return found
        row: Option | KnownName = BY_NAME.get(name) or known_names()[name]
        if row.argument == "none":
            found.append(Given(name, None, origin))
        elif letters:
            found.append(Given(name, letters, origin))
            return found
        else:
            found.append(_with_value(name, None, origin, rest))
    return found
