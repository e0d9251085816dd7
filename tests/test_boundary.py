"""The boundary: the stub says what the built engine has, and the check that says so is worth something."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.check_stub import ROOT, problems


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of what the stub needs: the stub, the engine, the plan's types."""
    package = tmp_path / "penstock"
    (package / "plan").mkdir(parents=True)
    for name in ("__init__.py", "_engine.pyi", "plan/__init__.py", "plan/types.py", "plan/process_types.py"):
        shutil.copy(ROOT / "penstock" / name, package / name)
    for library in (ROOT / "penstock").glob("_engine*.so"):
        shutil.copy(library, package)
    return tmp_path


def test_the_stub_matches_the_engine() -> None:
    assert problems() == ""


def test_a_copy_matches_too(copy: Path) -> None:
    assert problems(copy) == ""


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("def catalogue()", "def catalog()", "catalogue"),
        ("def run(self, thread: int)", "def run(self)", "run"),
        ("class RequestBody:", "class Body:", "RequestBody"),
    ],
)
def test_a_broken_stub_is_found(copy: Path, old: str, new: str, word: str) -> None:
    stub = copy / "penstock" / "_engine.pyi"
    text = stub.read_text()
    assert old in text
    stub.write_text(text.replace(old, new))
    assert word in problems(copy)


def test_a_missing_stub_is_found(copy: Path) -> None:
    (copy / "penstock" / "_engine.pyi").unlink()
    assert "missing" in problems(copy)


def test_a_missing_engine_is_found(copy: Path) -> None:
    for library in (copy / "penstock").glob("_engine*.so"):
        library.unlink()
    assert "make build" in problems(copy)
