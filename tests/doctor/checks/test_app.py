"""The import of the application: real ones, that fail in the ways that people meet."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from penstock.doctor.checks import app as checks
from penstock.doctor.gather.app import import_it
from penstock.values import replace
from tests.doctor.support import evidence, examination, only, serious, write_app, write_configuration
from tests.e2e.harness import Penstock


def test_of_an_application_that_imports_nothing_is_said(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    found = examination(folder, "app.ini", imports=True)
    assert serious(found) == set() and found.exit_status == 0
    assert found.facts.app is not None and found.facts.app.status == 0


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("import nosuchlibrary\n", "wsgi.py:1", "pip install"),
        ("import os\n\nx = os.environ['NOT_THERE']\n", "wsgi.py:3", "correct it"),
        ("import sys\nsys.exit('no database')\n", "wsgi.py:2", "__main__"),
        ("def aplication(environ, start_response): ...\n", "", "aplication"),
    ],
)
def test_one_that_fails_is_shown_with_its_line(
    running: tuple[Path, Penstock], text: str, place: str, said: str
) -> None:
    folder, _ = running
    before = (folder / "shop" / "wsgi.py").read_text()
    try:
        write_app(folder, text)
        found = examination(folder, "app.ini", imports=True)
    finally:
        write_app(folder, before)
    codes = serious(found)
    assert codes == {"app-import-fails"}
    one = next(each for each in found.diagnoses if each.code == "app-import-fails")
    assert place in evidence(one) and said in one.cure
    assert "its next reload fails" in one.cause and found.exit_status == 2


def test_one_that_does_not_end_is_given_up(running: tuple[Path, Penstock]) -> None:
    folder, _ = running
    facts = examination(folder, "app.ini").facts
    plan = facts.plan
    assert plan is not None
    write_app(folder, "import threading\nthreading.Event().wait()\n")
    try:
        environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(checks.__file__).parents[3])}
        late = import_it(["app.ini"], plan, environ, str(folder), patience_s=2.0)
    finally:
        write_app(folder)
    assert late.is_late
    (one,) = checks.check(replace(facts, app=late))
    assert one.code == "app-import-late" and "shop.wsgi" in one.cause


def test_it_is_imported_as_its_own_user(folder: Path) -> None:
    """Root imports as the project's owner: what the application opens then is not root's."""
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    text = "import os\nopen(os.path.join(os.path.dirname(__file__), 'log'), 'w')\n"
    write_app(folder, text + "def application(environ, start_response): ...\n")
    for path in (folder, folder / "shop"):
        os.chown(path, 33, 33)
    (folder / "app.ini").chmod(0o644)
    found = examination(folder, "app.ini", imports=True)
    if found.facts.app is None:
        assert any("www-data can not run" in one.why for one in found.blind)
        return
    assert (folder / "shop" / "log").stat().st_uid == 33
    only(found, "not-running")


def test_an_environment_of_another_interpreter(folder: Path) -> None:
    """As it is after an upgrade of the distribution: the Python that it was made with is gone."""
    home = folder / "venv"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to("/usr/bin/python3.9-that-was")
    (home / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.9.2\n")
    write_configuration(folder, f"home = {home}\n")
    found = examination(folder, "app.ini", imports=True)
    assert "no-interpreter" in serious(found) and found.exit_status == 2
    assert any(str(home) in one.cause for one in found.diagnoses)


def test_a_library_that_is_in_another_environment(folder: Path) -> None:
    """The environment beside the project is not named: what it holds is missed, and it is named."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    write_app(folder, "import nosuchlibrary\n")
    found = examination(folder, "app.ini", imports=True)
    (one,) = (each for each in found.diagnoses if each.code == "app-import-fails")
    assert f"home = {folder}/.venv" in one.cure
