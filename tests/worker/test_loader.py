"""Loading an app: what is found, and what a person is told where it is not."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.worker import loader
from penstock.worker.loader import AppNotLoaded, load_app, module_name, no_app
from tests.worker.fake_master import app_plan

Write = Callable[..., None]


@pytest.fixture(autouse=True)
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in the project, as a generation does, and forget its modules afterwards."""
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(str(project))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def failure(project: Path, **changes: Any) -> AppNotLoaded:
    """Load what does not load."""
    with pytest.raises(AppNotLoaded) as caught:
        load_app(app_plan(project, **changes))
    return caught.value


def test_a_module(project: Path) -> None:
    app = load_app(app_plan(project))
    assert app({}, lambda status, headers: None) == [b"hello"]


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("shop_site", "application"),
        ("shop_site", ""),
        ("shop_site:application", "ignored"),
        ("package.inner", "holder.app"),
        ("package.inner", "make()"),
        ("package.inner", "Holder().app"),
        ("package.inner:make()", "application"),
    ],
)
def test_ways_to_name_it(project: Path, write: Write, target: str, name: str) -> None:
    write("", "package/__init__.py")
    write(
        "class Holder:\n"
        "    def app(self, environ, start_response):\n"
        "        return []\n"
        "holder = Holder()\n"
        "def make():\n"
        "    return holder.app\n",
        "package/inner.py",
    )
    assert callable(load_app(app_plan(project, target=target, callable=name)))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/app/chall.py", "uwsgi_file__app_chall"),
        ("./main.py", "uwsgi_file___main"),
        ("main.py", "uwsgi_file_main"),
        ("shop/app.wsgi", "uwsgi_file_shop_app"),
    ],
)
def test_a_file_s_module_is_named_as_uwsgi_names_it(path: str, name: str) -> None:
    assert module_name(path) == name


def test_a_file(project: Path, write: Write) -> None:
    write("where = __file__\nname = __name__\ndef application(e, s): return [name.encode()]\n", "run.wsgi")
    app = load_app(app_plan(project, kind="file", target="run.wsgi"))
    assert app({}, None) == [b"uwsgi_file_run"]
    assert sys.modules["uwsgi_file_run"].where == str(project / "run.wsgi")
    assert not (project / "__pycache__").exists()


def test_the_missing_name_is_compared_with_what_is_there(project: Path, write: Write) -> None:
    write("def app(environ, start_response): return []\ndef helper(): pass\n")
    told = failure(project)
    assert told.reason == "module shop_site has no attribute application; did you mean app?"
    assert told.advice == ("callable = app (or module = shop_site:app)",)
    assert told.traceback == ""


def test_a_factory_is_offered_with_its_parentheses(project: Path, write: Write) -> None:
    write("def get_wsgi_application(): return None\n", "wsgi.py")
    told = failure(project, kind="file", target="wsgi.py")
    assert "did you mean get_wsgi_application()?" in told.reason
    assert str(project / "wsgi.py") in told.reason
    assert told.advice == ("callable = get_wsgi_application()",)


def test_a_slip_of_the_pen_in_the_callable(project: Path) -> None:
    assert "did you mean application?" in failure(project, callable="aplication").reason


def test_a_module_that_defines_nothing_alike(project: Path, write: Write) -> None:
    write("colour = 'green'\n")
    assert failure(project).advice == (
        "define it there, or name the one that is there: callable = ... (it has colour)",
    )


def test_what_can_not_be_called(project: Path, write: Write) -> None:
    write("application = 'shop'\n")
    assert "application of module shop_site is of type str and can not be called" in failure(project).reason


@pytest.mark.parametrize(
    "source",
    [
        "async def application(scope, receive, send): pass\n",
        "class A:\n    async def __call__(self, scope, receive, send): pass\napplication = A()\n",
    ],
)
def test_an_asgi_application_is_recognised(project: Path, write: Write, source: str) -> None:
    write(source)
    assert "is an ASGI application" in failure(project).reason


def test_a_class_may_be_the_application(project: Path, write: Write) -> None:
    write("class application:\n    def __init__(self, e, s): pass\n    def __iter__(self): return iter([b'x'])\n")
    assert list(load_app(app_plan(project))({}, None)) == [b"x"]


def test_the_target_is_not_found_but_its_directory_is_near(project: Path, write: Write) -> None:
    write("", "src/shop/__init__.py")
    told = failure(project, target="shop.wsgi")
    assert "No module named 'shop'" in told.reason
    assert f"shop is in {project}/src: chdir = {project}/src" in told.advice
    assert f"the import looks in {project}" in failure(project, target="not_anywhere.wsgi").advice[0]


def test_a_file_name_given_as_a_module(project: Path) -> None:
    told = failure(project, target="other/wsgi.py")
    assert told.advice == ("module takes a dotted name: module = other.wsgi, or wsgi-file = other/wsgi.py",)


def django_like(write: Write) -> None:
    """Lay the files out as `startproject cmdb` does inside of a directory of the same name."""
    write("", "cmdb/__init__.py")
    write("def application(environ, start_response): return []\n", "cmdb/wsgi.py")
    write("", "cmdb/settings.py")
    write("", "assets/__init__.py")


@pytest.mark.parametrize(
    ("target", "cure"),
    [
        ("cmdb.wsgl", "did you mean cmdb.wsgi? module = cmdb.wsgi"),
        ("cmdb.wsgl:application", "did you mean cmdb.wsgi? module = cmdb.wsgi:application"),
        ("cmbd.wsgi", "did you mean cmdb? module = cmdb.wsgi"),
        ("cmdb.wsgi.application", "application is a name in the module cmdb.wsgi: module = cmdb.wsgi:application"),
        ("cmdb", "the package has wsgi: module = cmdb.wsgi"),
        ("cmdb/wsgi", "module takes a dotted name: module = cmdb.wsgi, or wsgi-file = cmdb/wsgi.py"),
    ],
)
def test_slips_in_the_module_of_a_usual_project(project: Path, write: Write, target: str, cure: str) -> None:
    """The directory around the project often has the name of the package: it must not be offered as chdir."""
    django_like(write)
    assert failure(project, target=target).advice == (cure,)


def test_a_chdir_one_level_too_high(project: Path, write: Write) -> None:
    write("application = print\n", "shop/shop/wsgi.py")
    told = failure(project, target="shop.wsgi")
    assert told.advice == (f"shop.wsgi is in {project}/shop: chdir = {project}/shop",)


@pytest.mark.parametrize(
    ("target", "meant"),
    [("cmdb/wsgl.py", "cmdb/wsgi.py"), ("cmbd/wsgi.py", "cmdb/wsgi.py"), ("wsgi.py", "cmdb/wsgi.py")],
)
def test_slips_in_the_name_of_a_file(project: Path, write: Write, target: str, meant: str) -> None:
    django_like(write)
    told = failure(project, kind="file", target=target)
    assert told.advice == (f"did you mean {meant}? wsgi-file = {meant}",)


def test_a_slip_in_the_name_of_a_module_of_the_project(project: Path, write: Write) -> None:
    """INSTALLED_APPS with `asets`: the user must not look for it on PyPI."""
    django_like(write)
    write("import asets\n")
    assert failure(project).advice == (f"assets is in {project}; did you mean it?",)
    write("import cmdb.setings\n")
    assert failure(project).advice == (f"cmdb.settings is in {project}/cmdb; did you mean it?",)


def test_a_settings_module_that_is_not_there(project: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    django_like(write)
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "cmdb.setings")
    write("import importlib, os\nimportlib.import_module(os.environ['DJANGO_SETTINGS_MODULE'])\n")
    assert failure(project).advice == (
        "DJANGO_SETTINGS_MODULE is 'cmdb.setings', and there is no such module; did you mean cmdb.settings?",
    )


def test_a_library_that_is_missing_and_an_environment_beside(project: Path, write: Write) -> None:
    write("import not_installed_anywhere\n")
    assert "-m pip install" in failure(project).advice[0]
    write("home = /usr\n", "venv/pyvenv.cfg")
    told = failure(project)
    assert told.advice == (f"there is a virtual environment beside the project: home = {project}/venv",)
    assert f"at {project}/shop_site.py:1 (import not_installed_anywhere)" in told.reason


def test_a_wsgi_file_that_is_not_there(project: Path) -> None:
    told = failure(project, kind="file", target="wsgi.py")
    assert "FileNotFoundError" in told.reason
    assert told.advice == (f"wsgi-file counts from the directory {project} (chdir); is the name right?",)


def test_a_directory_given_as_a_wsgi_file(project: Path, write: Write) -> None:
    write("", "inner/app.py")
    told = failure(project, kind="file", target="inner")
    assert told.advice == ("wsgi-file is the path of a file: wsgi-file = inner/app.py",)
    (project / "inner" / "app.py").unlink()
    assert failure(project, kind="file", target="inner").advice[0].endswith("wsgi-file = PATH/wsgi.py")


def test_a_syntax_error_is_where_it_is(project: Path, write: Write) -> None:
    write("import views\n")
    write("x = 1\nif x\n    pass\n", "views.py")
    told = failure(project)
    assert told.reason.startswith("SyntaxError: expected ':' at ")
    assert f"{project}/views.py:2" in told.reason
    assert "if x" in told.traceback


def test_the_first_cause_and_the_user_s_own_line(project: Path, write: Write) -> None:
    # json is the innermost frame, but the line to mend is the user's.
    write("import json\ndef read():\n    return json.loads('{')\n", "settings.py")
    write(
        "import settings\n"
        "try:\n"
        "    settings.read()\n"
        "except ValueError as error:\n"
        "    raise RuntimeError('bad settings') from error\n"
    )
    told = failure(project)
    assert told.reason.startswith(f"RuntimeError: bad settings at {project}/shop_site.py:5")
    assert "; first cause: json.decoder.JSONDecodeError" in told.reason
    assert f"at {project}/settings.py:3 (return json.loads('{{'))" in told.reason
    assert "penstock" not in told.traceback.replace(str(project), "")


def test_a_chain_that_was_cut_ends_where_it_was_cut(project: Path, write: Write) -> None:
    write("try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise RuntimeError('outer') from None\n")
    assert "first cause" not in failure(project).reason


def test_a_factory_that_fails_is_reported_with_its_own_line(project: Path, write: Write) -> None:
    write("def create_app():\n    raise KeyError('DATABASE_URL')\n")
    told = failure(project, callable="create_app()")
    assert told.reason == (f"KeyError: 'DATABASE_URL' at {project}/shop_site.py:2 (raise KeyError('DATABASE_URL'))")


@pytest.mark.parametrize(("call", "status"), [("sys.exit(3)", 3), ("sys.exit()", 0), ("sys.exit('no')", 1)])
def test_sys_exit(project: Path, write: Write, call: str, status: int) -> None:
    write(f"import sys\n{call}\n")
    told = failure(project)
    assert told.exit_code == status
    assert told.reason.startswith(call)


def test_an_interrupt_is_a_failure_too(project: Path, write: Write) -> None:
    write("raise KeyboardInterrupt\n")
    assert failure(project).reason.startswith("KeyboardInterrupt")


def test_no_app_configured(project: Path) -> None:
    assert failure(project, kind="none", target="").reason == "no application is configured"


def test_the_whole_text_ends_with_the_cures(project: Path, write: Write) -> None:
    write("app = print\n")
    assert str(failure(project)).splitlines()[-1].startswith("cure: callable = app")


def test_the_stand_in_answers_500() -> None:
    errors = io.StringIO()
    got: list[Any] = []
    body = b"".join(no_app({"wsgi.errors": errors}, lambda status, headers: got.extend([status, dict(headers)])))
    assert got[0] == "500 Internal Server Error"
    assert got[1]["Content-Length"] == str(len(body))
    assert "no python application found" in errors.getvalue()


def test_libraries_are_told_from_the_user_s_code() -> None:
    assert loader._is_library(os.__file__)
    assert loader._is_library("/srv/venv/lib/python3.11/site-packages/django/db/__init__.py")
    assert not loader._is_library("/srv/shop/settings.py")
