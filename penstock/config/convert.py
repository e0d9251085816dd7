"""Text -> value, by the type of an option. Pure.

As uWSGI reads numbers and flags, with three differences: a number without digits is an error instead of 0, sizes may
end in k, m or g and durations in s, m or h, and other letters right after the digits are an error. A comment or words
after a number or a flag are ignored as in uWSGI, but said.
"""

from __future__ import annotations

import re

from penstock.config.findings import Finding, Origin
from penstock.options.option import Option, Value

TRUE_WORDS = frozenset({"1", "true", "on", "yes"})
FALSE_WORDS = frozenset({"0", "false", "off", "no"})

_LARGEST = 2**63 - 1
# Patterns are compiled where they are used first (`re` keeps them): most starts use few of them.
_NUMBER = r"(?s)([+-]?)([0-9]+)(.*)"
_SIZE = r"(?si)\s*([kmg])(?:i?b)?(?![a-z0-9])(.*)"
_SIZE_FACTORS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DURATION = r"(?si)\s*(?:(s)(?:ecs?|econds?)?|(m)(?:ins?|inutes?)?|(h)(?:ours?)?)(?![a-z0-9])(.*)"
_DURATION_FACTORS = {"s": 1, "m": 60, "h": 3600}
_COUNT = r"(?i)\s*([kmg])(?![a-z0-9])"
_COUNT_FACTORS = {"k": 10**3, "m": 10**6, "g": 10**9}
_MEGABYTES = {"k": 1 / 1024, "m": 1, "g": 1024}
"""For options that count megabytes."""
_FRACTION = r"[.,][0-9]"
BRACES = r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}"
"""A variable as the shell writes it, which stays as it is."""
_COMMENT = r"\s+[;#]"
_EXAMPLES = {"seconds": "60", "bytes": "32768", "milliseconds": "500", "integer": "4"}


def _unquoted(text: str) -> str | None:
    """Take quotes around a value away; None where there are none."""
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if is_quoted else None


class _Converter:
    """One conversion: the option, the text, and what was found on the way."""

    def __init__(self, option: Option, key: str, text: str | None, origin: Origin) -> None:
        self.option = option
        self.key = key
        self.text = text or ""
        self.absent = text is None or (text == "" and option.argument != "required")
        self.origin = origin
        self.findings: list[Finding] = []

    def error(self, code: str, message: str, cure: str) -> None:
        self.findings.append(Finding("error", code, f"{self.key} = {self.text}: {message}", self.origin, cure))

    def warn(self, code: str, message: str, cure: str) -> None:
        self.findings.append(Finding("warning", code, f"{self.key} = {self.text}: {message}", self.origin, cure))

    def convert(self) -> Value | None:
        if "\0" in self.text:
            self.error("not-text", "the value holds a zero byte", "remove it")
            return None
        if self.option.type == "flag":
            return self.flag()
        if self.option.is_number:
            return self.number()
        if self.option.type in ("mode", "umask"):
            return self.octal()
        return self.words()

    def flag(self) -> bool:
        word = self.text.lower()
        if word == "" or word in TRUE_WORDS:
            return True
        if word in FALSE_WORDS:
            return False
        first = word.split()[0] if word.split() else ""
        if first in TRUE_WORDS | FALSE_WORDS and re.match(_COMMENT, word[len(first) :]):
            self.warn("text-after-value", f"read as {first}", "put the comment on a line of its own")
            return first in TRUE_WORDS
        self.warn("flag-word", "read as true", f"write {self.key} = true or {self.key} = false")
        return True

    def number(self) -> int | None:
        if self.absent:
            return 1
        word = self.text.lower()
        for name, value in self.option.words:
            if word == name:
                return value
        match = re.match(_NUMBER, self.text.lstrip())
        if match is None:
            self._not_a_number()
            return None
        sign, digits, after = match.groups()
        number = int(digits) if len(digits) <= 19 else _LARGEST + 1
        factor, after = self._unit(after)
        number *= factor
        if (sign == "-" and number) or number > _LARGEST:
            example = f"write for example {self.key} = {_EXAMPLES.get(self.option.type, '4')}"
            self.error("number-range", "must not be negative" if sign == "-" else "is too large", example)
            return None
        if (after and not after.startswith((" ", "\t", ";", "#"))) or self._is_counted_in_thousands(after):
            self.error("not-a-number", "this is not a whole number", self._whole(number, after))
            return None
        if after.strip():
            self.warn("text-after-value", f"read as {number}", "put the comment on a line of its own")
        return number

    def _not_a_number(self) -> None:
        """Say why, once: quotes and braces are slips of people who come from a shell."""
        quoted = _unquoted(self.text)
        braces = re.fullmatch(BRACES, self.text)
        if quoted is not None and re.match(_NUMBER, quoted):
            self.error("not-a-number", "the quotes are part of the value", f"write {self.key} = {quoted}")
        elif braces is not None:
            what = f"the variable of the environment is written $({braces[1]})"
            self.error("not-a-number", "this stays as it is, and is not a number", what)
        else:
            example = _EXAMPLES.get(self.option.type, "4")
            self.error("not-a-number", "this is not a number", f"write for example {self.key} = {example}")

    def _unit(self, after: str) -> tuple[int, str]:
        """Read the unit behind the digits: its factor, and what is left."""
        if not after:
            return 1, after
        if self.option.type == "bytes" and (size := re.match(_SIZE, after)):
            return _SIZE_FACTORS[size[1].lower()], size[2]
        if self.option.type == "seconds" and (duration := re.match(_DURATION, after)):
            return _DURATION_FACTORS[(duration[1] or duration[2] or duration[3]).lower()], duration[4]
        return 1, after

    def _is_counted_in_thousands(self, after: str) -> bool:
        return self.option.type == "integer" and after != "" and re.match(_COUNT, after) is not None

    def _whole(self, number: int, after: str) -> str:
        """Say what to write instead of a number that letters or a fraction follow."""
        if self._is_counted_in_thousands(after) and (unit := re.match(_COUNT, after)):
            factors = _MEGABYTES if self.option.metavar == "MB" else _COUNT_FACTORS
            return f"write {self.key} = {max(1, int(number * factors[unit[1].lower()]))}"
        if re.match(_FRACTION, after):
            return f"write {self.key} = {number} or {number + 1}" if after[0] == "." else "write it without the comma"
        units = {"bytes": ", with k, m or g for larger units", "seconds": ", with s, m or h for the unit"}
        return f"write for example {self.key} = {number}{units.get(self.option.type, '')}"

    def octal(self) -> int | None:
        if self.option.type == "mode" and (self.absent or self.text == "1"):
            return 0o666
        width = "3" if self.option.type == "mode" else "1,3"
        match = re.match(rf"0?([0-7]{{{width}}})(?![0-9a-zA-Z])(.*)", self.text, re.DOTALL)
        if match is None:
            self.error("bad-mode", "this is no octal mode", f"write for example {self.key} = {self._example_mode()}")
            return None
        if match[2].strip():
            self.warn("text-after-value", f"read as {match[1]}", "put the comment on a line of its own")
        return int(match[1], 8)

    def _example_mode(self) -> str:
        return "660" if self.option.type == "mode" else "022"

    def words(self) -> str | None:
        if self.option.type == "assignment" and "=" not in self.text:
            self.warn("bad-mapping", "ignored, it has no equals sign", f"write {self.key} = NAME=VALUE")
            return None
        if self.origin.source == "file":
            comment = re.search(_COMMENT, self.text)
            if comment and self.option.type == "address":
                address = self.text[: comment.start()]
                self.warn("text-after-value", f"read as {address}", "put the comment on a line of its own")
                return address
            if comment:
                self.warn(
                    "comment-in-value", "the comment is part of the value", "put the comment on a line of its own"
                )
            unquoted = _unquoted(self.text)
            if unquoted is not None and self.option.type == "address" and ":" in unquoted:
                # Only the path of a unix socket may have quotes; what else there is to say is about the rest.
                self.error("quotes-in-value", "the quotes are part of the value", f"write {self.key} = {unquoted}")
                return unquoted
            if unquoted is not None:
                self.warn("quotes-in-value", "the quotes are part of the value", "remove them")
        return self.text


def convert(option: Option, key: str, text: str | None, origin: Origin) -> tuple[Value | None, list[Finding]]:
    """Turn the text of an option into its value; None when there is no usable one, which the findings explain.

    `key` is the name as it was written, for the messages; `text` is None for an option without a value.
    """
    converter = _Converter(option, key, text, origin)
    value = converter.convert()
    if value is not None and option.check is not None:
        complaint = option.check(value)
        if complaint is not None:
            converter.error("bad-value", complaint, f"penstock help {option.name} tells more")
            return None, converter.findings
    return value, converter.findings
