"""`penstock check`, `explain` and `show` as people see them: the texts, the flags, and words that are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from penstock.cli import main
from penstock.commands.terminal import Style, plain

APP = """\
[uwsgi]
base = /srv
http = :8000
module = shop
processes = 2
stats = :9191
master = true
thunder-lock = true
zerg-fallback = true
proceses = 3
env = A=%(base)
workers = 4
die-on-term = true
"""


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "shop.py").write_text("application = print\n")
    (tmp_path / "app.ini").write_text(APP)
    monkeypatch.chdir(tmp_path)
    for name in ("INVOCATION_ID", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


def test_what_check_says(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "app.ini"]) == 1
    out = capsys.readouterr().out
    assert (
        "  app.ini:6  stats = :9191\n"
        "      other machines reach the statistics, which show the addresses and URLs of running requests to\n"
        "      anybody [stats-reachable]\n"
        "      fix: listen on 127.0.0.1 or on a unix socket: stats = 127.0.0.1:9191\n"
    ) in out
    assert "processes = 2 is replaced by workers = 4 in line 12: the last counts [repeated-option]" in out
    assert "  app.ini:10  proceses = 3\n      there is no option proceses, it is ignored [unknown-option]" in out
    assert "      fix: did you mean processes?\n" in out
    assert "Not needed here\n  master        Penstock always supervises its workers (app.ini:7)\n" in out
    assert "Different from uWSGI\n  http         no router process stands in between" in out
    assert "\n12 options: 7 supported, 2 not needed, 1 not supported, 1 unknown, 1 placeholder\n" in out
    assert out.endswith("it can be started, with 4 warnings\n")
    assert "\x1b" not in out


def test_check_of_what_is_good(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--http", ":8000", "--module", "shop", "--die-on-term", "--threads", "2"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("4 options: 4 supported\nnothing is wrong with it\n")
    assert "Errors" not in out and "Warnings" not in out


def test_check_of_what_is_broken(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--ini", "app.ini", "--threads", "many"]) == 2
    out = capsys.readouterr().out
    assert out.startswith("Errors\n  --threads  threads = many\n      this is not a number [not-a-number]\n")
    assert out.endswith("it would not start: 1 error and 4 warnings\n")


def test_check_for_programs(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "app.ini", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert set(value) == {"findings", "options"}
    for finding in value["findings"]:
        assert set(finding) == {"id", "severity", "file", "line", "option", "message", "fix"}
    for option in value["options"]:
        assert set(option) == {"name", "value", "file", "line", "verdict"}
    assert {option["name"]: option["verdict"] for option in value["options"]}["base"] == "placeholder"


def test_check_of_a_file_for_another_machine(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "far.ini").write_text("[uwsgi]\nhttp = :8000\nchdir = /no/where\nmodule = far.wsgi\nthreads = 2\n")
    assert main(["check", "far.ini"]) == 2
    assert "chdir = /no/where" in capsys.readouterr().out
    assert main(["check", "--config-only", "far.ini"]) == 0


def test_a_configuration_may_be_json_too(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "app.json").write_text('{"uwsgi": {"http": ":8000", "module": "shop", "threads": 2}}')
    assert main(["check", "app.json"]) == main(["check", "--json=app.json"]) == 0
    capsys.readouterr()
    assert main(["check", "--json", "app.json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["options"]) == 3


def test_values_can_not_talk_to_the_terminal(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (app / "app.ini").write_bytes(b"[uwsgi]\nhttp = :8000\nmodule = shop\nevil\x1b[2J = \x07\xff\n")
    assert main(["check", "app.ini"]) == 1
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out and "\\x1b[2J" in out
    assert plain("a\tb\u202ec\n") == "a\\tb\\u202ec\\n"
    assert main(["show", "app.ini"]) == main(["explain", "http", "app.ini"]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_colours_mark_what_is_what() -> None:
    assert Style(True).mark("error", "x") == "\x1b[1;31mx\x1b[0m"
    assert Style(False).mark("error", "x") == "x"


@pytest.mark.parametrize("command", ["check", "show"])
def test_a_command_that_is_given_nothing_says_how_it_is_used(
    app: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 2
    assert capsys.readouterr().err.startswith(f"usage: penstock {command}")
    assert main([command, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: penstock {command}")


def test_explain_without_a_configuration(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "harakiri"]) == 0
    first = capsys.readouterr().out
    assert "Default: 0" in first and "Compared with uWSGI: each request has its own deadline" in first
    assert main(["help", "harakiri"]) == main(["--help", "harakiri"]) == main(["explain", "-t"]) == 0
    assert capsys.readouterr().out == first * 3


def test_explain_with_a_configuration(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "processes", "app.ini"]) == 0
    out = capsys.readouterr().out
    assert "  app.ini:5: processes = 2   (overridden by app.ini:12)\n  app.ini:12: workers = 4\n" in out
    assert "warning: app.ini:5: processes = 2 is replaced" in out
    assert main(["explain", "workers", "--ini", "app.ini", "--processes", "auto"]) == 0
    out = capsys.readouterr().out
    assert "  app.ini:12: workers = 4   (overridden by --processes)\n  --processes: processes = auto\n" in out
    assert main(["explain", "threads", "app.ini"]) == 0
    assert "It is not set: the default is 1." in capsys.readouterr().out
    assert main(["explain", "chmod-socket", "--chmod-socket"]) == 0
    assert "Read as 666." in capsys.readouterr().out


def test_explain_what_is_no_option_of_the_table(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "zerg-fallback", "app.ini"]) == 0
    out = capsys.readouterr().out
    assert "In uWSGI it" in out and "Instead: " in out and "  app.ini:9: zerg-fallback = true\n" in out
    assert main(["explain", "base", "app.ini"]) == 0
    assert (
        "base\nIn this configuration\n  app.ini:2: base = /srv\n  It is no option: %(NAME)" in capsys.readouterr().out
    )
    assert main(["explain", "proceses", "app.ini"]) == 0
    assert "no %(NAME) uses it" in capsys.readouterr().out
    assert main(["explain", "stats-reachable"]) == 0
    assert "Other machines reach the statistics" in capsys.readouterr().out


def test_explain_what_nobody_knows(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "proceses"]) == 1
    assert "did you mean processes?" in capsys.readouterr().err
    assert main(["explain"]) == 1
    assert capsys.readouterr().err.startswith("usage: penstock explain")
    assert main(["explain", "--help"]) == 0


def test_show(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "app.ini"]) == 0
    out = re.sub(" {4,}(?=app)", "   ", capsys.readouterr().out)
    assert "Settings\n  http = :8000   app.ini:3\n" in out
    assert "  processes = 2   app.ini:5, overridden\n  processes = 4   app.ini:12\n" in out
    assert "  base = /srv   app.ini:2, placeholder\n" in out
    assert "  zerg-fallback = true   app.ini:9, not supported\n" in out
    assert "\nPlan\n  listeners:\n    - protocol: http\n      name: :8000\n" in out
    assert "\n  processes: 4   (app.ini:12)\n" in out
    assert f"    chdir: {app}\n" in out and "      - A = /srv\n" in out


def test_show_for_programs(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--json", "app.ini"]) == 0
    value = json.loads(capsys.readouterr().out)
    processes = next(one for one in value["settings"] if one["name"] == "processes")
    assert processes["value"] == 4
    assert processes["said"][0] == {"value": 2, "source": "file", "name": "app.ini", "line": 5}
    assert value["plan"]["processes"] == 4 and value["errors"] == []


def test_show_without_a_plan(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--http", "8000", "--module", "shop"]) == 2
    assert "There is no plan\n  --http: http = 8000: a port alone is not an address" in capsys.readouterr().out
    assert main(["show", "--json", "--http", "8000", "--module", "shop"]) == 2
    assert json.loads(capsys.readouterr().out)["plan"] is None
