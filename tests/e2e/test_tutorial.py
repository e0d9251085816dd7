"""Every step of the tutorial that uWSGI's users have followed, typed as it says with `penstock` for `uwsgi`.

The project is what `django-admin startproject` makes; nginx is a real one. Only the ports differ (0, so that tests can
run beside anything) and the directory.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.clients import get, post
from tests.e2e.harness import APPS, Nginx, Penstock, clean_environment, is_alive, read_stats, run_penstock, until

UPLOAD_VIEW = """
from django.http import HttpResponse
from django.views.decorators.csrf import csrf_exempt

@csrf_exempt
def size(request):
    return HttpResponse(sum(len(piece) for piece in iter(lambda: request.read(65536), b"")))

urlpatterns.append(path("size", size))
"""


@pytest.fixture
def project(short_dir: Path) -> Path:
    """A fresh Django project `cmdb` with a database, collected static files, a media file and the folder `uwsgi`."""
    home = short_dir / "site"
    home.mkdir()

    def python(*arguments: str) -> None:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=home, env=clean_environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    python("-m", "django", "startproject", "cmdb", ".")
    with (home / "cmdb" / "urls.py").open("a") as urls:
        urls.write(UPLOAD_VIEW)
    with (home / "cmdb" / "settings.py").open("a") as settings:
        settings.write("\nSTATIC_ROOT = BASE_DIR / 'static'\n")
    python("manage.py", "migrate", "-v", "0")
    python("manage.py", "collectstatic", "-v", "0")
    (home / "media").mkdir()
    (home / "media" / "picture.txt").write_text("a picture")
    (home / "uwsgi").mkdir()
    return home


def site(target: str, project: Path) -> str:
    """The tutorial's nginx site in front of `target`."""
    return f"""
        charset utf-8;
        client_max_body_size 75M;
        proxy_connect_timeout 300;
        proxy_send_timeout 300;
        proxy_read_timeout 300;
        proxy_buffers 4 64k;
        location /media {{ alias {project}/media; }}
        location /static {{ alias {project}/static; }}
        location / {{
            uwsgi_pass {target};
            uwsgi_send_timeout 600;
            uwsgi_connect_timeout 600;
            uwsgi_read_timeout 600;
            include /etc/nginx/uwsgi_params;
        }}"""


def shows_django(address: str) -> None:
    """The admin's login page comes, with its form, from a Django that has its database."""
    response = get(address, "/admin/login/")
    assert response.status == 200
    assert "csrfmiddlewaretoken" in response.text


def through_nginx(target: str, project: Path) -> None:
    """Pages, uploads, static and media files come through nginx."""
    with Nginx(site(target, project)) as nginx:
        shows_django(nginx.address)
        body = os.urandom(5_000_000)
        assert post(nginx.address, "/size", body).text == "5000000"
        css = get(nginx.address, "/static/admin/css/base.css")
        assert css.body == (project / "static/admin/css/base.css").read_bytes()
        assert get(nginx.address, "/media/picture.txt").text == "a picture"
        assert get(nginx.address, "/admin/login/", {"Cookie": "c=" + "x" * 3500}).status == 200


@pytest.mark.option("http", "wsgi-file")
def test_hello_world() -> None:
    with Penstock("--http", "0.0.0.0:0", "--wsgi-file", APPS / "hello.py") as instance:
        response = get(instance.http)
        assert (response.status, response.body) == (200, b"Hello world")


def test_hello_world_on_every_address() -> None:
    with Penstock("--http", ":0", "--wsgi-file", APPS / "hello.py") as instance:
        assert get("127.0.0.1:" + instance.http.rpartition(":")[2]).body == b"Hello world"


@pytest.mark.option("chdir", "home", "module")
@pytest.mark.parametrize(
    "app", [("--module", "cmdb.wsgi"), ("--wsgi-file", "cmdb/wsgi.py"), ("-w", "cmdb.wsgi:application")]
)
def test_django_on_the_command_line(project: Path, app: tuple[str, str]) -> None:
    with Penstock(
        "--http", "0.0.0.0:0", "--chdir", project, "--home", sys.prefix, *app, "--master", "--processes", "4",
        "--threads", "2", "--stats", project / "s",
    ) as instance:  # fmt: skip
        shows_django(instance.http)
        workers = read_stats(str(project / "s"))["workers"]
        assert [len(worker["cores"]) for worker in workers] == [2, 2, 2, 2]
        # The master replaces a dead worker.
        victim = instance.workers()[0]
        os.kill(victim, signal.SIGKILL)
        until("four workers again", lambda: len(instance.workers()) == 4 and victim not in instance.workers())
        shows_django(instance.http)


HTTP_INI = """\
[uwsgi]
# 项目的监听地址
http=0.0.0.0:0
; 项目目录
chdir={project}
master=true
# 进程数
work=20
listen=2048 # 队列长度 two words
socket-timeout=60
die-on-term = true
module=cmdb.wsgi
# 状态
stats=%(chdir)/uwsgi/uwsgi.status
pidfile=%(chdir)/uwsgi/uwsgi.pid
"""


def test_an_ini_with_http_and_the_control_commands(project: Path) -> None:
    config = project / "uwsgi.ini"
    config.write_text(HTTP_INI.format(project=project), encoding="utf-8")
    pidfile, stats = project / "uwsgi/uwsgi.pid", project / "uwsgi/uwsgi.status"
    with Penstock("--ini", config) as instance:
        shows_django(instance.http)
        # The slip is named, with its place and what was meant; the text after the number too.
        slip = instance.wait_log("^.*uwsgi.ini:8.*$")[0]
        assert "work" in slip
        assert "did you mean workers?" in slip
        assert instance.wait_log("^.*uwsgi.ini:9.*$")[0].count("2048") >= 1
        assert len(instance.workers()) == 1
        assert pidfile.read_text().strip() == str(instance.pid)

        read = run_penstock("--connect-and-read", stats)
        assert read.returncode == 0
        assert json.loads(read.stdout or read.stderr)["pid"] == instance.pid

        before = instance.workers()
        assert run_penstock("--reload", pidfile).returncode == 0
        until("other workers", lambda: not set(before) & set(instance.workers()) and instance.workers() != [])
        shows_django(instance.http)
        assert run_penstock("--stop", pidfile).returncode == 0
        assert instance.wait_exit() == 0
    assert not pidfile.exists()


SOCKET_INI = """\
[uwsgi]
socket=0.0.0.0:0
chdir={project}
wsgi-file=cmdb/wsgi.py
daemonize={project}/uwsgi/uwsgi.log
touch-reload={project}/uwsgi/reload
workers=20
listen=2048
stats=%(chdir)/uwsgi/uwsgi.status
pidfile=%(chdir)/uwsgi/uwsgi.pid
socket-timeout=60
die-on-term=true
"""


def test_an_ini_with_a_socket_and_daemonize_behind_nginx(project: Path) -> None:
    config = project / "uwsgi.ini"
    config.write_text(SOCKET_INI.format(project=project))
    log, pidfile = project / "uwsgi/uwsgi.log", project / "uwsgi/uwsgi.pid"
    (project / "uwsgi/reload").touch()
    with Penstock("--ini", config, wait=False) as instance:
        assert instance.wait_exit(60) == 0, instance.log
        master = int(pidfile.read_text())
        found = re.search(r"bound to TCP address 0\.0\.0\.0:(\d+)", log.read_text() + instance.log)
        assert found
        assert len(instance.workers(master)) == 20
        through_nginx(f"127.0.0.1:{found[1]}", project)

        before = instance.workers(master)
        os.utime(project / "uwsgi/reload", (1, 1))
        until("other workers", lambda: not set(before) & set(instance.workers(master)), 30)
        until("20 of them", lambda: len(instance.workers(master)) == 20, 30)
        assert run_penstock("--stop", pidfile).returncode == 0
        until("the end", lambda: not is_alive(master), 20)


RECOMMENDED_INI = """\
[uwsgi]
socket = %(chdir)/uwsgi/cmdb.sock
chdir = %d
#virtualenv = %d../venv/
module = cmdb.wsgi:application
master = True
pidfile = %(chdir)/uwsgi/cmdb.pid
touch-reload = %(chdir)/uwsgi/cmdb.ini
enable-threads = True
vacuum = True
max-requests = 500
daemonize = %(chdir)/uwsgi/cmdb.log
processes = %k
threads = 2
buffer-size = 32768
"""


def test_the_recommended_ini_behind_nginx(project: Path) -> None:
    config = project / "uwsgi.ini"
    config.write_text(RECOMMENDED_INI)
    address, pidfile = project / "uwsgi/cmdb.sock", project / "uwsgi/cmdb.pid"
    (project / "uwsgi/cmdb.ini").touch()
    # A relative path, from the directory that the file lies in.
    with Penstock("--ini", "uwsgi.ini", cwd=project, wait=False) as instance:
        assert instance.wait_exit(60) == 0, instance.log
        master = int(pidfile.read_text())
        assert 1 <= len(instance.workers(master)) <= (os.cpu_count() or 1)
        through_nginx(f"unix:{address}", project)
        assert run_penstock("--stop", pidfile).returncode == 0
        until("the end", lambda: not is_alive(master), 20)
    assert not address.exists(), "vacuum"
    assert not pidfile.exists()


def test_a_configuration_file_as_the_only_argument(project: Path) -> None:
    config = project / "app.ini"
    config.write_text(f"[uwsgi]\nhttp = 127.0.0.1:0\nchdir = {project}\nwsgi-file = cmdb/wsgi.py\n")
    with Penstock(config) as instance:
        shows_django(instance.http)


def test_http_where_nginx_expects_uwsgi(project: Path) -> None:
    with Penstock("--http", "127.0.0.1:0", "--chdir", project, "--module", "cmdb.wsgi") as instance:
        with Nginx(site(instance.http, project)) as nginx:
            assert get(nginx.address, "/admin/login/").status >= 400
        instance.wait_log("^.*uwsgi was sent to an HTTP socket.*$")


def test_uwsgi_where_nginx_expects_http(project: Path) -> None:
    with Penstock("--socket", "127.0.0.1:0", "--chdir", project, "--module", "cmdb.wsgi") as instance:
        with Nginx(f"location / {{ proxy_pass http://{instance.uwsgi}; }}") as nginx:
            assert get(nginx.address, "/admin/login/").status >= 400
        instance.wait_log("^.*HTTP was sent to a uwsgi socket.*$")
