"""`penstock convert` as somebody types it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def convert(*words: str, cwd: Path, given: str = "", environ: dict[str, str] | None = None) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "penstock", "convert", *words],
        cwd=cwd,
        input=given,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **(environ or {})},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "app.ini").write_text("[uwsgi]\nworkers = 2\nharakiri = 60\nlegion = x\n[dev]\nthreads = 3\n")
    return tmp_path


def test_the_text_is_on_standard_output_and_what_is_to_know_on_standard_error(here: Path) -> None:
    status, output, said = convert("app.ini", "--to", "toml", cwd=here)
    assert status == 0
    assert output.startswith("[uwsgi]\nprocesses = 2\n")
    assert "app.ini:3: harakiri: " in said and "app.ini:4: legion: Penstock does not support it" in said


def test_an_output_file_is_never_overwritten_without_force(here: Path) -> None:
    assert convert("app.ini", "--output", "app.toml", cwd=here)[0] == 0
    first = (here / "app.toml").read_text()
    assert first.startswith("[uwsgi]")
    status, output, said = convert("app.ini", "--to=yaml", "--output=app.toml", cwd=here)
    assert (status, output) == (1, "") and "app.toml exists already" in said and "--force" in said
    assert (here / "app.toml").read_text() == first
    (here / "app.toml").chmod(0o600)
    assert convert("app.ini", "--to=yaml", "--output=app.toml", "--force", cwd=here)[0] == 0
    assert (here / "app.toml").read_text().startswith("uwsgi:")
    assert (here / "app.toml").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in here.iterdir()) == ["app.ini", "app.toml"]


def test_standard_input_and_sections(here: Path) -> None:
    status, output, said = convert("-", "--from", "yaml", "--to", "json", cwd=here, given="uwsgi:\n  master: no\n")
    assert (status, output) == (0, '{\n  "uwsgi": {\n    "master": false\n  }\n}\n')
    assert "standard input:2: master is not needed" in said
    assert convert("app.ini:dev", "--to", "ini", cwd=here)[:2] == (0, "[uwsgi]\nthreads = 3\n")


@pytest.mark.parametrize(
    ("words", "piece"),
    [
        (["app.ini"], "it is not said what to write; add --to ini, --to toml"),
        (["app.ini", "--to", "xml"], "can not write xml"),
        (["app.ini", "--to"], "--to needs a value"),
        (["app.ini", "--too", "ini"], "there is no option --too"),
        (["nothing.ini", "--to", "ini"], "nothing.ini: No such file or directory"),
        (["app.ini:no", "--to", "ini"], "app.ini has no section [no], but [uwsgi], [dev]"),
        (["app.conf", "--to", "ini"], "app.conf does not tell what it holds; add --from ini"),
        (["app.ini", "--from", "perl", "--to", "ini"], "can not read perl"),
        (["app.ini", "other.ini", "--to", "ini"], "one file is converted at a time"),
        (["-", "--from", "json", "--to", "ini"], "-:1: this is not JSON"),
        (["app.ini", "--output", "no/where.toml"], "no/where.toml: No such file or directory"),
    ],
)
def test_what_can_not_be_done_is_said(here: Path, words: list[str], piece: str) -> None:
    status, output, said = convert(*words, cwd=here)
    assert (status, output) == (1, "")
    assert piece in said and "Traceback" not in said


def test_no_environment_gets_into_the_result(here: Path) -> None:
    plain = convert("app.ini", "--to", "toml", cwd=here)
    assert convert("app.ini", "--to", "toml", cwd=here, environ={"UWSGI_THREADS": "9"}) == plain
    expanded = convert("app.ini", "--to", "toml", "--expand", cwd=here, environ={"UWSGI_THREADS": "9"})
    assert expanded[0] == 0 and "threads" not in expanded[1]


def test_bytes_that_are_no_text_come_out_as_they_went_in(here: Path) -> None:
    (here / "latin.ini").write_bytes(b"[uwsgi]\n# \xfcber\nchdir = /srv/\xfc\n")
    for kind in ("ini", "toml", "yaml", "json"):
        assert convert("latin.ini", "--output", f"latin2.{kind}", cwd=here)[0] == 0
        assert b"/srv/\xfc" in (here / f"latin2.{kind}").read_bytes()


def test_help(here: Path) -> None:
    status, output, _ = convert("--help", cwd=here)
    assert status == 0 and "--expand" in output and "--gunicorn" in output


def test_gunicorns_file_and_command_line(here: Path) -> None:
    (here / "gunicorn.conf.py").write_text("bind = ':8000'\nworkers = 3\ndef on_exit(server): pass\n")
    status, output, said = convert("gunicorn.conf.py", "--to", "ini", cwd=here)
    assert status == 0 and "http = :8000\n" in output and "processes = 3\n" in output
    assert "gunicorn.conf.py:3: on_exit is left out: " in said
    status, output, said = convert("--gunicorn", "gunicorn -w 5 a.wsgi", cwd=here)
    assert status == 0 and "processes = 5\n" in output and "http = :8000\n" in output and "module = a.wsgi\n" in output
    environ = {"GUNICORN_CMD_ARGS": "--threads=7"}
    assert "threads = 7\n" in convert("gunicorn.conf.py", "--to", "ini", cwd=here, environ=environ)[1]


def test_gunicorns_file_that_is_no_python(here: Path) -> None:
    (here / "g.py").write_text("bind = (\n")
    status, output, said = convert("g.py", "--to", "ini", cwd=here)
    assert (status, output) == (1, "") and "g.py:1: this is not Python" in said
