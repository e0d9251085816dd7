"""`penstock sysv`, `penstock supervisor` and `penstock runit` as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.harness import run_penstock
from tests.support.projects import write_files

COMMANDS = ("sysv", "supervisor", "runit")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A configuration with a small application."""
    text = "[uwsgi]\nmodule = app\nhttp-socket = /run/shop/shop.sock\nchmod-socket = 660\n"
    return write_files(tmp_path / "shop", {"app.py": "def application(env, start_response): ...\n", "shop.ini": text})


@pytest.mark.parametrize("command", COMMANDS)
def test_files_are_printed_installed_and_taken_away(command: str, shop: Path, tmp_path: Path) -> None:
    shown = run_penstock(command, "shop.ini", cwd=shop)
    assert shown.returncode == 0 and f"Made by: penstock {command} shop.ini\n" in shown.stdout
    root = tmp_path / "root"
    root.mkdir()
    done = run_penstock(command, "shop.ini", "--install", "--root", root, cwd=shop)
    assert done.returncode == 0 and (root / "etc").is_dir(), done.stderr
    gone = run_penstock(command, "--uninstall", "--name", "shop", "--root", root, cwd=tmp_path)
    assert gone.returncode == 0 and not (root / "etc").exists()


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("words", "said"),
    [((), "usage: penstock"), (("nowhere.ini",), "nowhere.ini"), (("shop.ini", "--user"), "--user needs a value")],
)
def test_what_can_not_be_followed_is_said(command: str, words: tuple[str, ...], said: str, shop: Path) -> None:
    done = run_penstock(command, *words, cwd=shop)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    assert run_penstock(command, "--help").stdout.startswith(f"usage: penstock {command} ")
