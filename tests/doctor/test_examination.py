"""The examination of anything: configurations of the corpus, ones that people have, and any text at all."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.commands.doctor import as_text
from penstock.doctor import catalogue
from penstock.doctor.examination import EXPLAINED
from tests.config.realistic import EXPECTED, lay_out
from tests.config.support import NAMES, case
from tests.doctor.support import examination
from tests.doctor.test_report import LINES
from tests.e2e.harness import ROOT


def all_is_known(cwd: Path, *argv: str, environ: dict[str, str] | None = None) -> None:
    """Whatever comes out can be printed, and every code has its row."""
    # Without other programs: they tell about this machine, the same each time.
    found = examination(cwd, *argv, environ={**(environ or {}), "PATH": str(cwd)})
    value = found.as_json_value()
    assert json.loads(json.dumps(value)) == value
    assert [one["id"] for one in value["findings"] if catalogue.find(one["id"]) is None] == []
    text = "\n".join(as_text(found, 80)).replace("\n", "")
    # Bytes that are no text are shown as escapes where they are written.
    assert text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_every_case_of_the_corpus(name: str, tmp_path: Path) -> None:
    this = case(name, tmp_path)
    if this.argv:
        all_is_known(tmp_path, *this.argv, environ=dict(this.environ))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_configurations_as_people_write_them(name: str, tmp_path: Path) -> None:
    this = lay_out(name, tmp_path)
    if this.argv:
        all_is_known(this.cwd, *this.argv, environ=dict(this.environ))


@given(st.lists(LINES, max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_options(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        text = "\n".join(["[uwsgi]", *lines])
        (Path(name) / "app.ini").write_bytes(text.encode("utf-8", "surrogatepass"))
        all_is_known(Path(name), "app.ini")


def test_what_follows_from_others_is_known_too() -> None:
    codes = {*EXPLAINED, *(code for causes in EXPLAINED.values() for code in causes)}
    assert [code for code in codes if catalogue.find(code) is None] == []


def test_every_code_of_the_doctor_is_made_somewhere_and_tested() -> None:
    """Each row of a check is a code that its module makes, and that a test names."""
    from penstock.doctor.checks import GROUPS

    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    missing = []
    for group in GROUPS:
        for row in group.ROWS:
            made = any(f'"{row.code}"' in path.read_text() for path in (ROOT / "penstock").rglob("*.py"))
            # nginx's rules are tested where they are, by shorter names.
            short = row.code.removeprefix("nginx-")
            if not made or not any(f'"{name}"' in tests for name in (row.code, short)):
                missing.append(row.code)
    assert missing == []
