"""`penstock init` as somebody types it: in Django projects, others, odd places, and where there is nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import Penstock, clean_environment, run_penstock
from tests.support.projects import MANAGE, SETTINGS_FILE, WSGI, make_django, manage, write_files

FLASK_LIKE = """
class Flask:
    def __init__(self, name):
        self.name = name

    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"from the module\\n"]


app = Flask(__name__)
"""


def findings(file: Path) -> list[str]:
    """The codes that `penstock check` has for a file, but what it says of whoever is root."""
    done = run_penstock("check", "--json", file)
    return [each["id"] for each in json.loads(done.stdout)["findings"] if each["id"] != "runs-as-root"]


def get_from(folder: Path, configuration: Path, target: str, host: str = "localhost") -> tuple[int, str]:
    """Start what was written, ask it by its unix socket, and stop it."""
    with Penstock(configuration, cwd=folder) as instance:
        socket = next(folder.rglob("*.sock"))
        response = get(str(socket), target, {"Host": host})
        instance.stop()
    assert not list(folder.rglob("*.sock")) and not list(folder.rglob("*.pid"))
    return response.status, response.text


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_django(tmp_path_factory.mktemp("init") / "cmdb")
    manage(folder, "migrate", "-v0")
    manage(folder, "collectstatic", "--noinput", "-v0")
    return folder


@pytest.mark.parametrize("kind", ["ini", "toml", "yaml", "json"])
def test_what_it_writes_for_django_has_no_findings_and_serves(django: Path, kind: str) -> None:
    done = run_penstock("init", "--to", kind, "--force", cwd=django)
    assert done.returncode == 0, done.stderr
    file = django / f"penstock.{kind}"
    assert findings(file) == []
    status, page = get_from(django, file, "/admin/login/")
    assert status == 200 and "Django administration" in page
    assert get_from(django, file, "/static/admin/css/base.css")[0] == 200
    file.unlink()


def test_it_says_what_it_found_and_what_to_type(django: Path) -> None:
    done = run_penstock("init", "--output", "other.ini", cwd=django)
    assert done.returncode == 0, done.stderr
    for words in (
        "Django 5.",
        "cmdb.wsgi:application",
        "cmdb.settings",
        "threads each",
        "--http 127.0.0.1:",
        "penstock check",
    ):
        assert words in done.stdout
    # Nobody gets the tracebacks of what startproject makes.
    assert "penstock doctor other.ini   before visitors come: django-errors-nowhere" in done.stdout
    text = (django / "other.ini").read_text()
    assert "module = cmdb.wsgi:application" in text and "env = DJANGO_SETTINGS_MODULE=cmdb.settings" in text
    assert "static-map = /static=%dstatic" in text.splitlines()
    assert "# static-map = /media=%dmedia" in text.splitlines()
    (django / "other.ini").unlink()


def test_static_files_that_are_not_collected_yet_wait_as_a_comment(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb")
    assert run_penstock("init", cwd=folder).returncode == 0
    assert "# static-map = /static=%dstatic" in (folder / "penstock.ini").read_text().splitlines()
    assert findings(folder / "penstock.ini") == []


def test_a_file_that_is_there_is_replaced_only_by_force_and_the_difference_shown(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"app.py": FLASK_LIKE})
    file = folder / "penstock.ini"
    file.write_text("[uwsgi]\nhttp = :8000\n")
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 1 and "is there already" in done.stderr and "--force" in done.stderr
    assert file.read_text() == "[uwsgi]\nhttp = :8000\n"
    done = run_penstock("init", "--force", cwd=folder)
    assert done.returncode == 0 and "-http = :8000" in done.stdout and "+module = app:app" in done.stdout
    written = file.read_text()
    done = run_penstock("init", "--force", cwd=folder)
    assert done.returncode == 0 and "as it should be" in done.stdout and file.read_text() == written


def test_print_writes_nothing(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"app.py": FLASK_LIKE})
    done = run_penstock("init", "--print", "--toml", cwd=folder)
    assert done.returncode == 0 and "app:app" in done.stdout and "workers" in done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["app.py"]


def test_a_plain_wsgi_module_is_served(short_dir: Path) -> None:
    folder = write_files(short_dir, {"app.py": FLASK_LIKE})
    assert run_penstock("init", cwd=folder).returncode == 0
    assert findings(folder / "penstock.ini") == []
    assert get_from(folder, folder / "penstock.ini", "/") == (200, "from the module\n")


def test_a_factory_in_a_package_below_src_is_served(short_dir: Path) -> None:
    factory = FLASK_LIKE.replace("app = Flask(__name__)", "def create_app():\n    return Flask(__name__)")
    folder = write_files(short_dir, {"src/shop/__init__.py": factory})
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "penstock.ini").read_text()
    assert "chdir = %dsrc" in text and "module = shop:create_app()" in text
    assert get_from(folder, folder / "penstock.ini", "/") == (200, "from the module\n")


def test_an_asgi_only_project_is_told_that_it_is_not_served_yet(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"main.py": "from fastapi import FastAPI\n\napp = FastAPI()\n"})
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 1 and not (folder / "penstock.ini").exists()
    assert "main:app" in done.stderr and "WSGI only as yet" in done.stderr and "a2wsgi" in done.stderr


def test_no_project_says_what_was_looked_for(tmp_path: Path) -> None:
    done = run_penstock("init", cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "looked for manage.py" in done.stderr and str(tmp_path) in done.stderr and "fix: " in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "there is no folder"),
        (["a", "b"], "one project at a time"),
        (["--to", "xml"], "can not write xml"),
        (["--to"], "needs a value"),
        (["--fast"], "there is no option --fast"),
        (["--settings", "cmdb/settings.py"], "--settings cmdb.settings"),
    ],
)
def test_words_that_make_no_sense_are_told(tmp_path: Path, words: list[str], said: str) -> None:
    done = run_penstock("init", *words, cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_uwsgi_ini_is_said_to_run_unchanged(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"app.py": FLASK_LIKE})
    (folder / "uwsgi.ini").write_text("[uwsgi]\nhttp = :8000\nmodule = app:app\n")
    done = run_penstock("init", cwd=folder)
    said = " ".join(done.stdout.split())
    assert "uwsgi.ini runs unchanged: penstock uwsgi.ini" in said and "penstock convert uwsgi.ini --to toml" in said


def test_folders_with_spaces_percents_and_other_letters(short_dir: Path) -> None:
    folder = write_files(short_dir / "my 50% pröject", {"back_end/app.py": FLASK_LIKE})
    (folder / "back_end").rename(folder / "back 100%d")
    done = run_penstock("init", folder)
    assert done.returncode == 0, done.stderr
    assert findings(folder / "penstock.ini") == []
    assert get_from(folder, folder / "penstock.ini", "/") == (200, "from the module\n")


def test_a_path_that_no_configuration_can_hold_is_told(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"back/app.py": FLASK_LIKE})
    (folder / "back").rename(folder / "b $(HOME)")
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 1 and "can not stand in a configuration" in done.stderr


def test_a_long_path_gets_an_address_instead_of_a_socket(tmp_path: Path) -> None:
    folder = write_files(tmp_path / ("long" * 20) / ("longer" * 10), {"app.py": FLASK_LIKE})
    assert run_penstock("init", cwd=folder).returncode == 0
    assert "http = 127.0.0.1:" in (folder / "penstock.ini").read_text()


def test_django_that_does_not_come_up_still_gets_its_file(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path,
        {
            "manage.py": MANAGE.format("shop.settings"),
            "shop/settings.py": SETTINGS_FILE + "import no_such_library\n",
            "shop/wsgi.py": WSGI.format("shop.settings"),
        },
    )
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 0 and "did not come up" in done.stdout and "no_such_library" in done.stdout
    assert "module = shop.wsgi:application" in (folder / "penstock.ini").read_text()


def test_settings_that_are_named_are_taken(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path,
        {
            "manage.py": MANAGE.format("shop.settings.local"),
            "shop/settings/__init__.py": "",
            "shop/settings/local.py": SETTINGS_FILE,
            "shop/settings/production.py": SETTINGS_FILE,
            "shop/wsgi.py": WSGI.format("shop.settings.local"),
        },
    )
    done = run_penstock("init", "--print", cwd=folder)
    assert "shop.settings.production (named for production), not shop.settings.local" in " ".join(done.stderr.split())
    done = run_penstock("init", "--print", "--settings", "shop.settings.local", cwd=folder)
    assert "env = DJANGO_SETTINGS_MODULE=shop.settings.local" in done.stdout


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path) -> None:
    folder = write_files(tmp_path, {"app.py": FLASK_LIKE})
    (folder / "penstock.ini").mkdir()
    done = run_penstock("init", "--force", cwd=folder)
    assert done.returncode == 1 and "penstock.ini" in done.stderr and "Traceback" not in done.stderr


def test_a_working_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'cd gone && rmdir ../gone && exec "$@"', "sh", sys.executable, "-m", "penstock", "init"],
        cwd=(tmp_path / "gone").mkdir() or tmp_path,
        env={**clean_environment(), "PYTHONPATH": os.getcwd()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr and "nothing was written" in done.stderr


def test_a_project_with_an_environment_of_its_own_is_served_by_that(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings="import sys\nSESSION_COOKIE_NAME = sys.prefix\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    site = next((folder / "venv/lib").glob("python3*/site-packages"))
    (site / "those_of_the_tests.pth").write_text(f"{Path(__import__('django').__file__).parent.parent}\n")
    views = folder / "shop/views.py"
    views.write_text(views.read_text().replace('"shop\\n"', "__import__('sys').prefix"))
    done = run_penstock("init", cwd=folder)
    assert done.returncode == 0 and "venv (in the project)" in " ".join(done.stdout.split()), done.stdout + done.stderr
    assert "home = %dvenv" in (folder / "penstock.ini").read_text()
    assert findings(folder / "penstock.ini") == []
    assert get_from(folder, folder / "penstock.ini", "/") == (200, str(folder / "venv"))


def test_websockets_of_channels_are_said_to_be_missing(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "cmdb", settings="INSTALLED_APPS = ['channels', *INSTALLED_APPS]")
    write_files(folder, {"channels/__init__.py": ""})
    done = run_penstock("init", "--print", cwd=folder)
    assert done.returncode == 0 and "channels is installed" in done.stderr and "websockets" in done.stderr
