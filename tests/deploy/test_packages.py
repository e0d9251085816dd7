"""What a project needs installed, read from the files that say so, or found out where none does."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.environment import MARK, environment_for
from penstock.deploy.layout import Layout
from penstock.deploy.packages import Packages, imported_by, packages_of
from penstock.project.found import Project, Requirements
from penstock.values import replace
from tests.support.projects import MANAGE, SETTINGS_FILE, WSGI, found, write_files


def a_project(folder: Path, **files: str) -> Project:
    """A small Django project with some more files."""
    write_files(
        folder,
        {
            "manage.py": MANAGE.format("site.settings"),
            "site/settings.py": SETTINGS_FILE,
            "site/wsgi.py": WSGI.format("site.settings"),
            **files,
        },
    )
    return found(folder)


def listed(project: Project, kind: str, path: Path) -> Project:
    """The same project with one list of packages."""
    return replace(project, requirements=(Requirements(kind, str(path)),))  # type: ignore[arg-type]


def test_a_list_counts_with_all_that_it_includes(tmp_path: Path) -> None:
    project = a_project(tmp_path, **{"requirements.txt": "-r more/base.txt\ndjango\n", "more/base.txt": "sqlparse\n"})
    first = packages_of(project, has_uv=False)
    assert first.files == (str(tmp_path / "requirements.txt"),)
    (tmp_path / "more/base.txt").write_text("sqlparse==0.5\n-c ../requirements.txt\n")
    assert packages_of(project, has_uv=False).digest != first.digest


def test_pyproject_says_it_in_its_dependencies(tmp_path: Path) -> None:
    project = a_project(
        tmp_path, **{"pyproject.toml": '[project]\nname = "x"\ndependencies = ["django>=5", "httpx"]\n'}
    )
    assert packages_of(project, has_uv=False).lines == ("django>=5", "httpx")


def test_locks_are_read_as_they_pin(tmp_path: Path) -> None:
    poetry = tmp_path / "poetry.lock"
    poetry.write_text(
        '[[package]]\nname = "django"\nversion = "5.2"\ngroups = ["main"]\n'
        '[[package]]\nname = "pytest"\nversion = "9"\ngroups = ["dev"]\n'
        '[[package]]\nname = "tzdata"\nversion = "1"\ngroups = ["main"]\nmarkers = "sys_platform == \'win32\'"\n'
        '[[package]]\nname = "own"\nversion = "1"\ngroups = ["main"]\n'
        '[package.source]\ntype = "git"\nurl = "https://x.org/own"\nresolved_reference = "abc"\n'
    )
    project = a_project(tmp_path)
    read = packages_of(listed(project, "poetry", poetry), has_uv=False)
    assert read.is_complete and read.lines == (
        "django==5.2",
        "tzdata==1 ; sys_platform == 'win32'",
        "own @ git+https://x.org/own@abc",
    )
    pipenv = tmp_path / "Pipfile.lock"
    pipenv.write_text(json.dumps({"default": {"django": {"version": "==5.2", "extras": ["argon2"]}, "odd": {}}}))
    assert packages_of(listed(project, "pipenv", pipenv), has_uv=False).lines == ("django[argon2]==5.2",)
    lock = tmp_path / "uv.lock"
    lock.write_text("version = 1\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["django"]\n')
    assert packages_of(listed(project, "uv", lock), has_uv=True).uses_lock
    assert packages_of(listed(project, "uv", lock), has_uv=False).lines == ("django",)


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        ("poetry", "poetry.lock", "[[package]\n"),
        ("poetry", "poetry.lock", "x = 1\n"),
        ("pipenv", "Pipfile.lock", "{}"),
        ("pipenv", "Pipfile.lock", "\x00"),
        ("pyproject", "pyproject.toml", "= 1\n"),
        ("requirements", "gone.txt", ""),
    ],
)
def test_a_list_that_can_not_be_read_is_named(tmp_path: Path, kind: str, name: str, text: str) -> None:
    project = a_project(tmp_path)
    if text:
        (tmp_path / name).write_text(text)
    with pytest.raises(ArtifactError, match=name.replace(".", r"\.")):
        packages_of(listed(project, kind, tmp_path / name), has_uv=False)


def test_a_project_that_says_nothing_needs_what_it_imports(tmp_path: Path) -> None:
    project = replace(a_project(tmp_path, **{"shop.py": "import yaml, json, shop\n"}), python=sys.executable)
    read = packages_of(project, has_uv=False)
    assert set(read.lines) == {f"Django=={version('django')}", f"PyYAML=={version('pyyaml')}"}
    assert sys.executable in read.source
    nowhere = packages_of(replace(project, python=str(tmp_path / "none")), has_uv=False)
    assert nowhere.lines == ("django",)


def test_pip_or_uv_installs_and_only_a_finished_environment_counts(tmp_path: Path) -> None:
    packages = Packages(source="x", lines=("django",), digest="1", is_complete=True)
    layout, tree = Layout("shop"), Tree(str(tmp_path))
    by_pip = environment_for(layout, packages, uv="")
    assert by_pip.make().argv[1:3] == ("-m", "venv")
    (command,) = by_pip.fill()
    assert command.argv[:4] == (by_pip.python, "-m", "pip", "install") and "--no-deps" in command.argv
    by_uv = environment_for(layout, packages, uv="/usr/bin/uv")
    assert by_uv.path == by_pip.path, "who installs makes no difference"
    assert by_uv.make().argv[:2] == ("/usr/bin/uv", "venv")
    assert by_uv.fill()[0].argv[:3] == ("/usr/bin/uv", "pip", "install")
    locked = environment_for(layout, Packages(source="x", lines=(), uses_lock=True, folder="/p", digest="2"), uv="/uv")
    assert locked.path != by_uv.path
    assert locked.fill()[0].argv[:3] == ("/uv", "sync", "--frozen")
    assert environment_for(layout, packages, base="/opt/python", uv="").path != by_pip.path
    assert not by_pip.is_whole(tree)
    folder = tree.on_disk(by_pip.path)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin/python").touch()
    assert not by_pip.is_whole(tree)
    (folder / MARK).touch()
    assert by_pip.is_whole(tree)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_the_projects_own_interpreter_is_never_run_as_root(tmp_path: Path) -> None:
    project = a_project(tmp_path / "site")
    os.chown(project.folder, 54321, 54322)
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.getuid():
            place.chmod(place.stat().st_mode | 0o011)
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "{\\"as-$(id -u)\\": \\"1\\"}"\n')
    python.chmod(0o755)
    assert imported_by(replace(project, python=str(python))).lines == ("as-54321==1",)
