"""How much of what people write in their configurations Penstock takes, computed from the table.

`tests/cases/option_counts.tsv` has the names of uWSGI's options in public configurations and how many have each.
"""

from __future__ import annotations

from pathlib import Path

from penstock.options.known import known_names
from penstock.options.table import BY_NAME

COUNTS = Path(__file__).parents[1] / "cases" / "option_counts.tsv"

SHARE = 0.97
"""This share at least is supported, or rightly not needed. It only rises."""


def counts() -> dict[str, int]:
    lines = [line.split("\t") for line in COUNTS.read_text().splitlines() if not line.startswith("#")]
    return {name: int(count) for name, count in lines}


def test_the_counts_are_of_options_of_uwsgi() -> None:
    assert [name for name in counts() if name not in known_names()] == []
    assert list(counts().values()) == sorted(counts().values(), reverse=True)
    assert sum(counts().values()) > 1800


def test_what_people_write_is_taken() -> None:
    total = sum(counts().values())
    rest = {name: count for name, count in counts().items() if name not in BY_NAME}
    share = 1 - sum(rest.values()) / total
    assert share >= SHARE, f"{share:.4f}; not supported: {rest}"
