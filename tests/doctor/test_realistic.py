"""Configurations as people write them: of what starts (tests/e2e/test_realistic.py) the report has no more errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.argv import parse_argv
from penstock.config.files import FileReader
from penstock.config.load import Sources, read
from penstock.plan.resolve import attempt
from tests.config.realistic import EXPECTED, lay_out, provide
from tests.config.support import surroundings
from tests.doctor.test_report import look
from tests.plan.test_survey import here

STARTING = [name for name, expected in EXPECTED.items() if expected["starts"] is True]


@pytest.mark.parametrize("name", STARTING)
def test_of_what_starts_there_are_no_more_errors(name: str, tmp_path: Path) -> None:
    case = lay_out(name, tmp_path)
    reader = FileReader(str(case.cwd), runs_commands=False)
    settings = read(Sources(parse_argv(case.argv), case.environ, surroundings(case.cwd), reader))
    provide(case, settings)
    report = look(case.cwd, *case.argv, environ=dict(case.environ), euid=0)
    at_start = {str(finding) for finding in (*settings.findings, *attempt(settings, here(case.cwd, euid=0))[1])}
    assert [str(finding) for finding in report.of("error") if str(finding) not in at_start] == []


def test_enough_of_them_start() -> None:
    assert len(STARTING) > 20
