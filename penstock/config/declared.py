"""Options that a configuration declares for itself: `declare-option = app=module=$1;processes=$2`. Pure.

The template is a list of `key=value` with `;` between; `$1`, `$2`, ... are the words of the value, put in one after the
other as uWSGI does, so that a word may itself hold `$2`, and `$10` is the first word and a 0.
"""

from __future__ import annotations

from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Declared:
    """One declared option."""

    name: str
    template: str
    is_immediate: bool
    """It acts where it is read, before everything else (`declare-option`), or in its turn (`declare-option2`)."""

    @property
    def takes_value(self) -> bool:
        """Whether a value follows on the command line."""
        return any(word in self.template for word in ("$1", "$2", "$3"))

    @property
    def bad_part(self) -> str | None:
        """The first part without `=`, at which uWSGI stops; None if there is none."""
        return next((part for part in self.template.split(";") if part and "=" not in part), None)

    def pairs(self, value: str | None) -> list[tuple[str, str]]:
        """Fill the template in."""
        words = [word for word in (value or "").split(" ") if word] if value else [""]
        found: list[tuple[str, str]] = []
        for part in self.template.split(";"):
            if not part:
                continue
            key, equals, text = part.partition("=")
            if not equals:
                break
            for number, word in enumerate(words, 1):
                key = key.replace(f"${number}", word)
                text = text.replace(f"${number}", word)
            found.append((key, text))
        return found


def declared(value: str, *, is_immediate: bool) -> Declared | None:
    """Read `NAME=TEMPLATE`; None where it is not that."""
    name, equals, template = value.partition("=")
    return Declared(name, template, is_immediate) if equals and name else None
