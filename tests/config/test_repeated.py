"""What is said twice: in one file (more in tests/cases/config), and in the environment in vain."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.repeated import outranked
from tests.config.support import read


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("threads = 2\nthreads = 4\n", [2]),
        ("threads = 2\nthreads = 4\nthreads = 8\n", [2, 3]),
        ("threads = 2\nthreads = 2\n", []),
        ("master\nmaster = true\n", []),
        ("vacuum = yes\nvacuum = 0\n", [2]),
        ("threads = 2\nif-env = HOME\nthreads = 4\nendif =\n", []),
        ("env = A=1\nenv = A=2\n", []),
        ("threads = 2\nset = threads=4\n", []),
        ("mine = 2\nmine = 4\nprint = %(mine)\n", []),
        ("ini = :more\nthreads = 2\n[more]\nthreads = 4\n", []),
    ],
)
def test_in_one_file(tmp_path: Path, text: str, lines: list[int]) -> None:
    (tmp_path / "app.ini").write_text(f"[uwsgi]\n{text}")
    found = read("app.ini", cwd=tmp_path, environ={"HOME": "/"}).findings
    assert [one.origin.line for one in found if one.origin is not None and one.code == "repeated-option"] == lines


def test_one_file_over_another_is_meant(tmp_path: Path) -> None:
    (tmp_path / "base.ini").write_text("[uwsgi]\nthreads = 2\n")
    (tmp_path / "app.ini").write_text("[uwsgi]\nini = base.ini\nthreads = 4\n")
    assert read("app.ini", cwd=tmp_path).findings == ()


def test_a_variable_that_something_else_overrides() -> None:
    environ = {"UWSGI_THREADS": "4", "UWSGI_PROCESSES": "2", "PENSTOCK_PROCESSES": "3", "UWSGI_ENV": "A=1"}
    (found,) = outranked(read("--threads", "2", "--env", "A=2", environ=environ).settings)
    assert (found.code, found.level) == ("variable-overridden", "note")
    assert "threads is set by --threads as well" in found.message
