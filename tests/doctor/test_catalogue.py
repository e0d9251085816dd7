"""One list of all codes, in which each means one thing, and the page that is made of it."""

from __future__ import annotations

from penstock.doctor import catalogue
from penstock.options.table import BY_NAME
from tools.tidy import ROOT


def test_each_code_has_one_row() -> None:
    codes = [row.code for chapter in catalogue.chapters() for row in chapter.rows]
    assert len(codes) == len(set(codes))


def test_rows_are_complete() -> None:
    for chapter in catalogue.chapters():
        assert chapter.title and chapter.text and chapter.rows
        for row in chapter.rows:
            assert row.meaning and row.fix
            assert not row.option or row.option in BY_NAME


def test_every_code_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "findings.md").read_text()
    assert [row.code for chapter in catalogue.chapters() for row in chapter.rows if f"`{row.code}`" not in text] == []
