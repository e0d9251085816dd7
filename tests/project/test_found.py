"""Finding a project by its files: Django's, other applications, environments, and what to say where there is none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock.plan.machine import Machine
from penstock.project.found import NoProject, Project, find
from penstock.values import fields
from tests.support.projects import MANAGE, SETTINGS_FILE, WSGI, found, make_django, write_files

OTHER_VERSION = "3.9" if sys.version_info[:2] != (3, 9) else "3.10"
FLASK = "from flask import Flask\n\napp = Flask(__name__)\n"


def make_environment(folder: Path, *packages: str, version: str = "") -> Path:
    """Make what is read of a virtual environment: its file, its interpreter and its packages."""
    version = version or f"{sys.version_info[0]}.{sys.version_info[1]}"
    site = folder / f"lib/python{version}/site-packages"
    site.mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/python").symlink_to(os.path.realpath(sys.executable))
    (folder / "pyvenv.cfg").write_text(f"home = /usr/bin\nversion = {version}.7\n")
    for package in packages:
        write_files(site, {f"{package}/__init__.py": ""})
    return folder


def of_django(folder: Path, named: str = "shop.settings", *, wsgi: str = "", settings: Mapping[str, str] = {}) -> Path:
    """Write a Django project: what manage.py and wsgi.py name, and settings at their paths."""
    files = {"manage.py": MANAGE.format(named), "shop/wsgi.py": WSGI.format(wsgi or named)}
    return write_files(folder, {**files, **(settings or {"shop/settings.py": SETTINGS_FILE})})


def bare(folder: Path, **environ: str) -> Project:
    """Find a project with the eyes of a Penstock whose own Python has no packages."""
    return find(folder, {"HOME": str(folder / "home"), **environ}, machine=without_packages())


def without_packages() -> Machine:
    """This machine, with another Python for Penstock."""

    class Bare(Machine):
        def site_directories(self) -> list[str]:
            return []

    return Bare(**{each.name: getattr(Machine.here(), each.name) for each in fields(Machine)})


# -- Django ------------------------------------------------------------------------------------------------------------


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
    of_django(tmp_path / "src")
    project = found(tmp_path)
    assert project.folder == str(tmp_path / "src") and project.root == str(tmp_path)
    assert project.wsgi == "shop.wsgi:application"


def test_of_several_projects_the_nearest_is_taken_and_the_others_named(tmp_path: Path) -> None:
    of_django(tmp_path / "tools/old")
    of_django(tmp_path / "zoo")
    of_django(tmp_path / "backend")
    project = found(tmp_path)
    assert project.folder == str(tmp_path / "backend")
    choice = next(each for each in project.choices if each.what == "project")
    assert set(choice.others) == {"tools/old/manage.py", "zoo/manage.py"} and "penstock init FOLDER" in choice.otherwise


def test_a_manage_py_that_is_not_djangos_is_none(tmp_path: Path) -> None:
    write_files(tmp_path, {"manage.py": "print('manager')\n", "app.py": FLASK})
    assert found(tmp_path).wsgi == "app:app"


@pytest.mark.parametrize(
    ("named", "wsgi", "modules", "taken"),
    [
        # What wsgi.py names comes before what manage.py names.
        ("shop.settings.local", "shop.settings.live", ["__init__", "local", "live"], "shop.settings.live"),
        # Named for development, and one for production is beside it.
        ("shop.settings.dev", "shop.settings.dev", ["__init__", "base", "dev", "prod"], "shop.settings.prod"),
        ("shop.settings.base", "", ["__init__", "base", "production", "test"], "shop.settings.production"),
        # A package that says nothing.
        ("shop.settings", "", ["__init__", "local", "production"], "shop.settings.production"),
        # Nothing for production: what is named.
        ("shop.settings.local", "", ["__init__", "local", "test"], "shop.settings.local"),
    ],
)
def test_settings_are_picked_by_rules(tmp_path: Path, named: str, wsgi: str, modules: list[str], taken: str) -> None:
    files = {f"shop/settings/{name}.py": "" if name == "__init__" else SETTINGS_FILE for name in modules}
    project = found(of_django(tmp_path, named, wsgi=wsgi, settings={"shop/__init__.py": "", **files}))
    assert project.settings == taken
    assert project.settings_file == str(tmp_path / (taken.replace(".", "/") + ".py"))
    if len(modules) > 2:
        assert any(each.what == "settings" and "DJANGO_SETTINGS_MODULE" in each.otherwise for each in project.choices)


def test_settings_beside_each_other_in_the_project(tmp_path: Path) -> None:
    files = {
        "shop/settings_dev.py": SETTINGS_FILE,
        "shop/settings_prod.py": SETTINGS_FILE,
        "shop/dev.py": SETTINGS_FILE,
    }
    assert found(of_django(tmp_path, "shop.dev", settings=files)).settings == "shop.settings_prod"


def test_the_environment_names_settings_if_they_are_the_projects(tmp_path: Path) -> None:
    files = {"shop/settings.py": SETTINGS_FILE, "shop/special.py": SETTINGS_FILE}
    of_django(tmp_path, settings=files)
    assert found(tmp_path, DJANGO_SETTINGS_MODULE="shop.special").settings == "shop.special"
    assert found(tmp_path, DJANGO_SETTINGS_MODULE="another.settings").settings == "shop.settings"


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"', "shop.settings"),
        ('os.environ.setdefault("DJANGO_SETTINGS_MODULE", os.getenv("WHICH", "shop.settings"))', "shop.settings"),
        ('os.environ.setdefault("DJANGO_SETTINGS_MODULE", f"shop.{1}")', None),
    ],
)
def test_how_manage_py_names_the_settings(tmp_path: Path, line: str, named: str | None) -> None:
    write_files(tmp_path, {"manage.py": f"import os\n{line}\n", "shop/urls.py": ""})
    project = found(tmp_path)
    assert project.settings == named and project.framework == "django"
    if named is None:
        assert "which only its run can tell" in project.notes[0]


def test_wsgi_application_of_the_settings_counts(tmp_path: Path) -> None:
    settings = SETTINGS_FILE + 'WSGI_APPLICATION = "shop.server.app"\n'
    of_django(tmp_path, settings={"shop/settings.py": settings, "shop/server.py": WSGI.format("shop.settings")})
    assert found(tmp_path).wsgi == "shop.server:app"


def test_django_without_manage_py_is_known_by_its_wsgi_py(tmp_path: Path) -> None:
    write_files(tmp_path, {"shop/wsgi.py": WSGI.format("shop.settings"), "shop/settings.py": SETTINGS_FILE})
    project = found(tmp_path)
    assert project.framework == "django" and project.manage is None
    assert (project.folder, project.settings) == (str(tmp_path), "shop.settings")


# -- other applications ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "target", "library"),
    [
        ({"app.py": FLASK}, "app:app", "flask"),
        ({"main.py": "import bottle\napplication = bottle.default_app()\n"}, "main:application", "bottle"),
        ({"wsgi.py": "def application(environ, start_response):\n    return []\n"}, "wsgi:application", ""),
        ({"x.py": "def serve_it(environ, start_response):\n    return []\n"}, "x:serve_it", ""),
        ({"wsgi.py": "from shop import app\n", "shop/__init__.py": FLASK}, "wsgi:app", "flask"),
        ({"wsgi.py": "from shop.web import app as application\n", "shop/web.py": FLASK}, "wsgi:application", "flask"),
        (
            {"shop/__init__.py": "", "shop/wsgi.py": "from .web import app\n", "shop/web.py": FLASK},
            "shop.wsgi:app",
            "flask",
        ),
        ({"shop/__init__.py": "def create_app():\n    return 1\n"}, "shop:create_app()", ""),
        ({"wsgi.py": "from shop import create_app\napp = create_app()\n", "shop/__init__.py": ""}, "wsgi:app", ""),
        ({"run.py": "from shop import app\napp.run()\n", "shop/__init__.py": FLASK}, "shop:app", "flask"),
        ({"app.py": f"{FLASK}if __name__ == '__main__':\n    app.run()\n"}, "app:app", "flask"),
        ({"app.py": "import falcon\napp = falcon.App()\n"}, "app:app", "falcon"),
        ({"app.py": FLASK + "app = ProxyFix(app)\n", "asgi.py": "app = FastAPI()\n"}, "app:app", "flask"),
        ({"tests/app.py": FLASK, "deep/one/two/three/app.py": FLASK, "shop.py": FLASK}, "shop:app", "flask"),
        ({"app.py": "try:\n    app = Flask('x')\nexcept Exception:\n    raise\n"}, "app:app", "flask"),
    ],
)
def test_wsgi_applications_are_found_by_reading(
    tmp_path: Path, files: dict[str, str], target: str, library: str
) -> None:
    project = found(write_files(tmp_path, files))
    assert (project.framework, project.wsgi, project.library) == ("wsgi", target, library)


@pytest.mark.parametrize(
    "source",
    [
        "from fastapi import FastAPI\napp = FastAPI()\n",
        "async def app(scope, receive, send):\n    pass\n",
        "import falcon.asgi\napp = falcon.asgi.App()\n",
        "app: Starlette = Starlette(routes=[])\n",
        "def create_app():\n    return FastAPI()\n",
    ],
)
def test_asgi_applications_are_told_apart(tmp_path: Path, source: str) -> None:
    project = found(write_files(tmp_path, {"main.py": source}))
    assert project.framework == "asgi" and project.wsgi is None and (project.asgi or "").startswith("main:")


def test_where_both_are_there_wsgi_is_taken_and_asgi_known(tmp_path: Path) -> None:
    project = found(write_files(tmp_path, {"api.py": "app = FastAPI()\n", "site/pages.py": FLASK}))
    assert (project.framework, project.wsgi, project.asgi) == ("wsgi", "pages:app", "api:app")
    assert any(each.what == "application" and "WSGI before ASGI" in each.rule for each in project.choices)


@pytest.mark.parametrize(
    "content",
    [b"app = Flask(", b"\x00\x01\x02", b"\xff\xfe\xfa", b"(" * 5000, b"x = '\\d'\n", "app = ж\n".encode("utf-16")],
)
def test_files_that_are_no_python_are_passed_over(tmp_path: Path, content: bytes) -> None:
    write_files(tmp_path, {"zz.py": FLASK})
    (tmp_path / "app.py").write_bytes(content)
    assert found(tmp_path).wsgi == "zz:app"


# -- environments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".venv", "venv", "env", "anything-else"])
def test_an_environment_in_the_project_is_taken(tmp_path: Path, name: str) -> None:
    of_django(tmp_path / "cmdb")
    home = make_environment(tmp_path / "cmdb" / name, "django")
    project = bare(tmp_path / "cmdb")
    assert project.home == str(home) and project.python == str(home / "bin/python") and project.notes == ()
    assert project.environment is not None and project.environment.has_engine


def test_an_environment_beside_the_project_is_taken(tmp_path: Path) -> None:
    of_django(tmp_path / "cmdb")
    home = make_environment(tmp_path / "venv", "django")
    assert bare(tmp_path / "cmdb").home == str(home)


def test_the_one_that_has_django_is_taken_and_the_others_named(tmp_path: Path) -> None:
    of_django(tmp_path)
    make_environment(tmp_path / ".venv")
    home = make_environment(tmp_path / "env", "django")
    other = make_environment(tmp_path / "elsewhere/tools", "django")
    project = bare(tmp_path, VIRTUAL_ENV=str(other))
    assert project.home == str(home)
    choice = next(each for each in project.choices if each.what == "virtual environment")
    assert choice.picked == "env" and set(choice.others) == {".venv", "elsewhere/tools"}


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_the_active_environment_is_taken_where_none_is_near(tmp_path: Path, variable: str) -> None:
    of_django(tmp_path / "cmdb")
    home = make_environment(tmp_path / "far/away", "django")
    assert bare(tmp_path / "cmdb", **{variable: str(home)}).home == str(home)
    assert bare(tmp_path / "cmdb", CONDA_PREFIX=str(home), CONDA_DEFAULT_ENV="base").home is None


@pytest.mark.parametrize(
    "place",
    [".cache/pypoetry/virtualenvs/cmdb-Ab3_dEf9-py3.11", ".local/share/virtualenvs/cmdb-Ab3_dEf9", ".virtualenvs/x"],
)
def test_environments_that_tools_keep_in_the_home_directory(tmp_path: Path, place: str) -> None:
    of_django(tmp_path / "cmdb")
    home = make_environment(tmp_path / "home" / place, "django")
    environ = {"HOME": str(tmp_path / "home")}
    wanted = str(home) if "virtualenvs/cmdb" in place else None
    assert find(tmp_path / "cmdb", environ, machine=without_packages()).home == wanted


def test_an_environment_of_conda_is_known(tmp_path: Path) -> None:
    of_django(tmp_path)
    home = make_environment(tmp_path / ".conda", "django")
    (home / "pyvenv.cfg").unlink()
    (home / "conda-meta").mkdir()
    project = bare(tmp_path)
    assert project.home == str(home) and project.python_version == f"{sys.version_info[0]}.{sys.version_info[1]}"


def test_an_environment_of_another_python_is_told(tmp_path: Path) -> None:
    of_django(tmp_path)
    make_environment(tmp_path / "venv", "django", version=OTHER_VERSION)
    project = bare(tmp_path)
    assert project.python_version == OTHER_VERSION and project.environment and not project.environment.has_engine
    assert f"of Python {OTHER_VERSION}" in project.notes[0] and "install Penstock with" in project.notes[0]


def test_an_environment_that_is_broken_or_lacks_django_is_told(tmp_path: Path) -> None:
    of_django(tmp_path)
    home = make_environment(tmp_path / "venv")
    assert "django is not installed in" in find(tmp_path, {}, machine=without_packages()).notes[0]
    (home / "bin/python").unlink()
    assert "can not be run" in find(tmp_path, {}, machine=without_packages()).notes[0]


def test_penstocks_own_python_is_taken_where_it_has_django_and_the_projects_environment_has_not(tmp_path: Path) -> None:
    of_django(tmp_path)
    make_environment(tmp_path / "venv")
    project = found(tmp_path)
    assert project.home is None and project.python == sys.executable and len(project.environments) == 1


# -- what is in it -----------------------------------------------------------------------------------------------------


def test_requirements_in_the_order_in_which_they_count(tmp_path: Path) -> None:
    of_django(tmp_path)
    for name in ("requirements.txt", "uv.lock", "pyproject.toml", "Pipfile"):
        (tmp_path / name).touch()
    assert [each.kind for each in found(tmp_path).requirements] == ["uv", "pipenv", "requirements", "pyproject"]


def test_configurations_of_uwsgi_are_found(tmp_path: Path) -> None:
    of_django(tmp_path)
    for name in ("cmdb.ini", "setup.ini", "uwsgi.yaml", "penstock.ini", "deploy/site.ini"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("[metadata]\n" if name == "setup.ini" else "[uwsgi]\n")
    names = [os.path.relpath(each, tmp_path) for each in found(tmp_path).uwsgi_files]
    assert names == ["cmdb.ini", "uwsgi.yaml", "deploy/site.ini"]


@pytest.mark.parametrize(
    ("name", "word"), [("my shop!", "my-shop"), ("ünï", "n"), ("app", "word"), ("cmdb_2", "cmdb-2")]
)
def test_the_name_is_a_word_for_files(tmp_path: Path, name: str, word: str) -> None:
    write_files(tmp_path / "word" / name, {"app.py": FLASK})
    assert found(tmp_path / "word" / name).name == word


# -- nothing -----------------------------------------------------------------------------------------------------------


def test_a_folder_without_a_project_says_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(NoProject, match="no Django project and no WSGI") as caught:
        found(tmp_path)
    assert any("manage.py" in line and str(tmp_path) in line for line in caught.value.looked)
    assert "penstock init FOLDER" in caught.value.cure


def test_a_folder_below_the_project_says_where_it_is(tmp_path: Path) -> None:
    of_django(tmp_path)
    with pytest.raises(NoProject, match="is one folder up"):
        found(write_files(tmp_path / "frontend", {"README.py": ""}))


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    write_files(tmp_path, {"app.py": FLASK})
    with pytest.raises(NoProject, match="is a file"):
        found(tmp_path / "app.py")
    with pytest.raises(NoProject, match="there is no folder"):
        found(tmp_path / "nowhere")


@contextmanager
def stranger() -> Iterator[None]:
    """Be a user who may not read what others keep to themselves."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    write_files(tmp_path / "closed", {"app.py": FLASK})
    for place in tmp_path.parents:
        if place.stat().st_uid == os.getuid() and not place.stat().st_mode & 0o001:
            place.chmod(place.stat().st_mode | 0o011)
    tmp_path.chmod(0o755)
    (tmp_path / "closed").chmod(0o000)
    try:
        with stranger(), pytest.raises(NoProject, match="can not be read: Permission denied") as caught:
            found(tmp_path / "closed")
        assert "chmod" in caught.value.cure
        with stranger(), pytest.raises(NoProject, match="no Django project"):
            # What is closed below is passed over.
            found(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o755)
