"""What an option is: the type of one row of the table, and the checks that see a single value.

Conversion of text to values is not done here (`penstock.config.convert`), nor is anything that needs two options
(`penstock.options.rules`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Literal

from penstock.values import dataclass

Value = bool | int | str
"""What an option's text becomes: a flag, a number (unit by type), or text."""

OptionType = Literal[
    "flag",
    "integer",
    "seconds",
    "milliseconds",
    "bytes",
    "mode",
    "umask",
    "text",
    "path",
    "address",
    "mapping",
    "assignment",
]
"""`mapping` is PREFIX=PATH and `assignment` NAME=VALUE; `mode` and `umask` are octal."""

Argument = Literal["none", "optional", "required"]
Role = Literal["setting", "directive", "command"]
Verdict = Literal["same", "differs", "not-needed", "new"]

NUMBER_TYPES = frozenset({"integer", "seconds", "milliseconds", "bytes"})

METAVARS: dict[OptionType, str] = {
    "flag": "",
    "integer": "N",
    "seconds": "SECONDS",
    "milliseconds": "MS",
    "bytes": "BYTES",
    "mode": "MODE",
    "umask": "MASK",
    "text": "TEXT",
    "path": "PATH",
    "address": "ADDRESS",
    "mapping": "PREFIX=PATH",
    "assignment": "NAME=VALUE",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option: the only place where anything about it is said.

    `default` of None means that the option is simply off or that the plan finds the value on the machine; `help` tells.
    """

    name: str
    type: OptionType
    help: str
    """One line, a clause without a full stop."""
    default: Value | None = None
    aliases: tuple[str, ...] = ()
    short: str = ""
    """One letter, or nothing."""
    tier: Literal[1, 2, 3] = 2
    """1: in almost every deployment; 2: common; 3: rare, and left out of the short help."""
    since: str = "0.1"
    applies: Literal["live", "reload", "restart"] = "reload"
    """When a change of the value takes effect."""
    repeatable: bool = False
    """Every occurrence counts, in order; otherwise the last one wins."""
    optional_argument: bool = False
    """The value may be left out on the command line although the option is not a flag."""
    metavar: str = ""
    has_variables: bool = False
    """`${NAME}` in its value is a variable of its own, and no slip."""
    words: tuple[tuple[str, int], ...] = ()
    """Words that are accepted for a number, in lower case; -1 stands for "ask the machine"."""
    role: Role = "setting"
    """`directive`: obeyed while the configuration is read; `command`: done at once instead of serving."""
    verdict: Verdict = "same"
    """How it compares with uWSGI's option of this name."""
    note: str = ""
    """What differs from uWSGI, or why the option is not needed here."""
    check: Callable[[Value], str | None] | None = None
    """Sees one converted value; returns what is wrong with it, or None. Pure."""

    @property
    def argument(self) -> Argument:
        """Whether a value follows on the command line."""
        if self.type == "flag":
            return "none"
        return "optional" if self.optional_argument else "required"

    @property
    def names(self) -> tuple[str, ...]:
        """The name and the aliases."""
        return (self.name, *self.aliases)

    @property
    def placeholder(self) -> str:
        """What stands for the value in help texts; empty for a flag."""
        return self.metavar or METAVARS[self.type]

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that a value may be: all of them for a text, those beside numbers for a number."""
        return self.check.words if isinstance(self.check, OneOf) else tuple(word for word, _ in self.words)

    @property
    def is_number(self) -> bool:
        """Whether values are numbers written in decimal."""
        return self.type in NUMBER_TYPES


def at_least(minimum: int) -> Callable[[Value], str | None]:
    """Make a check that refuses numbers below `minimum`, but lets -1 ("ask the machine") pass."""

    def check(value: Value) -> str | None:
        if isinstance(value, int) and -1 != value < minimum:
            return f"must be at least {minimum}"
        return None

    return check


def between(minimum: int, maximum: int, why: str) -> Callable[[Value], str | None]:
    """Make a check like `at_least` that also refuses numbers above `maximum`, and says why."""
    smallest = at_least(minimum)

    def check(value: Value) -> str | None:
        if isinstance(value, int) and value > maximum:
            return f"must be at most {maximum}, {why}"
        return smallest(value)

    return check


class OneOf:
    """A check that accepts only its words; completion and the schema offer them."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = words

    def __call__(self, value: Value) -> str | None:
        """Refuse every other word."""
        return None if value in self.words else f"must be one of {', '.join(self.words)}"


def one_of(*words: str) -> OneOf:
    """Make a check that accepts only the given words."""
    return OneOf(words)


def not_empty(value: Value) -> str | None:
    """Refuse an empty text."""
    return "must not be empty" if value == "" else None


def is_proxy_list(value: Value) -> str | None:
    """Accept `unix`, `all`, `none`, addresses and CIDR ranges, separated by commas or blanks."""
    for word in str(value).replace(",", " ").split():
        if word in ("unix", "all", "none", "*"):
            continue
        try:
            ipaddress.ip_network(word, strict=False)
        except ValueError:
            return f"{word} is not an address, a range such as 10.0.0.0/8, or one of unix, all, none"
    return None


FORWARDING_HEADERS = (
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-ssl",
    "x-real-ip",
)
"""What proxies can say about their clients in."""


def is_header_list(value: Value) -> str | None:
    """Accept names of FORWARDING_HEADERS, in any case, separated by commas or blanks."""
    words = str(value).lower().replace(",", " ").split()
    unknown = [word for word in words if word not in FORWARDING_HEADERS]
    if unknown or not words:
        return f"{unknown[0] if unknown else 'nothing'} is none of {', '.join(FORWARDING_HEADERS)}"
    return None


def is_mapping(value: Value) -> str | None:
    """Accept PREFIX=PATH with both sides given."""
    prefix, equals, path = str(value).partition("=")
    if not equals or not prefix or not path:
        return "must be written PREFIX=PATH, for example /static=/srv/app/static"
    return None
