"""The texts: what is generated is fresh, and what is written is true where a machine can tell."""

from __future__ import annotations

import re

import pytest

from penstock.options.table import OPTIONS, find
from tools import generate
from tools.tidy import ROOT


def test_generated_files_are_fresh() -> None:
    assert not generate.stale(), "run `make generate`"


def test_every_option_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "options.md").read_text()
    assert [option.name for option in OPTIONS if f"`{option.name}`" not in text] == []


@pytest.mark.parametrize("name", ["README.md", "docs/migration.md", "docs/deployment.md"])
def test_options_in_the_texts_exist(name: str) -> None:
    """Every `penstock --option` and every key of an ini block in a text is an option."""
    text = (ROOT / name).read_text()
    used = {
        word
        for line in re.findall(r"^\s*(?:\$ )?penstock (.*)$", text, re.M)
        for word in re.findall(r"--([a-z][\w-]*)", line)
    }
    for block in re.findall(r"```ini\n(.*?)```", text, re.S):
        used |= set(re.findall(r"^\s*([a-z][\w-]*)\s*=", block, re.M))
    assert [word for word in sorted(used) if find(word) is None] == []


def test_make_targets_in_the_texts_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.M))
    for name in ("README.md", "CONTRIBUTING.md"):
        used = set(re.findall(r"\bmake ([a-z-]+)`", (ROOT / name).read_text()))
        assert used <= targets, name
        assert used
