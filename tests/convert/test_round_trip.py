"""Whatever a file says, it says the same as another kind of file, and after the way back.

Files are put together from options of the table with values of their type, repeated ones, aliases, placeholders of
every kind, blocks, sections and comments, so that most examples mean something.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from penstock.config.pairs import Kind, Malformed
from penstock.convert.conversion import Refused
from penstock.convert.writing import Target
from penstock.options.option import Option
from penstock.options.table import OPTIONS
from tests.convert.support import converted, meaning

quickly = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))

PLACEHOLDERS = ("%(one)", "%(two three)", "%(one + 1)", "$(HERE)", "$(N)", "$(NOBODY)", "$(NOBODY:-a b)")
PLACEHOLDERS += ("%d", "%k", "%n", "%%", "%Y", "%", "%(_)", "%h", "a%xb", "@(/nowhere/at/all)", "%[")
WORDS = st.text(st.sampled_from("ab1 -_/.:;#=,'\"[]{}\\|&*!<>~`é\t€\x7f\u2028\U0001f600"), max_size=12)
TEXTS = st.lists(st.one_of(WORDS, st.sampled_from(PLACEHOLDERS)), max_size=4).map("".join)
FLAGS = st.sampled_from(["true", "True", "1", "0", "no", "off", "", "yes", "nope", "false ; because", "%(one)", "$(N)"])
NUMBERS = st.sampled_from(["1", "3", "007", "4 ; four", "20 # words", "$(N)", "%k", "%(%k * 2)", "60 words", "2.5", ""])


def values(option: Option) -> st.SearchStrategy[str]:
    if option.type == "flag":
        return FLAGS
    if option.is_number:
        return NUMBERS
    if option.type in ("mode", "umask"):
        return st.sampled_from(["660", "1", "", "022", "664 ; comment", "$(N)"])
    if option.type in ("assignment", "mapping"):
        return st.builds("{}={}".format, st.sampled_from(["A", "HERE", "/static", ""]), TEXTS)
    if option.type == "address":
        return st.one_of(st.sampled_from([":8000", "/tmp/a.sock", "/tmp/a.sock ; comment", ":$(N)", "%n.sock"]), TEXTS)
    return TEXTS


SETTINGS = [option for option in OPTIONS if option.role == "setting" and option.name != "strict"]
OPENERS = ("if-env = HERE", "if-env = NO", "if-not-env = NO", "for = a b", "if-opt = processes=4", "if-opt = pp")
ENDS = ("endif =", "end-if", "endfor = x")
INSIDE = ("env = A=%(_)", "processes = 2", "workers = 3", "socket = %(_).sock")


@st.composite
def lines(draw: st.DrawFn) -> str:
    kind = draw(st.integers(0, 14))
    if kind < 8:
        option = draw(st.sampled_from(SETTINGS))
        key = draw(st.sampled_from(option.names))
        return f"{key} = {draw(values(option))}" if draw(st.integers(0, 9)) else key
    if kind == 8:
        return draw(st.sampled_from(["# ", ";", "  #", ""])) + draw(TEXTS) if draw(st.booleans()) else ""
    if kind == 9:
        return f"{draw(st.sampled_from(['one', 'two', 'three', 'a b', 'é', 'x.y', 'base']))} = {draw(TEXTS)}"
    if kind == 10:
        return f"{draw(st.sampled_from(['set', 'set-ph', 'set-placeholder']))} = one={draw(TEXTS)}"
    if kind == 11:
        return f"{draw(st.sampled_from(['cheaper', 'cron', 'route', 'mule']))} = {draw(TEXTS)}"
    if kind == 12:
        return draw(st.sampled_from(["ini = :more", "print = x", "iprint = %(one)", "proceses = 4", "end"]))
    inside = draw(st.lists(st.sampled_from(INSIDE), max_size=3))
    return "\n".join([draw(st.sampled_from(OPENERS)), *inside, draw(st.sampled_from(ENDS))])


files = st.builds(
    "{}[uwsgi]\n{}\n[more]\n{}\n".format,
    st.sampled_from(["", "# words\n", "\n"]),
    st.lists(lines(), max_size=14).map("\n".join),
    st.lists(st.sampled_from(["threads = 2", "# comment", "env = M=%x", "socket = :9"]), max_size=3).map("\n".join),
)


@pytest.mark.parametrize("kind", ["ini", "toml", "yaml", "json"])
@quickly
@example("[uwsgi]\none = %(one)\none = %(one)\n")
@given(text=files)
def test_there_and_back(kind: Target, text: str) -> None:
    try:
        there = converted(text, "ini", kind).text
    except Malformed:
        assume(False)
    as_kind: Kind = kind
    assert meaning(there, as_kind) == meaning(text, "ini")
    back = converted(there, as_kind, "ini").text
    assert meaning(back, "ini") == meaning(text, "ini")
    assert meaning(converted(there, as_kind, kind).text, as_kind) == meaning(text, "ini")


@pytest.mark.parametrize("kind", ["ini", "toml", "yaml", "json"])
@quickly
@given(text=files)
def test_expanded_it_says_the_same_here(kind: Target, text: str) -> None:
    try:
        there = converted(text, "ini", kind, expand=True).text
    except (Malformed, Refused):
        there = None
    if there is None:
        assert meaning(text, "ini")["errors"]
        return
    before, after = meaning(text, "ini"), meaning(there, kind)
    for name in before.keys() | after.keys():
        if not name.startswith("="):
            assert before.get(name) == after.get(name), name
