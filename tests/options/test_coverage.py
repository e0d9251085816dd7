"""How much of what people write in their configurations Penstock takes, computed from the table.

`tests/cases/option_counts.tsv` has the names of uWSGI's options in public configurations and how many have each.
"""

from __future__ import annotations

from pathlib import Path

from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from tests.marks import all_marks

COUNTS = Path(__file__).parents[1] / "cases" / "option_counts.tsv"

SHARE = 0.97
"""This share at least is supported, or rightly not needed. It only rises."""

NOT_NEEDED = frozenset(
    {
        *("binary-path", "close-on-exec", "disable-write-exception", "enable-threads"),
        *("http-auto-chunked", "ignore-sigpipe", "ignore-write-errors", "master", "no-defer-accept", "no-orphans"),
        *("offload-threads", "plugin", "plugins", "py-call-osafterfork", "reaper", "single-interpreter"),
        *("static-cache-paths", "static-cache-paths-name", "thunder-lock", "write-errors-tolerance"),
    }
)
"""What people write and nothing has to be done for, because it is always so. An option that does something in uWSGI
which is not done here belongs to those that are not supported: it does not come in here to raise the share. It only
gets shorter."""


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


def test_little_of_it_is_taken_without_doing_anything() -> None:
    taken = {name for name in counts() if name in BY_NAME and BY_NAME[name].verdict == "not-needed"}
    assert taken - NOT_NEEDED == set()
    assert sum(counts()[name] for name in NOT_NEEDED) / sum(counts().values()) < 0.16
    assert all(BY_NAME[name].note for name in NOT_NEEDED)


def test_everything_else_that_is_taken_is_seen_in_a_started_server() -> None:
    seen = {name for _, name in all_marks("option")}
    does = {BY_NAME[name] for name in counts() if name in BY_NAME and name not in NOT_NEEDED}
    assert [one.name for one in does if one.role == "setting" and one.name not in seen] == []
