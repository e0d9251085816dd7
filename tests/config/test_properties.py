"""Whatever stands in a file, on the command line or in the environment: findings come of it, and nothing else.

Random text seldom keeps a grammar, so that most examples are put together from pieces that mean something.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.config.argv import parse_argv
from penstock.config.environment import parse_environment
from penstock.config.files import FileReader
from penstock.config.findings import CODES
from penstock.config.load import Sources, read
from penstock.config.pairs import Malformed, Pair, Remark
from penstock.config.pairs import read as read_text
from penstock.config.settings import Settings
from penstock.options.table import BY_NAME
from tests.config.support import surroundings

KINDS = ("ini", "yaml", "json", "xml", "toml")
COMMON = (
    "uwsgi",
    "%",
    "%(",
    "$(",
    "@(",
    ")",
    "(",
    " + ",
    "a",
    "1",
    "\n",
    "\r\n",
    " ",
    "\t",
    "#",
    ";",
    "=",
    ":",
    "\\",
    "ü",
    "\0",
)
PIECES = {
    "ini": (
        "[uwsgi]\n",
        "[",
        "]",
        "for = a b\n",
        "endfor\n",
        "if-env = A\n",
        "set = a=",
        "declare-option = b=a=$1\n",
        "ini = :x\n",
    ),
    "yaml": (
        "uwsgi:\n",
        "  ",
        "- ",
        "'",
        '"',
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "<<: ",
        "| ",
        ">",
        "!!x ",
        "---\n",
        "? ",
    ),
    "json": ('{"uwsgi": {', '"a": ', '"', "{", "}", "[", "]", ",", "true", "null", "1e5", "-", "\\ud800", "\\u0000"),
    "xml": (
        "<uwsgi>",
        "</uwsgi>",
        "<a>",
        "</a>",
        "<a/>",
        "<app mountpoint='/x'>",
        "<![CDATA[",
        "]]>",
        "&lt;",
        "&x;",
        "<!--",
        "-->",
        "<?xml version='1.0'?>",
        "<!DOCTYPE a [<!ENTITY x 'y'>]>",
    ),
    "toml": (
        "[tool.penstock]\n",
        "[uwsgi]\n",
        "[[x]]\n",
        "a = ",
        '"',
        "'''",
        '"""',
        "{",
        "}",
        "[",
        "]",
        ",",
        "1979-05-27",
        "0x1",
        "env = ",
    ),
}

quickly = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def texts(kind: str) -> st.SearchStrategy[str]:
    """Text of a kind: pieces of its grammar, names of options, and characters at random."""
    names = st.sampled_from(sorted(BY_NAME))
    piece = st.one_of(st.sampled_from((*PIECES[kind], *COMMON)), names, st.text(max_size=4))
    return st.lists(piece, max_size=30).map("".join)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def settings_of(words: list[str], environ: dict[str, str], directory: Path) -> Settings:
    """Commands are not run: at random they could be anything."""
    reader = FileReader(str(directory), runs_commands=False)
    return read(Sources(parse_argv(words), environ, surroundings(directory), reader))


@pytest.mark.parametrize("kind", KINDS)
@quickly
@given(data=st.data())
def test_a_reader_gives_pairs_or_says_what_is_wrong(kind: str, data: st.DataObject) -> None:
    text = data.draw(texts(kind))
    try:
        section = read_text(kind, text, data.draw(st.sampled_from(["", "a", "uwsgi"])))  # type: ignore[arg-type]
    except Malformed as malformed:
        described = bool(str(malformed) and malformed.cure) and malformed.line >= 0
        if not described:
            pytest.fail(f"it does not say what is wrong: {malformed!r}")
        return
    for item in section.items:
        assert isinstance(item, Pair | Remark)
        assert 1 <= item.line <= text.count("\n") + 1


@pytest.mark.parametrize("kind", KINDS)
@quickly
@given(data=st.data())
def test_a_file_gives_the_same_settings_twice_and_only_known_findings(
    kind: str, directory: Path, data: st.DataObject
) -> None:
    text = data.draw(texts(kind))
    (directory / f"a.{kind}").write_bytes(text.encode("utf-8", "surrogatepass"))
    environ = {"A": "%(a) $(A) (", "UWSGI_PROCESSES": "2"}
    first = settings_of([f"a.{kind}"], environ, directory)
    assert {finding.code for finding in first.findings} <= CODES.keys()
    assert all(str(finding) for finding in first.findings)
    assert settings_of([f"a.{kind}"], environ, directory) == first


@quickly
@given(
    words=st.lists(st.one_of(st.sampled_from(["--set", "--env", "--", "-M", "a=b", "--ini"]), st.text(max_size=8))),
    environ=st.dictionaries(
        st.builds("{}{}".format, st.sampled_from(["UWSGI_", "PENSTOCK_", ""]), st.text(max_size=8)), st.text(max_size=8)
    ),
)
def test_no_words_and_no_variables_make_it_fail(words: list[str], environ: dict[str, str], directory: Path) -> None:
    words = [word for word in words if word != "-"]
    parse_environment(environ)
    first = settings_of(words, environ, directory)
    assert {finding.code for finding in first.findings} <= CODES.keys()
    assert settings_of(words, environ, directory) == first
