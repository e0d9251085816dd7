"""Regular expressions of options: what is refused, with the engine and without it."""

from __future__ import annotations

import pytest

from penstock.plan.patterns import problem_of, problem_without_engine

GOOD = (
    r"\.css$", r"^/(?!admin)", r"(?<=/v)\d+", r"^(.)\1$", r"(?P<a>x)", r"(?<a>x)", r"a++b", r"(?>ab)c", "é", "",
    r"[[:alpha:]]+", r"(?i)\.PNG$", r"^/static/[0-9a-f]{8,}/",
)  # fmt: skip
BAD = ("(", ")", "[a", "*", "\\", "(?P<", "[z-a]", "(?<a")


@pytest.mark.parametrize("problem", [problem_of, problem_without_engine])
@pytest.mark.parametrize("pattern", GOOD)
def test_a_pattern_that_can_be_used(problem: object, pattern: str) -> None:
    assert callable(problem) and problem(pattern) is None


@pytest.mark.parametrize("problem", [problem_of, problem_without_engine])
@pytest.mark.parametrize("pattern", BAD)
def test_a_pattern_that_can_not(problem: object, pattern: str) -> None:
    assert callable(problem)
    said = problem(pattern)
    assert said and "\n" not in said


def test_only_the_engine_knows_its_limits() -> None:
    assert "4096" in (problem_of("a" * 5000) or "")
