"""Suggestions for slips that were really made."""

from __future__ import annotations

import pytest

from penstock.options.suggest import distance, nearest
from penstock.options.table import BY_NAME


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("work", "workers"),
        ("proceses", "processes"),
        ("http_socket", "http-socket"),
        ("harakari", "harakiri"),
        ("vaccum", "vacuum"),
        ("daemon", "daemonize"),
        ("logfile", "logto"),
        ("Master", "master"),
        ("--processes", "processes"),
        ("theads", "threads"),
        ("chmod_socket", "chmod-socket"),
        ("static_map", "static-map"),
        ("touch-relaod", "touch-reload"),
        ("bind", "http"),
    ],
)
def test_slips(slip: str, meant: str) -> None:
    assert nearest(slip) == meant


@pytest.mark.parametrize("word", ["", "x", "my-very-own-variable", "django", "<<<<<<< HEAD", "日本"])
def test_no_guess_is_better_than_a_wild_one(word: str) -> None:
    assert nearest(word) is None


@pytest.mark.parametrize(
    ("left", "right", "steps"),
    [
        ("", "", 0),
        ("a", "", 1),
        ("", "ab", 2),
        ("abc", "abc", 0),
        ("ab", "ba", 1),
        ("vaccum", "vacuum", 1),
        ("abcd", "axd", 2),
    ],
)
def test_distance(left: str, right: str, steps: int) -> None:
    assert distance(left, right) == steps
    assert distance(right, left) == steps
    for most in range(4):
        assert distance(left, right, most) == steps if steps <= most else distance(left, right, most) > most


def test_other_names_may_be_searched() -> None:
    assert nearest("chidr", {"chdir", "base"}) == "chdir"
    assert nearest("chidr", set()) is None


@pytest.mark.parametrize("slip", ["hrakiri", "procesess", "buffer-szie", "max-reqests", "touchreload", "xyzzy-plugh"])
def test_names_that_are_not_compared_would_not_have_been_nearer(slip: str) -> None:
    allowed = max(1, len(slip) // 3)
    every = sorted((distance(slip, name), name) for name in BY_NAME if len(name) > 2)
    assert nearest(slip) == (every[0][1] if every[0][0] <= allowed else None)
