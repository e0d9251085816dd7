"""Every code that a finding may have, from wherever it comes: what it means, and what to do about it.

The rows live where they are used: `penstock.config.findings` (reading), `penstock.options.rules` and `advice` (several
options), `penstock.plan.findings` (this machine), `penstock.doctor.checks` (everything around it).
"""

from __future__ import annotations

from functools import cache

from penstock.config.findings import CODES, Level
from penstock.doctor.checks import GROUPS
from penstock.options.advice import ADVICE
from penstock.options.rules import RULES
from penstock.plan import findings
from penstock.values import dataclass

DOCTOR = "The doctor: "
"""What titles of the doctor's chapters begin with."""
IN_THE_FINDING = "the finding says what to write"


@dataclass(frozen=True, slots=True)
class Row:
    """One code."""

    code: str
    level: Level | None
    """The usual one; None where it depends on the place."""
    option: str
    meaning: str
    fix: str


@dataclass(frozen=True, slots=True)
class Chapter:
    """Codes that come from one step."""

    title: str
    text: str
    rows: tuple[Row, ...]


@cache
def chapters() -> tuple[Chapter, ...]:
    """All codes, in the order of the steps."""
    return (
        Chapter(
            "Reading",
            "What is wrong with a file, a line or a value by itself.",
            tuple(Row(code, None, "", meaning, IN_THE_FINDING) for code, meaning in CODES.items()),
        ),
        Chapter(
            "Options that do not go together",
            "Looked at by every start and by `penstock check`.",
            tuple(Row(rule.id, rule.level, rule.about, rule.why, rule.fix) for rule in RULES),
        ),
        Chapter(
            "Advice",
            "What `penstock check` adds: it would start, and something is not as it should be.",
            tuple(Row(rule.id, rule.level, rule.about, rule.why, rule.fix) for rule in ADVICE),
        ),
        Chapter(
            "This machine",
            "What a configuration means here: users, directories, sockets, the application's files.",
            tuple(Row(row.code, row.level, row.about, row.meaning, row.fix) for row in findings.ROWS),
        ),
        *(
            Chapter(
                f"{DOCTOR}{group.TITLE[0].lower()}{group.TITLE[1:]}",
                "What `penstock doctor` adds.",
                tuple(Row(row.code, row.level, row.about, row.meaning, row.fix) for row in group.ROWS),
            )
            for group in GROUPS
        ),
    )


@cache
def _by_code() -> dict[str, Row]:
    return {row.code: row for chapter in chapters() for row in chapter.rows}


def find(code: str) -> Row | None:
    """Look a code up."""
    return _by_code().get(code)


def about(code: str) -> str:
    """Name the option that a code is usually about; empty if it may be any."""
    row = find(code)
    return row.option if row is not None else ""
