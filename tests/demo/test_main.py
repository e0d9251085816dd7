"""The demo's command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.demo.__main__ import INI, what_to_try


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the module as a person does."""
    return subprocess.run(
        [sys.executable, "-m", "penstock.demo", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_prepare_into_a_directory(tmp_path: Path) -> None:
    done = run("prepare", "--dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data/demo.sqlite3").is_file()


def test_an_argument_too_many(tmp_path: Path) -> None:
    done = run("prepare", "--processes", "3", PENSTOCK_DEMO_DIR=str(tmp_path))
    assert done.returncode == 2
    assert "--processes 3" in done.stderr


def test_without_django_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "django.py").write_text("raise ImportError('as if it were not there')\n")
    done = run("prepare", PENSTOCK_DEMO_DIR=str(tmp_path / "data"), PYTHONPATH=f"{tmp_path}{os.pathsep}{os.getcwd()}")
    assert done.returncode == 1
    assert "pip install 'django" in done.stderr


@pytest.mark.parametrize(
    ("address", "url"),
    [("127.0.0.1:8000", "http://127.0.0.1:8000"), (":8000", "http://127.0.0.1:8000"), ("[::1]:80", "http://[::1]:80")],
)
def test_what_to_try_names_the_address(tmp_path: Path, address: str, url: str) -> None:
    text = what_to_try(tmp_path, address)
    assert f"{url}/admin/" in text
    assert f"kill -HUP $(cat {tmp_path}/demo.pid)" in text


def test_the_configuration_takes_its_paths_from_the_environment() -> None:
    text = INI.read_text()
    assert "chdir = $(PENSTOCK_DEMO_DIR)" in text
    assert "http = $(PENSTOCK_DEMO_HTTP)" in text
