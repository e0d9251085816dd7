"""The texts: what is generated is fresh, and what is written is true where a machine can tell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from penstock.options.known import known_names
from penstock.options.table import BY_NAME, find
from tools import generate
from tools.tidy import ROOT


def test_generated_files_are_fresh() -> None:
    assert not generate.stale(), "run `make generate`"


def test_every_option_is_in_the_reference() -> None:
    text = (ROOT / "docs" / "reference" / "options.md").read_text()
    assert [name for name in {*BY_NAME, *known_names()} if f"`{name}`" not in text] == []


def test_make_check_fails_when_something_is_stale(tmp_path: Path) -> None:
    for name in ("penstock", "tools"):
        copy = partial(shutil.copytree, ROOT / name, tmp_path / name)
        copy(ignore=shutil.ignore_patterns("__pycache__", "*.so", "demo"))
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    command = [sys.executable, str(tmp_path / "tools" / "generate.py"), "--check"]
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    assert subprocess.run(command, env=environ, cwd=tmp_path, check=False).returncode == 0
    reference = tmp_path / "docs" / "reference" / "options.md"
    reference.write_text(reference.read_text() + "edited by hand\n")
    done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "docs/reference/options.md is stale: run `make generate`" in done.stdout


def _first_column(title: str) -> str:
    """The first cells of the table below this heading of the migration page."""
    section = (ROOT / "docs/migration.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return "\n".join(line.split("|")[1] for line in section.splitlines() if line.startswith("| "))


def test_the_commands_that_migration_lists_are_here() -> None:
    names = re.findall(r"`--([a-z-]+)", _first_column("Commands"))
    assert len(names) > 8 and [name for name in names if find(name) is None] == []


def test_migration_tells_another_way_only_for_what_is_not_here() -> None:
    names = re.findall(r"`([a-z][a-z0-9-]+)`", _first_column("Another way to the same"))
    assert len(names) > 20 and [name for name in names if name not in known_names() or find(name) is not None] == []


GUIDES = ("several-apps", "static-files")
TEXTS = ("README.md", "docs/migration.md", "docs/deployment.md", *(f"docs/guides/{name}.md" for name in GUIDES))


@pytest.mark.parametrize("name", TEXTS)
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
