"""The command itself: what it takes, what it prints, its exit statuses, and what `--fix` does."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doctor.support import write_app, write_configuration
from tests.e2e.harness import ROOT, Penstock, clean_environment
from tests.support.projects import make_django

NOT_OF_THE_INSTANCE = {"clock-not-synchronised", "killed-for-memory", "crashed"}


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """A project that is served."""
    folder = Path(tempfile.mkdtemp(prefix="doc-"))
    folder.chmod(0o755)
    write_app(folder)
    write_configuration(folder, name="penstock.ini")
    with Penstock("penstock.ini", cwd=folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def doctor(cwd: Path, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    root = cwd / "no-services"
    root.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "penstock", "doctor", "--root", str(root), *words],
        cwd=cwd,
        env={**clean_environment(), "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=True,
        text=True,
        timeout=120,
    )


def errors(done: subprocess.CompletedProcess[str]) -> set[str]:
    found = {one["id"] for one in json.loads(done.stdout)["findings"] if one["severity"] != "note"}
    return found - NOT_OF_THE_INSTANCE


@pytest.mark.parametrize("words", [("penstock.ini",), (), (".",), ("app.pid",), ("--ini", "penstock.ini")])
def test_an_instance_that_is_well(project: Path, words: tuple[str, ...]) -> None:
    done = doctor(project, "--json", *words)
    assert errors(done) == set() and done.stderr == ""
    assert isinstance(json.loads(done.stdout)["not_looked_at"], list)


def test_the_pid_file_of_an_instance_says_how_it_was_started(project: Path, tmp_path: Path) -> None:
    """From another directory: words and directory of the start are the master's to tell."""
    done = doctor(tmp_path, "--json", str(project / "app.pid"))
    assert errors(done) == set() and done.stderr == ""


def test_exit_statuses_and_text(project: Path, tmp_path: Path) -> None:
    good = doctor(project, "--no-import")
    if "warning" not in good.stdout:
        assert good.returncode == 0 and "nothing is wrong" in good.stdout
    write_app(tmp_path, "import nosuchlibrary\n")
    write_configuration(tmp_path, "vacum = true\n")
    done = doctor(tmp_path, "app.ini")
    assert done.returncode == 2 and "\x1b" not in done.stdout
    assert done.stdout.index("error: ") < done.stdout.index("warning: ") < done.stdout.index("Good to know")
    assert "[app-import-fails]" in done.stdout and "shop/wsgi.py:1" in done.stdout and "    fix: " in done.stdout
    write_app(tmp_path)
    with Penstock("app.ini", cwd=tmp_path):
        assert doctor(tmp_path, "app.ini").returncode == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("none.pid",), "none.pid"),
        (("empty.pid",), "neither a configuration nor a pid file"),
        (("stale.pid",), "is stale"),
        (("folder",), "folder of a project"),
        (("--root",), "--root takes a directory"),
        (("--root", "/no/where"), "no such directory"),
    ],
)
def test_what_can_not_be_looked_at(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "empty.pid").touch()
    (tmp_path / "stale.pid").write_text("4194304\n")
    (tmp_path / "folder").mkdir()
    done = doctor(tmp_path, *words)
    assert done.returncode == 2 and said in done.stderr + done.stdout and "Traceback" not in done.stderr


def test_what_is_safe_is_mended_when_that_is_asked_for(project: Path) -> None:
    stale = project / "stale.pid"
    (project / "stale.ini").write_text((project / "penstock.ini").read_text().replace("app.pid", "stale.pid"))
    stale.write_text("4194304\n")
    seen = doctor(project, "stale.ini", "--no-import")
    assert seen.returncode == 1 and "--fix mends 1 of them" in seen.stdout and stale.exists()
    shown = doctor(project, "stale.ini", "--no-import", "--fix")
    assert f"$ rm -- {stale}" in shown.stdout and "nothing was changed: --fix --yes" in shown.stdout
    assert stale.exists()
    done = doctor(project, "stale.ini", "--no-import", "--fix", "--yes", "--json")
    assert not stale.exists() and errors(done) == {"stale-pid-file"} and "mended" in done.stderr
    assert "nothing of this" in doctor(project, "stale.ini", "--no-import", "--fix").stdout


@pytest.mark.parametrize(("answer", "is_gone"), [(b"n\n", False), (b"y\n", True)])
def test_on_a_terminal_it_asks(project: Path, answer: bytes, is_gone: bool) -> None:
    stale = project / "asked.pid"
    (project / "asked.ini").write_text((project / "penstock.ini").read_text().replace("app.pid", "asked.pid"))
    stale.write_text("4194304\n")
    (project / "no-services").mkdir(exist_ok=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(project)
        os.environ.pop("NO_COLOR", None)
        words = ["doctor", "--no-import", "--fix", "--root", f"{project}/no-services", "asked.ini"]
        os.execv(sys.executable, [sys.executable, "-m", "penstock", *words])
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(terminal, 65536)
    os.write(terminal, answer)
    try:
        while piece := os.read(terminal, 65536):
            seen += piece
    except OSError:
        pass  # Linux ends a terminal whose other side is gone with EIO.
    os.waitpid(pid, 0)
    os.close(terminal)
    assert b"\x1b[1;33mwarning\x1b[0m" in seen
    assert stale.exists() is not is_gone


def test_help() -> None:
    done = doctor(Path(tempfile.gettempdir()), "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: penstock doctor") and "--fix" in done.stdout


def test_without_root_what_is_not_seen_is_said(project: Path) -> None:
    """As another user, who may read everything, as whoever is asked to look at somebody else's machine."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can become somebody else")
    may_read = "+dac_read_search"
    prefix = ["setpriv", "--reuid=33", "--regid=33", "--clear-groups", f"--inh-caps={may_read}"]
    (project / "no-services").mkdir(exist_ok=True)
    done = subprocess.run(
        [*prefix, f"--ambient-caps={may_read}", sys.executable, "-m", "penstock", "doctor", "--json", "penstock.ini"],
        cwd=project,
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "Traceback" not in done.stderr, done.stderr
    unseen = {one["what"]: one["why"] for one in json.loads(done.stdout)["not_looked_at"]}
    assert "root" in unseen["what the running instance says of itself"], unseen


def test_a_project_without_a_configuration(tmp_path: Path) -> None:
    project = make_django(tmp_path / "cmdb")
    done = doctor(project, "--json")
    assert "no-configuration" in errors(done) and "django-migrations" in errors(done)
    (project / "uwsgi.ini").write_text(f"[uwsgi]\nsocket = {tmp_path}/a.sock\nmodule = cmdb.wsgi\nchmod-socket = 660\n")
    done = doctor(project, "--json")
    assert "no-configuration" not in errors(done) and "not-running" in errors(done)
