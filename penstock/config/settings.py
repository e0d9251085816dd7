"""Settings: what the user said, with the origin of every value. Frozen values only; reading one never does anything."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from penstock.config.findings import Finding, Origin
from penstock.options.option import Option, Value
from penstock.options.table import BY_NAME
from penstock.values import dataclass

Kind = Literal["declared", "placeholder", "unknown"]
"""What a key can be that names no option: one of the configuration's own, a value for `%(key)`, or a slip."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One pair of the configuration, in the order in which pairs are applied."""

    key: str
    value: str | None
    """None for an option that was given without a value."""
    origin: Origin
    is_placeholder: bool = False
    """Set by `set` or `set-ph`, so that it need not be the name of an option."""
    is_obeyed: bool = False
    """It was about reading and was done while reading; its value stands here as it was written."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A converted value of an option."""

    option: Option
    value: Value
    origin: Origin
    place: int = 0
    """Counts the pairs, of whatever option, in the order in which they are applied."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that was said.

    Names in the methods are those of the table, never aliases; an unknown name is a KeyError, which is a slip in the
    program and not in the configuration.
    """

    entries: tuple[Entry, ...]
    """Every pair after placeholders were filled in."""
    settings: Mapping[str, tuple[Setting, ...]]
    """Option name -> its values in order."""
    files: tuple[str, ...]
    """Names of the files that were read, in order."""
    findings: tuple[Finding, ...]
    """Warnings; errors are raised instead."""
    kinds: tuple[str, ...] = ()
    """What each of the files holds: ini, yaml, json, xml or toml."""
    output: tuple[str, ...] = ()
    """Lines that the configuration wants on standard output (`iprint` and `print`)."""
    others: Mapping[str, Kind] = MappingProxyType({})
    """Every key that neither Penstock nor uWSGI knows -> what it is."""

    def given(self, name: str) -> bool:
        """Whether the option was written anywhere."""
        return bool(self.settings.get(BY_NAME[name].name))

    def value(self, name: str) -> Value | None:
        """The value that counts (the last one), or the default of the table."""
        said = self.settings.get(BY_NAME[name].name)
        return said[-1].value if said else BY_NAME[name].default

    def values(self, name: str) -> tuple[Value, ...]:
        """Every value in order, without the default."""
        return tuple(setting.value for setting in self.every(name))

    def every(self, *names: str) -> tuple[Setting, ...]:
        """The settings of an option with their origins, in order."""
        return tuple(setting for name in names for setting in self.settings.get(BY_NAME[name].name, ()))

    def in_order(self, *names: str) -> tuple[Setting, ...]:
        """The settings of several options in the order in which they were written, for options that make one list."""
        return tuple(sorted(self.every(*names), key=lambda setting: setting.place))

    def origin(self, name: str) -> Origin:
        """Where the value that counts was written."""
        said = self.settings.get(BY_NAME[name].name)
        return said[-1].origin if said else Origin("default", f"default of {name}")

    def flag(self, name: str) -> bool:
        """The value of a flag; False where it is neither given nor on by default."""
        return bool(self.value(name))

    def number(self, name: str) -> int:
        """The value of a number; 0 where it is neither given nor has a default."""
        value = self.value(name)
        return value if isinstance(value, int) else 0

    def text(self, name: str) -> str | None:
        """The value of a text, a path or an address."""
        value = self.value(name)
        return value if isinstance(value, str) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value of a repeatable text, path or address."""
        return tuple(str(value) for value in self.values(name))


NOTHING_SAID = Settings((), MappingProxyType({}), (), ())
"""An empty configuration, for tests and for tools that only want the defaults."""
