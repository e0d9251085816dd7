"""Options from the environment."""

from __future__ import annotations

from penstock.config.argv import Given
from penstock.config.environment import parse_environment
from penstock.config.findings import Finding


def options(**environ: str) -> list[tuple[str, str | None]]:
    return [(word.key, word.value) for word in parse_environment(environ) if isinstance(word, Given)]


def test_names_are_lower_case_with_dashes() -> None:
    assert options(UWSGI_HTTP_SOCKET=":80", HOME="/root") == [("http-socket", ":80")]


def test_penstock_wins_by_coming_last() -> None:
    assert options(PENSTOCK_PROCESSES="2", UWSGI_PROCESSES="3") == [("processes", "3"), ("processes", "2")]


def test_only_variables_that_name_an_option_count() -> None:
    assert options(UWSGI_MY_OWN="1", UWSGI_RELOADS="2", PENSTOCK_="3") == []
    assert parse_environment({"UWSGI_MY_OWN": "1"}) == []


def test_what_uwsgi_knows_is_passed_on_to_be_reported() -> None:
    assert options(UWSGI_CHEAPER="2") == [("cheaper", "2")]


def test_commands_are_not_obeyed() -> None:
    assert options(UWSGI_VERSION="2.0.31", UWSGI_STOP="/run/app.pid") == []


def test_a_slip_is_reported() -> None:
    found = parse_environment({"UWSGI_PROCESES": "3"})
    assert [word.code for word in found if isinstance(word, Finding)] == ["environment-near-miss"]
    assert "UWSGI_PROCESSES" in str(found[0])
