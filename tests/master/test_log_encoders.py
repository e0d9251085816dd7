"""What is done to a line on its way."""

from __future__ import annotations

import json
import time

import pytest

from penstock.master.log_encoders import LONGEST_GROUP_LINES, Splitter, encode, make
from penstock.plan.types import EncoderPlan


def test_each_encoder() -> None:
    for plan, expected in (
        (EncoderPlan("prefix", "> "), b"> text"),
        (EncoderPlan("suffix", " <"), b"text <"),
        (EncoderPlan("nl"), b"text\n"),
        (EncoderPlan("format", "[${msg}] ${msgnl}${none} $ {}"), b"[text] text\n${none} $ {}"),
        (EncoderPlan("json", '{"m":"${msg}"}'), b'{"m":"text"}'),
    ):
        assert make(plan)(b"text") == expected


def test_times() -> None:
    before = time.time()
    seconds, millis, micros, year = make(EncoderPlan("format", "${unix} ${millis} ${micros} ${strftime:%Y}"))(
        b""
    ).split()
    assert int(before) <= int(seconds) == int(millis) // 1000 == int(micros) // 1_000_000
    assert year.decode() == time.strftime("%Y")


@pytest.mark.parametrize("text", [b'"\\\x00\x1f\n\t', b"\xff\xfe", "é☃".encode(), b"", b"\xe2\x98"])
def test_json_is_always_json(text: bytes) -> None:
    made = make(EncoderPlan("json", '{"a":"${msg}","b":"${strftime:"%Y}"}'))(text)
    value = json.loads(made)["a"]
    assert value == text.decode("utf-8") if text in (b"", "é☃".encode()) else len(value) > 0


def test_encoders_come_one_after_the_other_and_may_be_for_one_logger() -> None:
    encoders = [(name, make(EncoderPlan("prefix", f"{name or 'all'} "))) for name in ("", "a", "b")]
    assert encode(b"x", "a", encoders) == b"a all x"
    assert encode(b"x", "", encoders) == b"all x"


TRACEBACK = b'Traceback (most recent call last):\n  File "x"\n    y\nValueError: z'


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_messages_do_not_depend_on_how_they_come(size: int) -> None:
    text = b"one\ntwo\n" + TRACEBACK + b"\nthree\n\nfour"
    for grouped, expected in (
        (False, [*text.split(b"\n")]),
        (True, [b"one", b"two", TRACEBACK, b"three", b"", b"four"]),
    ):
        splitter = Splitter(100, grouped)
        found = [one for start in range(0, len(text), size) for one in splitter.feed(text[start : start + size])]
        assert splitter.holds
        assert found + splitter.end() == expected
        assert not splitter.holds


def test_a_long_line_is_cut_and_nothing_is_lost() -> None:
    splitter = Splitter(10, grouped=False)
    assert splitter.feed(b"x" * 25) == [b"x" * 10, b"x" * 10]
    assert splitter.feed(b"\nshort\n" + b"y" * 12 + b"\n") == [b"x" * 5, b"short", b"y" * 10, b"yy"]
    assert splitter.end() == []


def test_a_traceback_without_an_end_is_given_in_the_end() -> None:
    splitter = Splitter(1000, grouped=True)
    assert splitter.feed(TRACEBACK[:50] + b"\n") == []
    assert splitter.end() == [TRACEBACK[:50]]


def test_a_traceback_without_end_is_not_kept_for_ever() -> None:
    splitter = Splitter(8192, grouped=True)
    made = splitter.feed(b"Traceback (most recent call last):\n" + b"  again\n" * (2 * LONGEST_GROUP_LINES))
    assert made[0].count(b"\n") == LONGEST_GROUP_LINES - 1
    assert len(made) == 1 + LONGEST_GROUP_LINES + 1
