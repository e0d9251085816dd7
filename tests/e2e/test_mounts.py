"""Several applications in one instance: which one a request reaches, and what it is told of its path."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.clients import get, uwsgi_request
from tests.e2e.harness import Nginx, Penstock, read_stats, run_penstock, until

HTTP = ("--http", "127.0.0.1:0")
MOUNTED = ("--mount", "/shop=shop.py", "--mount", "/admin=admin:app")
BOTH = (*HTTP, "--socket", "127.0.0.1:0")
APP = """
import json
def {callable}(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(["{name}", environ["SCRIPT_NAME"], environ["PATH_INFO"]]).encode()]
"""
SETTINGS = """
SECRET_KEY, ALLOWED_HOSTS, ROOT_URLCONF, INSTALLED_APPS, USE_TZ = "x", ["*"], "{name}.urls", [], True
"""
URLS = """
from django.http import HttpResponse
from django.urls import re_path
urlpatterns = [re_path("", lambda request: HttpResponse("{name} " + request.path + " " + request.path_info))]
"""
WSGI = """
import os
from django.core.wsgi import get_wsgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "{name}.settings")
application = get_wsgi_application()
"""


@pytest.fixture
def apps(short_dir: Path) -> Path:
    """Three small applications in one directory."""
    for name, variable in (("shop", "application"), ("admin", "app"), ("root", "application")):
        (short_dir / f"{name}.py").write_text(APP.format(name=name, callable=variable))
    return short_dir


def django(directory: Path, name: str) -> None:
    """A Django project of one view."""
    package = directory / name
    package.mkdir()
    (package / "__init__.py").touch()
    for module, text in (("settings", SETTINGS), ("urls", URLS), ("wsgi", WSGI)):
        (package / f"{module}.py").write_text(text.format(name=name))


def ask(server: Penstock, target: str) -> list[str] | int:
    """What the application says, or the status if none answered."""
    response = get(server.http, target)
    return json.loads(response.body) if response.status == 200 else response.status


@pytest.fixture
def by_path(apps: Path) -> Iterator[Penstock]:
    arguments = ("--chdir", apps, "--mount", "/shop=shop.py", "--mount", "/shop/admin/=admin:app")
    with Penstock(*BOTH, *arguments, "--manage-script-name", "--stats", "127.0.0.1:0", "--threads", "2") as server:
        yield server


@pytest.mark.option("mount", "manage-script-name")
def test_the_path_chooses_the_application(by_path: Penstock) -> None:
    assert ask(by_path, "/shop/cart?x=1") == ["shop", "/shop", "/cart"]
    assert ask(by_path, "/shop") == ["shop", "/shop", ""]
    assert ask(by_path, "/shop/") == ["shop", "/shop", "/"]
    assert ask(by_path, "/shop/admin/users") == ["admin", "/shop/admin", "/users"]
    assert ask(by_path, "/shop/admin%2Fusers") == ["admin", "/shop/admin", "/users"]
    assert ask(by_path, "/shop/administration") == ["shop", "/shop", "/administration"]
    for nowhere in ("/", "/shopping", "/SHOP", "/admin"):
        assert ask(by_path, nowhere) == 404
    found = json.loads(uwsgi_request(by_path.uwsgi, "/shop/admin/x", SCRIPT_NAME="/shop").body)
    assert found == ["admin", "/shop/admin", "/x"]
    by_path.wait_log(r"app: 1\|.*GET /shop/admin/users")
    by_path.wait_log(r"app: 0\|.*GET /shop/cart")
    by_path.wait_log(r"app: -1\|.*GET /shopping .*404")


@pytest.mark.option("mount", "stats")
def test_the_log_and_the_statistics_list_the_applications(by_path: Penstock) -> None:
    by_path.wait_log(r"^mounting shop\.py on /shop$")
    by_path.wait_log(r"^WSGI app 1 \(mountpoint='/shop/admin'\) ready in \d seconds")
    for target in ("/shop/1", "/shop/2", "/shop/admin/3", "/nowhere"):
        ask(by_path, target)
    address = by_path.wait_log(r"Stats server enabled on (\S+)")[1]
    apps = read_stats(address)["workers"][0]["apps"]
    assert [(app["id"], app["mountpoint"]) for app in apps] == [(0, "/shop"), (1, "/shop/admin")]
    assert [app["requests"] for app in apps] == [2, 1]
    assert [app["exceptions"] for app in apps] == [0, 0]


@pytest.mark.option("mount", "manage-script-name")
def test_an_application_of_the_root_answers_the_rest(apps: Path) -> None:
    paths = ("--mount", "/shop=shop.py", "--mount", "/=root:application", "--manage-script-name")
    with Penstock(*HTTP, "--chdir", apps, *paths) as server:
        assert ask(server, "/shop/x") == ["shop", "/shop", "/x"]
        assert ask(server, "/other/x") == ["root", "", "/other/x"]
    paths = ("--module", "root", "--mount", "/shop=shop.py", "--manage-script-name")
    with Penstock(*HTTP, "--chdir", apps, *paths) as server:
        assert ask(server, "/shop/x") == ["shop", "/shop", "/x"]
        assert ask(server, "/shopping") == ["root", "", "/shopping"]


@pytest.mark.option("mount", "no-default-app", "ignore-script-name", "worker-mount")
def test_without_manage_script_name_the_front_end_chooses(apps: Path) -> None:
    arguments = ("--chdir", apps, "--mount", "/shop=shop.py", "--worker-mount", "/admin=admin:app")

    def over_uwsgi(server: Penstock, script_name: str) -> list[str] | int:
        response = uwsgi_request(server.uwsgi, "/x", SCRIPT_NAME=script_name)
        return json.loads(response.body) if response.status == 200 else response.status

    with Penstock(*BOTH, *arguments) as server:
        server.wait_log("add manage-script-name = true to let the path choose")
        assert over_uwsgi(server, "/admin") == ["admin", "/admin", "/x"]
        assert over_uwsgi(server, "/shop") == ["shop", "/shop", "/x"]
        assert ask(server, "/admin/x") == ["shop", "", "/admin/x"], "as uWSGI: the first answers"
    with Penstock(*BOTH, *arguments, "--no-default-app") as server:
        assert over_uwsgi(server, "/admin") == ["admin", "/admin", "/x"]
        assert ask(server, "/admin/x") == 404
        assert over_uwsgi(server, "/adminx") == 404
    with Penstock(*BOTH, *arguments, "--ignore-script-name") as server:
        assert over_uwsgi(server, "/admin") == ["shop", "/admin", "/x"]


@pytest.mark.option("mount")
@pytest.mark.parametrize("arguments", [MOUNTED, ("--module", "shop")])
def test_nginx_names_the_application_as_tutorials_have_it(
    apps: Path, short_dir: Path, arguments: tuple[str, ...]
) -> None:
    with Penstock("--socket", short_dir / "s", "--chdir", apps, *arguments) as server:
        site = "".join(
            f"location {path} {{ include uwsgi_params; uwsgi_param SCRIPT_NAME {path}; uwsgi_modifier1 30; "
            f"uwsgi_pass unix:{server.uwsgi}; }}\n"
            for path in ("/shop", "/admin")
        )
        with Nginx(site.replace("uwsgi_params", "/etc/nginx/uwsgi_params")) as nginx:
            assert json.loads(get(nginx.address, "/shop/a%20b?q=1").body) == ["shop", "/shop", "/a b"]
            assert json.loads(get(nginx.address, "/shop").body) == ["shop", "/shop", ""]
            assert json.loads(get(nginx.address, "/shopping").body) == ["shop", "/shop", "/shopping"]
            answered = "shop" if "--module" in arguments else "admin"
            assert json.loads(get(nginx.address, "/admin/x").body) == [answered, "/admin", "/x"]


@pytest.mark.option("mount", "need-app")
def test_one_of_several_that_does_not_import(apps: Path) -> None:
    (apps / "broken.py").write_text("import nothing_of_this_name\n")
    config = apps / "app.ini"
    config.write_text(
        f"[uwsgi]\nhttp = 127.0.0.1:0\nchdir = {apps}\nmount = /shop=shop.py\nmount = /b=broken.py\n"
        "manage-script-name = true\n"
    )
    refused = run_penstock("--ini", config)
    assert refused.returncode == 22
    assert f"mount = /b=broken.py ({config}:5): ModuleNotFoundError" in refused.stderr
    assert "unable to load app 1 (mountpoint='/b')" in refused.stderr
    with Penstock("--ini", config, "--need-app=false") as server:
        assert ask(server, "/shop/x") == ["shop", "/shop", "/x"]
        assert ask(server, "/b/x") == 500


@pytest.mark.option("mount")
def test_the_cure_is_written_as_a_mount(apps: Path) -> None:
    refused = run_penstock(*HTTP, "--chdir", apps, "--mount", "/a=admin")
    assert refused.returncode == 22
    assert "did you mean app" in refused.stderr and "mount = /a=admin:app" in refused.stderr


@pytest.mark.option("mount")
@pytest.mark.parametrize("more", [(), ("--lazy-apps",)])
def test_a_django_project_beside_another_application(apps: Path, more: tuple[str, ...]) -> None:
    django(apps, "blue")
    mounts = ("--mount", "/b=blue.wsgi:application", "--mount", "/again=blue.wsgi", "--mount", "/shop=shop.py")
    with Penstock(*HTTP, "--chdir", apps, *mounts, "--manage-script-name", *more) as server:
        assert get(server.http, "/b/x").body == b"blue /b/x /x"
        assert get(server.http, "/again/x").body == b"blue /again/x /x"
        assert ask(server, "/shop/x") == ["shop", "/shop", "/x"]


@pytest.mark.option("mount")
@pytest.mark.parametrize("more", [(), ("--lazy-apps",)])
def test_two_django_projects_are_refused_with_the_cure(apps: Path, more: tuple[str, ...]) -> None:
    django(apps, "blue")
    django(apps, "green")
    mounts = ("--mount", "/b=blue.wsgi:application", "--mount", "/g=green.wsgi:application", "--manage-script-name")
    refused = run_penstock(*HTTP, "--chdir", apps, *mounts, *more)
    assert refused.returncode == 22
    assert "green.wsgi is a Django project with the settings green.settings" in refused.stderr
    assert "blue.wsgi has set up Django with blue.settings" in refused.stderr
    assert "start an instance for each project" in refused.stderr
    # Where the environment says which settings to use, both mean the same.
    with Penstock(*HTTP, "--chdir", apps, *mounts, *more, "--env", "DJANGO_SETTINGS_MODULE=blue.settings") as server:
        assert get(server.http, "/g/x").body == b"blue /g/x /x"


@pytest.mark.option("mount")
def test_a_reload_brings_new_code_and_new_mounts(apps: Path) -> None:
    config = apps / "app.ini"
    text = f"[uwsgi]\nhttp = 127.0.0.1:0\nchdir = {apps}\nmanage-script-name = true\nmount = /shop=shop.py\n"
    config.write_text(text)
    with Penstock("--ini", config) as server:
        assert ask(server, "/admin/x") == 404
        (apps / "shop.py").write_text(APP.format(name="newer", callable="application"))
        config.write_text(f"{text}mount = /admin=admin:app\n")
        server.send(signal.SIGHUP)
        server.wait_log(r"^mounting admin on /admin$")
        answer = ["admin", "/admin", "/x"]
        until("the new generation serves", lambda: ask(server, "/admin/x") == answer)
        assert ask(server, "/shop/x") == ["newer", "/shop", "/x"]
        (apps / "admin.py").write_text("syntax error\n")
        before = len(server.log)
        server.send(signal.SIGHUP)
        server.wait_log(r"mount = /admin=admin .*SyntaxError", since=before)
        assert ask(server, "/admin/x") == ["admin", "/admin", "/x"]


@pytest.mark.option("mount")
def test_the_same_application_twice_is_imported_once(apps: Path) -> None:
    (apps / "shop.py").write_text("print('imported here')\n" + APP.format(name="shop", callable="application"))
    paths = ("--mount", "/a=shop.py", "--mount", "/b=shop.py", "--manage-script-name")
    with Penstock(*HTTP, "--chdir", apps, *paths) as server:
        assert ask(server, "/a/x") == ["shop", "/a", "/x"] and ask(server, "/b/x") == ["shop", "/b", "/x"]
        assert server.log.count("imported here") == 1


@pytest.mark.option("mount", "manage-script-name", "static-map")
def test_files_are_found_under_the_mountpoint(apps: Path) -> None:
    (apps / "files").mkdir()
    (apps / "files" / "a.css").write_text("styles")
    maps = ("--static-map", "/static=files", "--static-map", "/shop/own=files")
    paths = ("--chdir", apps, "--mount", "/shop=shop.py", *maps)
    with Penstock(*HTTP, *paths, "--manage-script-name") as server:
        for found in ("/shop/static/a.css", "/static/a.css", "/shop/own/a.css"):
            assert get(server.http, found).body == b"styles", found
        assert ask(server, "/shop/static/b.css") == ["shop", "/shop", "/static/b.css"]
        assert ask(server, "/shopping/static/a.css") == 404
    with Penstock(*HTTP, *paths) as server:
        assert ask(server, "/shop/static/a.css") == ["shop", "", "/shop/static/a.css"]


@pytest.mark.option("mount", "manage-script-name", "route", "route-if", "final-route")
@pytest.mark.parametrize("way", ["http", "uwsgi"])
def test_rules_see_the_path_without_its_mountpoint(apps: Path, way: str) -> None:
    """As in uWSGI: the application is chosen first, and only SCRIPT_NAME chooses another."""
    rules = {
        "--route": ("^/shop return:404", "^/refuse return:403", "^/rw rewrite:/admin/z", "^/sn setscriptname:/admin"),
        "--route-if": ("equal:${SCRIPT_NAME};/shop log:shop at ${PATH_INFO}",),
        "--final-route": ("^/x log:finished ${PATH_INFO} of ${SCRIPT_NAME}",),
    }
    words = [word for option, texts in rules.items() for text in texts for word in (option, text)]
    with Penstock(*BOTH, "--chdir", apps, *MOUNTED, "--manage-script-name", *words) as server:

        def said(path: str) -> list[str] | int:
            if way == "http":
                return ask(server, path)
            answer = uwsgi_request(server.uwsgi, path)
            return json.loads(answer.body) if answer.status == 200 else answer.status

        assert said("/shop/refuse") == 403
        assert said("/shop/rw") == ["shop", "/shop", "/admin/z"]
        assert said("/shop/sn") == ["admin", "/admin", "/sn"]
        assert said("/shop/x") == ["shop", "/shop", "/x"]
        assert said("/shop/shop") == 404
        assert said("/shop") == ["shop", "/shop", ""]
        server.wait_log("^shop at /x$")
        server.wait_log("^finished /x of /shop$")
