"""What can be wrong with a configuration, and where a value comes from.

A finding is a value: it is collected, and printed (or not) by whoever asked. Every code is in `CODES`, so that tests
and the reference can list them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from penstock.values import dataclass

Level = Literal["error", "warning", "note"]
"""What ends a start, what will surprise, and what is good to know and changes no exit status."""

CODES: dict[str, str] = {
    "ambiguous-flag": "an abbreviated option on the command line fits several options",
    "bad-declaration": "an option that is declared can not be what it should",
    "bad-logic": "a block (for, if) can not be what it should",
    "bad-mapping": "an option that takes NAME=VALUE has no equals sign",
    "bad-mode": "a value is not an octal mode",
    "bad-value": "a value is refused by the check of its option",
    "comment-in-value": "a comment after a value became part of the value",
    "command-not-run": "a command whose output would be read is not run here",
    "command-in-file": "an option that only makes sense on the command line stands in a file",
    "conflict-marker": "a merge conflict was left in a file",
    "else": "a block has an else, which uWSGI does not know",
    "empty-key": "a line has nothing before its equals sign",
    "environment-near-miss": "an environment variable resembles the name of an option",
    "exit-asked": "the configuration itself says that nothing shall be started",
    "flag-word": "a flag has a value that is neither a word for yes nor one for no",
    "forbidden-option": "an option is forbidden by blacklist or whitelist",
    "include-loop": "a file reads itself",
    "magic-unknown": "a % is followed by a letter without a meaning",
    "malformed": "a file does not keep to the grammar of its kind",
    "missing-value": "an option on the command line lacks its value",
    "nested-value": "a value holds names and values of its own",
    "no-address": "the address of a host can not be found out",
    "no-file": "a file can not be read",
    "no-section": "a file has no section of the wanted name",
    "not-a-config-file": "a word on the command line is neither an option nor a configuration file",
    "not-a-number": "a value has no number where one is needed",
    "not-text": "a file or value holds bytes that no configuration can hold",
    "number-range": "a number is negative or too large",
    "outside-section": "a line stands before the first section of its file",
    "overridden": "an option of the command line is overridden by a file",
    "percent-escape": "what looks percent-encoded, as in URLs, was taken for a magic variable",
    "placeholder-braces": "a variable is written ${NAME}, as in the shell",
    "placeholder-env-unset": "$(NAME) names a variable that is not set",
    "placeholder-is-option": "set-ph was used with the name of an option",
    "placeholder-loop": "a placeholder contains itself",
    "placeholder-unknown": "%(name) names nothing",
    "quotes-in-value": "quotes around a value are part of it",
    "repeated-key": "a key stands in a JSON object twice",
    "repeated-option": "an option that has one value is given two in one file",
    "section-not-closed": "a section header has no closing bracket",
    "text-after-value": "text after a number or flag was ignored",
    "too-much": "a configuration has more options or files than anybody writes",
    "unknown-flag": "an option on the command line does not exist",
    "unknown-option": "a key is no option, and no placeholder uses it",
    "unsupported-essential": "an option of uWSGI that can not safely be left out is not supported",
    "unsupported-option": "an option of uWSGI is not supported and was ignored",
    "unsupported-scheme": "a way to name a file is not supported",
    "url-refused": "configuration from the network is not allowed",
    "variable-overridden": "an environment variable sets an option that a file or the command line sets too",
    "yaml-empty": "a key of a YAML file has no value",
}
"""Every code that a finding of this package may have, with its meaning."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written."""

    source: Literal["file", "command line", "environment", "default"]
    name: str
    """File name as it was given, option as it was typed, or variable."""
    line: int = 0

    def __str__(self) -> str:
        if self.source == "file":
            return f"{self.name}:{self.line}" if self.line else self.name
        if self.source == "environment":
            return f"environment variable {self.name}"
        return self.name


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem: what happened, where, and what to do about it."""

    level: Level
    code: str
    message: str
    origin: Origin | None = None
    cure: str = ""

    def __str__(self) -> str:
        place = f"{self.origin}: " if self.origin is not None else ""
        return f"{place}{self.message}" + (f"; {self.cure}" if self.cure else "")


class ConfigError(Exception):
    """The configuration can not be used; `findings` has every error and warning, in the order they were met."""

    def __init__(self, findings: Iterable[Finding]) -> None:
        self.findings = tuple(findings)
        super().__init__("\n".join(str(finding) for finding in self.findings if finding.level == "error"))


class ConfigExit(ConfigError):
    """The configuration says `exit`: nothing is to be started, and `status` is the command's."""

    def __init__(self, status: int, output: tuple[str, ...], findings: Iterable[Finding]) -> None:
        super().__init__(findings)
        self.status = status
        self.output = output
        """Lines for standard output that were asked for before."""
