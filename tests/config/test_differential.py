"""The same text in the real uWSGI: its own view of the configuration is ours, but for the numbered deviations.

Every case of tests/cases/config that uWSGI has a reader for is given to both. `differs` in a case's .json names the
deviations that it shows, each with the keys (or `KEY=beginning of the value`) whose values may differ, or with "*"
where one of the two refuses the whole. A difference that is not named fails, and so does a name without a difference.
`stops` says why uWSGI itself ends, where that has nothing to do with reading; `value-differs` names deviations that
only show in what an option becomes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path

import pytest

from penstock import values
from penstock.config.argv import parse_argv
from penstock.config.deviations import DEVIATIONS
from penstock.config.files import FileReader
from penstock.config.load import Sources, read
from penstock.config.pairs import kind_of
from penstock.config.settings import Settings
from penstock.config.surroundings import Surroundings
from tests.config import uwsgi
from tests.config.support import CASES, NAMES, Case, case

Pairs = list[tuple[str, str]]

_TIMES = re.compile(r"\b[0-9]{10}(?:[0-9]{6})?\b")


def both_argv(this: Case) -> list[str]:
    """A file is named by its option: uWSGI knows no sections, and no capital letters, of positional ones."""
    option = {"ini": "--ini", "yaml": "--yaml", "json": "--json", "xml": "--xml", "toml": "--toml"}
    kind = kind_of(this.file) or "ini"
    words: list[str] = []
    for word in this.argv:
        is_file = word.partition(":")[0] == this.file and (not words or words[-1] != option[kind])
        words += [option[kind], word] if is_file and not this.expected.get("positional") else [word]
    return words


def ours(argv: Sequence[str], cwd: Path, environ: dict[str, str]) -> Settings:
    machine = Surroundings.here()
    here = values.replace(machine, cwd=str(cwd), binary=uwsgi.binary(), cpus=os.cpu_count() or 1)
    return read(Sources(parse_argv(["--show-config", *argv]), environ, here, FileReader(str(cwd))))


def shown(settings: Settings) -> Pairs:
    return [(entry.key, "true" if entry.value is None else entry.value) for entry in settings.entries]


def differences(theirs: Pairs, mine: Pairs) -> Iterator[tuple[str, str]]:
    """Every pair that only one of them has."""
    left = [(key, _normal(key, value)) for key, value in theirs]
    right = [(key, _normal(key, value)) for key, value in mine]
    for kind, a, b, c, d in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if kind != "equal":
            yield from left[a:b]
            yield from right[c:d]


def _normal(key: str, value: str) -> str:
    """Times differ from run to run, and uWSGI's readers of XML and YAML forget the section in the name they show."""
    value = value.partition(":")[0] if key in ("xml", "yaml") else value
    return _TIMES.sub("TIME", value)


def fits(allowed: str, key: str, value: str) -> bool:
    name, equals, beginning = allowed.partition("=")
    return name == key and (not equals or value.startswith(beginning))


def test_this_uwsgi_has_every_reader() -> None:
    """`make test` compiles it with JSON and regular expressions; another one could not be compared with."""
    assert {"ini", "yaml", "json", "xml", "if-hostname-match"} <= uwsgi.options()


@pytest.mark.parametrize("name", [name for name in NAMES if not (CASES / f"{name}.toml").exists()])
def test_the_same_pairs(name: str, tmp_path: Path) -> None:
    this = case(name, tmp_path)
    argv = both_argv(this)
    theirs, log = uwsgi.show_config(argv, tmp_path, this.environ)
    settings = ours(argv, tmp_path, this.environ)
    refused = any(finding.level == "error" for finding in settings.findings)
    differs: dict[str, list[str] | str] = this.expected.get("differs", {})
    whole = [row for row, keys in differs.items() if keys == "*"]
    if theirs is None and "stops" in this.expected:
        assert any(this.expected["stops"] in line for line in log), log[-5:]
        return
    assert "stops" not in this.expected
    if (theirs is None) != refused:
        assert whole, f"uWSGI {'refuses it' if theirs is None else 'takes it'}: {log[-3:]}, {settings.findings}"
        return
    assert not whole, f"there is no such difference: {whole}"
    if theirs is None:
        return
    allowed = {key for keys in differs.values() for key in keys}
    found = list(differences(theirs, shown(settings)))
    assert not [(key, value) for key, value in found if not any(fits(one, key, value) for one in allowed)]
    for row, keys in differs.items():
        assert any(fits(one, key, value) for one in keys for key, value in found), f"no difference: {row}"


@pytest.mark.parametrize(
    ("line", "deviation"),
    [
        ("processes = 3", None),
        ("processes = 3 ; comment", None),
        ("processes = +2", None),
        ("processes = 007", None),
        ("processes = 2.5", "number-with-letters"),
        ("processes = -1", None),
        ("threads = 4", None),
        ("threads = 3 # comment", None),
        ("threads = 2k", "number-with-letters"),
        ("buffer-size = 8192", None),
        ("buffer-size = 8k", "size-suffixes"),
        ("buffer-size = abc", "number-without-digits"),
        ("master", None),
        ("master =", None),
        ("master = 1", None),
        ("master = True", None),
        ("master = nope", None),
        ("master = OFF", None),
        ("master = no", None),
        ("master = 0", None),
        ("master = False", None),
        ("master = false ; comment", "flag-with-comment"),
    ],
)
def test_the_same_value(line: str, deviation: str | None, tmp_path: Path) -> None:
    theirs = uwsgi.values(line, tmp_path)
    (tmp_path / "a.ini").write_text(f"[uwsgi]\n{line}\n")
    said = ours(["--ini", "a.ini"], tmp_path, {})
    refused = any(finding.level == "error" for finding in said.findings)
    key = line.split()[0]
    index = ("processes", "threads", "buffer-size", "master").index(key)
    same = refused if theirs is None else not refused and said.value(key) == theirs[index]
    assert same == (deviation is None), (theirs, said.findings)
    assert deviation is None or deviation in {row.id for row in DEVIATIONS}


@pytest.mark.parametrize("name", NAMES)
def test_only_deviations_with_a_number_are_named(name: str, tmp_path: Path) -> None:
    assert case(name, tmp_path).expected.get("differs", {}).keys() <= {row.id for row in DEVIATIONS}


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: row.id)
def test_the_case_of_a_deviation_names_it(row: object, tmp_path: Path) -> None:
    this = case(row.case, tmp_path)  # type: ignore[attr-defined]
    named = {*this.expected.get("differs", {}), *this.expected.get("value-differs", [])}
    assert row.id in named  # type: ignore[attr-defined]
