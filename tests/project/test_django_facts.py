"""What Django's settings come to, asked of a real project in a process of its own."""

from __future__ import annotations

import ast
import os
import shutil
import sys
from pathlib import Path

import django
import pytest

from penstock.project import ask_django
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.values import replace
from tests.e2e.harness import is_alive, until
from tests.support.projects import MANAGE, found, make_django, write_files


@pytest.fixture(scope="module")
def project_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_django(tmp_path_factory.mktemp("facts") / "cmdb")


def answer(folder: Path, settings: str, **how: float) -> DjangoFacts | Unanswered:
    """Ask with some settings on top."""
    module = f"case_{abs(hash(settings))}"
    write_files(folder, {f"cmdb/{module}.py": f"from .settings import *\n{settings}\n"})
    return ask(replace(found(folder), settings=f"cmdb.{module}"), **how)  # type: ignore[arg-type]


def facts_of(folder: Path, settings: str) -> DjangoFacts:
    facts = answer(folder, settings)
    assert isinstance(facts, DjangoFacts), facts
    return facts


def test_settings_are_told_as_django_has_them(project_dir: Path) -> None:
    facts = ask(found(project_dir))
    assert isinstance(facts, DjangoFacts)
    assert facts.settings == "cmdb.settings" and facts.settings_file == str(project_dir / "cmdb/settings.py")
    assert (facts.static_url, facts.static_root) == ("/static/", str(project_dir / "static"))
    assert (facts.media_url, facts.media_root) == ("/media/", str(project_dir / "media"))
    assert facts.allowed_hosts == ("shop.example.org", "localhost", "127.0.0.1")
    assert facts.debug is False and facts.secret_key == "example"
    assert facts.databases[0].vendor == "sqlite" and facts.databases[0].name == str(project_dir / "db.sqlite3")
    assert facts.admin_url == "/admin/" and not facts.static_is_hashed and not facts.caches_are_set
    assert facts.memory_bytes > 10 << 20
    assert (facts.migrations, facts.messages, facts.collected) == (None, None, None)


def test_what_is_asked_for_is_looked_at(project_dir: Path) -> None:
    facts = ask(found(project_dir), "migrations", "deploy", "static", "database")
    assert isinstance(facts, DjangoFacts) and facts.collected is not None and facts.messages is not None
    assert "shop.0001_initial" in facts.unapplied
    assert facts.collected.missing == facts.collected.total > 100
    assert any(message.id == "security.W009" for message in facts.messages)
    assert facts.databases[0].connection_limit is None


def test_no_secret_leaves_the_process(project_dir: Path) -> None:
    facts = facts_of(
        project_dir,
        "SECRET_KEY = 'geheim-1'\n"
        "DATABASES['default'].update(PASSWORD='geheim-2', OPTIONS={'passfile': 'geheim-3'})\n"
        "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache',"
        " 'LOCATION': ['redis://user:geheim-4@cache/0'], 'OPTIONS': {'password': 'geheim-5'}}}\n"
        "EMAIL_HOST_PASSWORD = 'geheim-6'\n",
    )
    assert "geheim" not in repr(facts)
    assert facts.caches[0].locations == ("redis://cache/0",) and facts.secret_key == "set" and facts.caches_are_set


def test_what_is_odd_is_told_nevertheless(project_dir: Path) -> None:
    facts = facts_of(
        project_dir,
        "STATIC_ROOT = None\nMEDIA_ROOT = ''\nSTATIC_URL = 'https://cdn.example.org/s/'\nALLOWED_HOSTS = ()\n"
        "STATICFILES_DIRS = [('prefix', BASE_DIR / 'assets'), BASE_DIR / 'more']\nDATA_UPLOAD_MAX_MEMORY_SIZE = None\n"
        "STORAGES = {'default': {'BACKEND': 'django.core.files.storage.InMemoryStorage'}, 'staticfiles': "
        "{'BACKEND': 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage'}}\n"
        "HANDLER = {'class': 'logging.FileHandler', 'filename': BASE_DIR / 'x.log'}\n"
        "LOGGING = {'version': 1, 'handlers': {'f': HANDLER}}\n"
        "ROOT_URLCONF = 'cmdb.nothing'\n",
    )
    assert (facts.static_root, facts.media_root, facts.allowed_hosts) == ("", "", ())
    assert facts.static_url == "https://cdn.example.org/s/" and facts.static_is_hashed
    assert facts.static_dirs == (str(project_dir / "assets"), str(project_dir / "more"))
    assert facts.data_upload_max_memory_size is None and facts.media_storage.endswith("InMemoryStorage")
    assert facts.log_files[0].path == str(project_dir / "x.log") and facts.admin_url == ""


def test_what_the_project_prints_is_no_answer(project_dir: Path) -> None:
    settings = "import sys\nprint('{\"facts\": {}}' * 9)\nsys.stderr.write('noise\\n')\nsys.stdout.flush()"
    assert facts_of(project_dir, settings).static_url == "/static/"


def test_a_project_that_does_not_come_up_is_told_with_the_line_at_fault(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings="import os\nos.environ['NOT_THERE']")
    told = ask(found(folder))
    assert isinstance(told, Unanswered)
    lines = (folder / "cmdb/settings.py").read_text().splitlines()
    assert told.file == str(folder / "cmdb/settings.py") and "NOT_THERE" in lines[told.line - 1]
    assert "KeyError: 'NOT_THERE'" in told.traceback and "environment variable" in told.cure


@pytest.mark.parametrize(
    ("settings", "reason", "cure"),
    [
        ("import no_such_library", "No module named 'no_such_library'", "pip install no_such_library"),
        ("def broken(:", "SyntaxError", "mend it"),
        ("INSTALLED_APPS += ['shopp']", "No module named 'shopp'", "pip install"),
        ("raise SystemExit('not today')", "SystemExit: not today", "mend it"),
        (
            "from django.core.exceptions import ImproperlyConfigured\nraise ImproperlyConfigured('no')",
            "no",
            "",
        ),
        (
            "import os\nprint('on', flush=True)\nos._exit(7)",
            "ended with 7 before it answered: on",
            "manage.py check",
        ),
        ("import os\nos.kill(os.getpid(), 11)", "was killed by signal 11", "manage.py check"),
    ],
)
def test_why_there_is_no_answer_is_told(project_dir: Path, settings: str, reason: str, cure: str) -> None:
    told = answer(project_dir, settings)
    assert isinstance(told, Unanswered)
    assert reason in told.reason and cure in told.cure


def test_a_project_that_hangs_is_given_up_with_all_that_it_started(project_dir: Path, tmp_path: Path) -> None:
    settings = (
        "import subprocess, sys\nprint('waiting for the database', flush=True)\n"
        f"started = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(started.pid))\nstarted.wait()"
    )
    told = answer(project_dir, settings, time_limit_s=5)
    assert isinstance(told, Unanswered) and "did not come up within 5 seconds" in told.reason
    assert "waiting for the database" in told.output
    started = int((tmp_path / "pid").read_text())
    until("what it started has ended", lambda: not is_alive(started))


def test_settings_that_nobody_knows_and_an_interpreter_that_is_not_there(tmp_path: Path, project_dir: Path) -> None:
    write_files(tmp_path, {"manage.py": MANAGE.replace('"{}"', "1 + 1")})
    told = ask(found(tmp_path))
    assert isinstance(told, Unanswered) and "DJANGO_SETTINGS_MODULE" in told.cure
    told = ask(replace(found(project_dir), python="/nowhere/python"))
    assert isinstance(told, Unanswered) and "/nowhere/python can not be run" in told.reason


def test_a_wsgi_py_that_puts_directories_on_the_path_counts(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings="INSTALLED_APPS += ['inside']")
    write_files(folder, {"apps/inside/__init__.py": ""})
    told = ask(found(folder))
    assert isinstance(told, Unanswered) and told.missing == "inside"
    wsgi = folder / "cmdb/wsgi.py"
    wsgi.write_text(f"import sys\nsys.path.append({str(folder / 'apps')!r})\n{wsgi.read_text()}")
    facts = ask(found(folder))
    assert isinstance(facts, DjangoFacts) and "inside" in facts.installed_apps


WHO = "import os\nBASE_DIR = f'{os.getuid()} {os.getgid()}'"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_it_can_be_asked_as_another_user(project_dir: Path) -> None:
    write_files(project_dir, {"cmdb/user.py": f"from .settings import *\n{WHO}\n"})
    facts = ask(replace(found(project_dir), settings="cmdb.user"), user=0, group=65534)
    assert isinstance(facts, DjangoFacts) and facts.base_dir == "0 65534"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_asks_as_the_owner_of_the_project(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings=WHO)
    os.chown(folder, 54321, 54322)
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.getuid():
            place.chmod(place.stat().st_mode | 0o011)
    packages = str(Path(django.__file__).parent.parent)
    python = next(filter(everybody_may_run, (sys.executable, "/usr/bin/python3")), "")
    if not python or not everybody_may_run(packages):
        pytest.skip("every Python with Django is root's alone here")
    facts = ask(replace(found(folder), python=python), environ={"PYTHONPATH": packages})
    assert isinstance(facts, DjangoFacts), facts
    assert facts.base_dir == "54321 54322"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_runs_nobody_elses_code_where_the_owner_may_not(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings=f"open({str(tmp_path / 'ran')!r}, 'w')")
    os.chown(folder, 54321, 54322)
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o700)
    facts = ask(replace(found(folder), python=str(tmp_path / "python")))
    assert isinstance(facts, Unanswered) and "54321 may not run" in facts.reason and "root" in facts.cure
    assert not (tmp_path / "ran").exists()


def everybody_may_run(path: str) -> bool:
    place = Path(os.path.realpath(path))
    return place.exists() and all(each.stat().st_mode & 0o001 for each in (place, *place.parents))


def test_a_look_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb")
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    (folder / "db.sqlite3").unlink(missing_ok=True)
    before = sorted(folder.rglob("*"))
    assert isinstance(ask(found(folder), "migrations", "deploy", "static", "database"), DjangoFacts)
    assert sorted(folder.rglob("*")) == before


def test_what_runs_in_the_projects_python_is_read_by_old_ones_too() -> None:
    source = Path(ask_django.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 8))
    imported = {
        alias.name.partition(".")[0] for node in tree.body if isinstance(node, ast.Import) for alias in node.names
    }
    assert imported <= sys.stdlib_module_names
