"""Checks of single values."""

from __future__ import annotations

import pytest

from penstock.options.option import Option, at_least, is_mapping, is_proxy_list, not_empty, one_of


def test_at_least() -> None:
    check = at_least(1)
    assert check(0) == "must be at least 1"
    assert check(1) is None
    assert check(-1) is None  # "ask the machine"


def test_one_of() -> None:
    assert one_of("a", "b")("a") is None
    assert one_of("a", "b")("c") == "must be one of a, b"


def test_not_empty() -> None:
    assert not_empty("") and not not_empty("x")


@pytest.mark.parametrize("text", ["unix", "10.0.0.1", "10.0.0.0/8, ::1", "all", "none 192.168.0.7/16", ""])
def test_proxy_lists(text: str) -> None:
    assert is_proxy_list(text) is None


@pytest.mark.parametrize("text", ["example.com", "10.0.0", "10.0.0.0/40", "10.0.0.1:80"])
def test_no_proxy_lists(text: str) -> None:
    assert is_proxy_list(text)


@pytest.mark.parametrize(("text", "good"), [("/a=/b", True), ("/a", False), ("=/b", False), ("/a=", False)])
def test_mappings(text: str, good: bool) -> None:
    assert (is_mapping(text) is None) == good


def test_argument_and_placeholder_follow_from_the_type() -> None:
    flag = Option(name="a", type="flag", help="a")
    mode = Option(name="b", type="mode", help="b", optional_argument=True)
    number = Option(name="c", type="integer", help="c", metavar="COUNT", aliases=("d",))
    assert (flag.argument, mode.argument, number.argument) == ("none", "optional", "required")
    assert (flag.placeholder, mode.placeholder, number.placeholder) == ("", "MODE", "COUNT")
    assert number.names == ("c", "d")
