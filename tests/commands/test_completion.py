"""Completion in the real shells."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.commands import COMMANDS
from penstock.commands.completion import SHELLS, Arguments, arguments_of, offered, run

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "TERM": "dumb", "LC_ALL": "C.UTF-8"}

Complete = Callable[[str], list[str]]


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def make(shell: str) -> Path:
        path = tmp_path / f"penstock.{shell}"
        path.write_text("\n".join(SHELLS[shell]()) + "\n")
        return path

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A directory with a configuration and a directory in it."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "site.ini").write_text("")
    (tmp_path / "here" / "sitedir").mkdir()
    return tmp_path / "here"


def in_bash(script: Path, folder: Path) -> Complete:
    """What bash offers for a line: its own function for splitting the line is not there without a terminal."""

    def complete(line: str) -> list[str]:
        words = line.replace("=", " = ").split(" ") if "=" in line else line.split(" ")
        quoted = " ".join(f"'{word}'" for word in words)
        code = (
            "compopt() { :; }\n"
            f"source {script}\n[[ $(complete -p penstock) == 'complete -F _penstock penstock' ]] || exit 9\n"
            f"COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}\n_penstock\n"
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.run(
            ["bash", "--norc", "-c", code], cwd=folder, env=ENVIRON, capture_output=True, text=True, check=True
        )
        assert not done.stderr
        return done.stdout.split()

    return complete


def in_fish(script: Path, folder: Path) -> Complete:
    def complete(line: str) -> list[str]:
        code = f"source {script}; complete -C '{line}'"
        environ = {**ENVIRON, "HOME": str(script.parent)}
        done = subprocess.run(
            ["fish", "--no-config", "-c", code], cwd=folder, env=environ, capture_output=True, text=True, check=True
        )
        assert not done.stderr
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    return complete


def in_zsh(script: Path, folder: Path) -> Complete:
    """What zsh has on its line after a TAB: it completes only where somebody types."""

    def complete(line: str) -> list[str]:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(folder)
            os.execvpe("zsh", ["zsh", "-f", "-i"], {**ENVIRON, "TERM": "vt100", "COLUMNS": "200"})
        try:
            setup = (
                "PS1=; autoload -Uz compinit; compinit -D -u; zstyle ':completion:*' list-prompt ''; "
                f"zstyle ':completion:*' verbose no; LISTMAX=9999; source {script}; "
                "show() { print -r -- \"<<$BUFFER>>\"; BUFFER=; zle accept-line }; zle -N show; bindkey '^X' show; "
                "print READY$((1+1))\n"
            )
            os.write(terminal, setup.encode())
            _read(terminal, "READY2")
            os.write(terminal, line.encode() + b"\t\x18")
            text = _read(terminal, ">>")
        finally:
            os.close(terminal)
            os.waitpid(pid, 0)
        return [text.rpartition("<<")[2].partition(">>")[0]]

    return complete


def _read(terminal: int, until: str) -> str:
    deadline = time.monotonic() + 30
    text = ""
    while until not in text:
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode("utf-8", "replace")
    return text


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one(shell: str, script: Callable[[str], Path]) -> None:
    assert shutil.which(shell), "make system-test installs it"
    subprocess.run([shell, "-n", str(script(shell))], check=True)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_command_prints_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([shell]) == 0
    assert capsys.readouterr().out == "\n".join(SHELLS[shell]()) + "\n"


@pytest.mark.parametrize("words", [[], ["ksh"], ["bash", "zsh"]])
def test_another_shell_is_refused_with_how_to_use_it(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    assert "penstock completion bash|zsh|fish" in capsys.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "fish"])
def test_options_commands_and_values(shell: str, script: Callable[[str], Path], folder: Path) -> None:
    complete = {"bash": in_bash, "fish": in_fish}[shell](script(shell), folder)
    assert "--processes" in complete("penstock --proc")
    assert {f"--{name}" for option in offered() for name in option.names} <= set(complete("penstock --"))
    assert "--thunder-lock" not in complete("penstock --thun")
    assert set(complete("penstock --protocol ")) == {"uwsgi", "http", "http11"}
    assert complete("penstock --processes au") == ["auto"]
    assert [word.rstrip("/") for word in complete("penstock --chdir si")] == ["sitedir"]
    assert sorted(word.rstrip("/") for word in complete("penstock --ini si")) == ["site.ini", "sitedir"]
    assert set(COMMANDS) <= set(complete("penstock "))
    assert complete("penstock relo") == ["reload"]
    assert set(complete("penstock completion ")) == {"bash", "fish", "zsh"}
    assert complete("penstock help proce") == ["processes"]
    assert complete("penstock help conv") == ["convert"]
    assert set(complete("penstock convert site.ini --to ")) == {"ini", "toml", "yaml", "json"}
    assert "site.ini" in complete("penstock convert si")
    assert "site.ini" in complete("penstock reload si")
    assert complete("penstock reload --no") == ["--no-wait"]
    assert set(complete("penstock check --js")) == {"--js", "--json"}
    assert "--processes" in complete("penstock check site.ini --proc")
    assert [word.rstrip("/") for word in complete("penstock check --chdir si")] == ["sitedir"]
    assert "site.ini" in complete("penstock explain processes si")
    assert "site.ini" in complete("penstock si")


def test_a_value_behind_an_equals_sign_in_bash(script: Callable[[str], Path], folder: Path) -> None:
    complete = in_bash(script("bash"), folder)
    assert complete("penstock --protocol=htt") == ["http", "http11"]
    assert set(complete("penstock --protocol=")) == {"uwsgi", "http", "http11"}
    assert complete("penstock --chdir=sit") == ["sitedir"]


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("penstock --proces", "penstock --processes"),
        ("penstock --protocol uw", "penstock --protocol uwsgi"),
        ("penstock --chdir s", "penstock --chdir sitedir/"),
        ("penstock --ini site.", "penstock --ini site.ini"),
        ("penstock relo", "penstock reload"),
        ("penstock completion z", "penstock completion zsh"),
        ("penstock help lazy-", "penstock help lazy-apps"),
        ("penstock help conv", "penstock help convert"),
        ("penstock convert site.ini --to to", "penstock convert site.ini --to toml"),
        ("penstock stop site.", "penstock stop site.ini"),
        ("penstock -p 4 --max-requ", "penstock -p 4 --max-requests"),
    ],
)
def test_zsh(line: str, completed: str, script: Callable[[str], Path], folder: Path) -> None:
    assert in_zsh(script("zsh"), folder)(line)[0].rstrip(" =") == completed


def test_every_command_is_offered_what_its_usage_says() -> None:
    assert arguments_of("reload") == Arguments(("--no-wait", "--timeout", "--pid"), files=True, options=False)
    assert arguments_of("completion") == Arguments(("bash", "zsh", "fish"), files=False, options=False)
    convert = arguments_of("convert")
    assert convert.choices == (("--to", ("ini", "toml", "yaml", "json")),) and "ini" not in convert.words
    assert arguments_of("version") == Arguments((), files=False, options=False)
    check = arguments_of("check")
    assert check.files and check.options and "--json" in check.words and "processes" not in check.words
    explain = arguments_of("explain")
    assert explain.files and not explain.options and "processes" in explain.words


def test_through_the_command_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "completion", "bash"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("complete -F _penstock penstock\n")
