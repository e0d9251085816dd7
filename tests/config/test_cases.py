"""Every configuration of tests/cases/config gives what its .json says.

A file that is no UTF-8 text stands in the .json itself, as `latin1`. `settings` are values (a list for an option that
may be repeated; null for one that is not said), `errors` and `warnings` are [code, line], `says` are pieces of the
messages, `entries` are raw pairs (a list where a key stands there several times), `output` is what it prints. `{cwd}`
and `{file}` stand for the directory of the start and the name of the file. `differs` and `stops` are for the comparison
with the real uWSGI, see test_differential.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.config.argv import parse_argv
from penstock.config.deviations import DEVIATIONS
from penstock.config.files import FileReader
from penstock.config.findings import CODES, ConfigError, Finding
from penstock.config.load import Sources, load, read
from penstock.config.settings import Settings
from tests.config.support import CASES, NAMES, SUFFIXES, case, surroundings


def test_each_case_has_its_expectation() -> None:
    assert {path.stem for path in CASES.iterdir() if path.suffix in SUFFIXES} <= set(NAMES)
    assert len(NAMES) > 30


@pytest.mark.parametrize("name", NAMES)
def test_case(name: str, tmp_path: Path) -> None:
    this = case(name, tmp_path)
    expected = this.expected
    words = parse_argv(this.argv)
    sources = Sources(words, this.environ, surroundings(tmp_path), FileReader(str(tmp_path)))
    findings: tuple[Finding, ...]
    settings: Settings | None
    try:
        settings = load(sources)
        findings = settings.findings
    except ConfigError as error:
        settings = None
        findings = error.findings
    assert shown(findings, "error") == sorted(expected.get("errors", []))
    if "warnings" in expected:
        assert shown(findings, "warning") == sorted(expected["warnings"])
    text = "\n".join(map(str, findings))
    for piece in expected.get("says", []):
        assert piece in text
    assert {finding.code for finding in findings} <= CODES.keys()
    again = read(Sources(words, this.environ, surroundings(tmp_path), FileReader(str(tmp_path))))
    assert again.findings == findings
    if "output" in expected:
        assert list(again.output) == expected["output"]
    if settings is None:
        return
    for option, value in fill_all(expected.get("settings", {}), this.fill).items():
        if value is None:
            assert not settings.given(option)
        elif isinstance(value, list):
            assert list(settings.texts(option)) == value
        else:
            assert settings.value(option) == value
    for key, value in expected.get("entries", {}).items():
        values = [entry.value for entry in settings.entries if entry.key == key]
        assert values == (this.fill(value) if isinstance(value, list) else [this.fill(value)])


def fill_all(values: dict[str, Any], fill: Any) -> dict[str, Any]:
    return {name: fill(value) for name, value in values.items()}


def shown(findings: tuple[Finding, ...], level: str) -> list[list[Any]]:
    """[code, line], the line only where it is one of the case's own file."""
    return sorted(
        [finding.code, finding.origin.line if finding.origin else 0] for finding in findings if finding.level == level
    )


@pytest.mark.parametrize("row", DEVIATIONS, ids=lambda row: row.id)
def test_each_deviation_has_a_case(row: Any) -> None:
    assert row.case in NAMES
    assert row.uwsgi and row.penstock and row.why


def test_deviations_have_names_of_their_own() -> None:
    assert len({row.id for row in DEVIATIONS}) == len(DEVIATIONS)


def test_every_code_is_in_a_case_or_a_test() -> None:
    here = Path(__file__).parent
    text = "".join(path.read_text() for path in [*here.glob("*.py"), *CASES.glob("*.json")])
    missing = {code for code in CODES if f'"{code}"' not in text}
    assert not missing
