"""What a project is called is one rule, and all commands follow it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.project.names import name_of


@pytest.mark.parametrize(
    ("files", "settings", "folder", "name"),
    [
        (["/srv/shop/cmdb.ini"], "web.settings", "/srv/shop", "cmdb"),
        (["/srv/shop/penstock.ini"], "cmdb.settings", "/srv/shop", "cmdb"),
        (["/srv/shop/penstock.ini"], None, "/srv/shop/src", "shop"),
        (["/srv/shop/uwsgi.ini"], "config.settings.production", "/srv/shop", "shop"),
        ([], "penstock_production", "/srv/shop/releases/20261128-064921/code", "shop"),
        (["/srv/shop2/current/penstock.ini"], "cmdb.settings", "/srv/shop2/releases/20261128-064921/code", "shop2"),
        (["/srv/shop2/releases/20261128-064921/penstock.ini"], None, "/", "shop2"),
        ([], None, "/", "app"),
        (["/srv/99 Läden.ini"], None, "/", "l-den"),
    ],
)
def test_names(files: list[str], settings: str | None, folder: str, name: str) -> None:
    assert name_of(files, settings, folder) == name


@pytest.mark.parametrize("package", ["cmdb", "config"])
def test_all_commands_call_a_project_the_same(tmp_path: Path, package: str) -> None:
    folder = tmp_path / "try6"
    (folder / package).mkdir(parents=True)
    named = f"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', '{package}.settings')\n"
    (folder / "manage.py").write_text(named)
    (folder / package / "__init__.py").touch()
    (folder / package / "settings.py").write_text("SECRET_KEY = 'x'\nROOT_URLCONF = 'urls'\n")
    (folder / package / "wsgi.py").write_text(named + "application = None\n")

    def told(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "penstock", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.stdout, done.stderr
        return done.stdout

    told("init")
    name = "try6" if package == "config" else "cmdb"
    assert re.search(r"[d/](\w+)\.sock$", (folder / "penstock.ini").read_text(), re.M)[1] == name  # type: ignore[index]
    assert f"upstream penstock_{name} {{" in told("nginx", "penstock.ini")
    assert f"/etc/systemd/system/{name}.service" in told("systemd", "penstock.ini")
    assert f"NAME={name}\n" in told("sysv", "penstock.ini")
    assert f"[program:{name}]" in told("supervisor", "penstock.ini")
    assert f"/etc/sv/{name}/run" in told("runit", "penstock.ini")
    assert f"/srv/{name}:" in told("deploy", ".", "--plan", "--root", str(tmp_path / "root"), "--home", sys.prefix)
