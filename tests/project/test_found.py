"""Finding a project by its files: Django's, other applications, environments, and what to say where there is none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from penstock.project.found import NoProject
from tests.support.projects import MANAGE, SETTINGS_FILE, WSGI, found, make_django, write_files


def test_what_startproject_makes_is_found_whole(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb")
    project = found(folder)
    assert (project.framework, project.name, project.folder) == ("django", "cmdb", str(folder))
    assert project.manage == str(folder / "manage.py")
    assert (project.settings, project.settings_file) == ("cmdb.settings", str(folder / "cmdb/settings.py"))
    assert (project.wsgi, project.wsgi_file) == ("cmdb.wsgi:application", str(folder / "cmdb/wsgi.py"))
    assert project.asgi == "cmdb.asgi:application"
    assert project.environment is None and project.python == sys.executable
    assert (project.choices, project.notes) == ((), ())


def test_a_project_in_a_folder_of_its_own_is_found_from_above(tmp_path: Path) -> None:
    write_files(
        tmp_path / "src",
        {
            "manage.py": MANAGE.format("shop.settings"),
            "shop/settings.py": SETTINGS_FILE,
            "shop/wsgi.py": WSGI.format("shop.settings"),
        },
    )
    project = found(tmp_path)
    assert project.folder == str(tmp_path / "src") and project.root == str(tmp_path)
    assert project.wsgi == "shop.wsgi:application"


def test_a_folder_without_a_project_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoProject, match="no Django project and no WSGI") as caught:
        found(tmp_path)
    assert any("manage.py" in line and str(tmp_path) in line for line in caught.value.looked)
    assert "penstock init FOLDER" in caught.value.cure
