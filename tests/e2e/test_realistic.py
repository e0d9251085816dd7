"""Configurations as people write them are started, as they stand, and answer a request.

Only what would meet others on this machine is changed: ports are 0, and absolute paths lie below the test's directory.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from penstock.config.argv import parse_argv
from penstock.config.files import FileReader
from penstock.config.load import Sources, read
from penstock.config.surroundings import Surroundings
from penstock.values import replace
from tests.config.realistic import EXPECTED, Realistic, lay_out, provide
from tests.e2e.clients import get, uwsgi_request
from tests.e2e.harness import Penstock

STARTED = [name for name, expected in EXPECTED.items() if expected["starts"] is True]
AT_ONCE = 8
"""So many instances run side by side."""
BATCHES = [STARTED[place : place + AT_ONCE] for place in range(0, len(STARTED), AT_ONCE)]


def ready_to_start(name: str, root: Path) -> tuple[Realistic, str | None]:
    """Lay a configuration out with all that it needs; also tell which file it logs to."""
    case = lay_out(name, root)
    here = replace(Surroundings.here(), cwd=str(case.cwd))
    settings = read(Sources(parse_argv(case.argv), case.environ, here, FileReader(str(case.cwd))))
    provide(case, settings)
    loggers = [text.removeprefix("file:") for text in settings.texts("logger") if text.startswith("file:")]
    return case, settings.text("logto") or next(iter(loggers), None)


def test_enough_of_them_are_started() -> None:
    assert len(STARTED) >= 40


@pytest.mark.parametrize("names", BATCHES, ids=lambda names: names[0].partition(".")[0] + "_and_more")
def test_they_start_and_answer(names: list[str], short_dir: Path) -> None:
    cases = [ready_to_start(name, short_dir / str(place)) for place, name in enumerate(names)]
    with contextlib.ExitStack() as stack:
        instances = [
            (case, log, stack.enter_context(Penstock(*case.argv, cwd=case.cwd, env=case.environ, wait=False)))
            for case, log in cases
        ]
        for case, log, instance in instances:
            instance.wait_ready()
            if log is not None:
                instance.log_path = case.cwd / log
            speaks_http = any("http" in before for before, _ in instance.bound())
            answer = get(instance.http) if speaks_http else uwsgi_request(instance.uwsgi)
            assert (answer.status, answer.body) == (200, b"served"), case.name
