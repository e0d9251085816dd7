"""`penstock deploy` for real: users, packages, nginx, a database, in a machine of its own (`tests/support/machine.py`).

One test goes the whole way with packages that are installed; the others take the environment of the tests, as
`--home` lets them, because that is what takes most of the time.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Done, Machine, why_no_systemd, why_not
from tests.support.projects import make_django
from tests.support.wheels import wheelhouse

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not() or "there is a machine")

PENSTOCK = (sys.executable, "-m", "penstock")
HOST = "shop.example.org"
PROJECT = "/home/me/shop"
HOME = ("--home", sys.prefix)
NOT_OURS = {
    # What useradd and userdel of every distribution leave: the files before their last change.
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    # Of nginx, which is asked for a page.
    "/var/log/nginx/access.log",
    "/var/log/nginx/error.log",
}


NOT_OURS_IN = (
    "/home",
    "/root",
    "/tmp",
    "/var/lib/nginx/",
    "/run/nginx.pid",
    "/run/systemd",
    "/run/log",
    "/run/credentials",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as startproject makes it, with an app that takes uploads."""
    return make_django(tmp_path_factory.mktemp("project") / "shop", "cmdb", debug=True)


@pytest.fixture
def machine(project: Path) -> Iterator[Machine]:
    """A machine with the project in somebody's home, on which every user may run Python."""
    with Machine() as made:
        assert made.run("chmod", "o+x", "/root").status == 0
        assert made.run("mkdir", "-p", "/home/me").status == 0
        copy(made, project)
        yield made


def copy(machine: Machine, project: Path) -> None:
    """Put the project into the machine."""
    done = machine.run("cp", "-r", project, "/home/me/")
    assert done.status == 0, done.output


def changed(machine: Machine) -> dict[str, str]:
    """What is not as it was, apart from the project's own folder and what other programs write down."""
    return {
        path: word
        for path, word in machine.changed().items()
        if path not in NOT_OURS and not path.startswith(NOT_OURS_IN)
    }


def deploy(machine: Machine, *words: str, status: int = 0, **env: str) -> str:
    """Deploy the project; what was said."""
    done = machine.run(*PENSTOCK, "deploy", *words, env=env)
    assert done.status == status, done.output
    return done.output


def edit(machine: Machine, name: str, text: str) -> None:
    """Change a file of the project."""
    machine.python("open(sys.argv[1], 'w').write(sys.argv[2]); result = 0", f"{PROJECT}/{name}", text)


def page(machine: Machine, path: str = "/") -> Done:
    """Ask for a page through nginx."""
    return machine.get(f"http://127.0.0.1{path}", host=HOST)


def test_one_command_serves_a_project_a_second_run_changes_nothing_and_undeploy_leaves_nothing(
    machine: Machine, tmp_path: Path
) -> None:
    packages = wheelhouse(tmp_path / "wheels", "django", "asgiref", "sqlparse")
    tmp_path.chmod(0o755)
    assert changed(machine) == {}
    users = machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").output

    said = deploy(machine, PROJECT, "--host", HOST, **packages)
    assert "serves at http://shop.example.org/" in said

    assert page(machine).output == "shop\n"
    login = page(machine, "/admin/login/")
    assert login.status == 200 and "Django" in login.output
    for css in re.findall(r'href="(/static/[^"]+\.css)"', login.output):
        assert page(machine, css).status == 200, css
    assert page(machine, "/static/shop/shop.css").output == "body { color: teal }\n"

    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n'
        + b"y" * 3_000_000
        + b"\r\n--x--\r\n"
    )
    sent = machine.get("http://127.0.0.1/upload/", HOST, body, {"Content-Type": "multipart/form-data; boundary=x"})
    assert sent.status == 200 and sent.output.split()[:2] == ["/media/a.txt", "3000000"], sent
    assert len(page(machine, "/media/a.txt").output) == 3_000_000

    before = machine.changed()
    again = deploy(machine, PROJECT, **packages, PATH="/usr/sbin:/usr/bin:/sbin:/bin", LANG="C")
    assert "nothing to do: all was as it should be" in again
    assert machine.changed() == before
    assert machine.run("cat", "/srv/cmdb/shared/media/a.txt").output == "y" * 3_000_000

    done = machine.run(*PENSTOCK, "undeploy", "cmdb", "--data")
    assert done.status == 0, done.output
    assert changed(machine) == {}
    assert machine.run("cat", "/etc/passwd", "/etc/group", "/etc/shadow").output == users
    assert machine.run("ps", "-e", "-o", "args=").output.count("penstock") == 0, "no process is left"
    assert machine.run("pgrep", "nginx").status == 1, "nginx did not run before"


def test_a_plan_shows_every_file_and_command_and_changes_nothing(machine: Machine) -> None:
    before = machine.changed()
    said = deploy(machine, PROJECT, "--host", HOST, "--plan", *HOME)
    assert machine.changed() == before
    for expected in (
        "useradd --system",
        "+DEBUG = False",
        "+http = /run/cmdb/cmdb.sock",
        "+++ /etc/nginx/",
        "server_name shop.example.org",
        "manage.py migrate --noinput",
        "manage.py collectstatic --noinput",
        "nginx -t",
        "nothing was changed",
    ):
        assert expected in said, said


def test_data_stays_and_belongs_to_root_until_it_is_asked_for(machine: Machine) -> None:
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    assert machine.run("runuser", "-u", "cmdb", "--", "touch", "/srv/cmdb/shared/media/photo").status == 0
    done = machine.run(*PENSTOCK, "undeploy")
    assert done.status == 0 and "/srv/cmdb/shared/media has data and stays" in done.output, done.output
    assert {path for path in changed(machine) if "/var/lib/penstock" not in path} == {
        "/srv/cmdb",
        "/srv/cmdb/shared",
        "/srv/cmdb/shared/data",
        "/srv/cmdb/shared/data/db.sqlite3",
        "/srv/cmdb/shared/media",
        "/srv/cmdb/shared/media/photo",
        "/srv/cmdb/shared/secret-key",
    }
    assert machine.run("stat", "-c", "%U", "/srv/cmdb/shared/media/photo").output == "root\n"
    assert "serves at" in deploy(machine, PROJECT, "--host", HOST, *HOME)
    assert machine.run("stat", "-c", "%U", "/srv/cmdb/shared/media/photo").output == "cmdb\n"
    assert machine.run(*PENSTOCK, "undeploy", "--data").status == 0
    assert changed(machine) == {}


BROKEN = {
    "an import that fails": ("shop/views.py", "import nothing_like_that\n", "nothing_like_that"),
    "a migration that fails": (
        "shop/migrations/0002_bad.py",
        "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
        "    dependencies = [('shop', '0001_initial')]\n    operations = [migrations.RunSQL('SELECT nothing')]\n",
        "syntax error",
    ),
    "a page that fails": (
        "shop/views.py",
        "from django.http import HttpResponse\n\n\ndef index(request):\n    raise RuntimeError('not today')\n\n\n"
        "upload = host = index\n",
        "not today",
    ),
    "settings that fail": ("cmdb/settings.py", "raise SystemExit('no settings')\n", "no settings"),
}


def test_a_release_that_fails_leaves_the_old_one_serving(machine: Machine, project: Path) -> None:
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    first = machine.run("readlink", "/srv/cmdb/current").output
    for kind, (name, text, reason) in BROKEN.items():
        edit(machine, name, text)
        said = deploy(machine, PROJECT, status=3)
        assert "stopped at the step" in said and reason in said, (kind, said)
        assert "to go on: mend it" in said
        assert page(machine).output == "shop\n", kind
        assert machine.run("readlink", "/srv/cmdb/current").output == first, kind
        machine.run("rm", "-r", PROJECT)
        copy(machine, project)
    edit(machine, "shop/static/shop/shop.css", "body { color: navy }\n")
    assert "serves at" in deploy(machine, PROJECT)
    assert page(machine, "/static/shop/shop.css").output == "body { color: navy }\n"
    assert machine.run("readlink", "/srv/cmdb/current").output != first


def test_releases_are_listed_gone_back_to_and_only_so_many_are_kept(machine: Machine) -> None:
    for number in range(3):
        edit(machine, "shop/static/shop/shop.css", f"/* {number} */")
        deploy(machine, PROJECT, "--host", HOST, "--keep", "2", *HOME)
    listed = machine.run(*PENSTOCK, "releases", "cmdb")
    assert listed.status == 0
    stamps = re.findall(r"^\*?\s*(\d{8}-\d{6}\S*)", listed.output, re.M)
    assert len(stamps) == 2 and stamps == sorted(stamps, reverse=True), listed.output
    assert listed.output.startswith(f"* {stamps[0]}")
    assert page(machine, "/static/shop/shop.css").output == "/* 2 */"
    # A project's folder that is called like its deployment is not taken for a pid file.
    machine.run("mkdir", "/home/me/cmdb")
    done = machine.run(*PENSTOCK, "rollback", "cmdb", cwd="/home/me")
    assert done.status == 0 and stamps[1] in done.output, done.output
    assert page(machine, "/static/shop/shop.css").output == "/* 1 */"
    assert page(machine).output == "shop\n"
    done = machine.run(*PENSTOCK, "rollback", "cmdb")
    assert done.status == 3 and "no older release" in done.output, done.output
    assert machine.run(*PENSTOCK, "rollback", "cmdb", stamps[0]).status == 0
    assert page(machine, "/static/shop/shop.css").output == "/* 2 */"
    done = machine.run(*PENSTOCK, "rollback", "cmdb", "20200101-000000")
    assert done.status == 3 and "there is no release" in done.output, done.output


def test_a_run_that_is_killed_is_gone_on_with(machine: Machine) -> None:
    for seconds in ("1", "2.5", "4.5"):
        machine.run("timeout", "-s", "KILL", seconds, *PENSTOCK, "deploy", PROJECT, "--host", HOST, *HOME)
    assert "serves at" in deploy(machine, PROJECT)
    assert page(machine).output == "shop\n"
    assert "nothing to do: all was as it should be" in deploy(machine, PROJECT)
    assert machine.run(*PENSTOCK, "undeploy", "--data").status == 0
    assert changed(machine) == {}


def test_a_full_disk_is_said_and_leaves_the_old_release_serving(machine: Machine) -> None:
    assert machine.run("mount", "-t", "tmpfs", "-o", "size=8m,mode=755", "tmpfs", "/srv").status == 0
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    assert machine.run("truncate", "-s", "9M", f"{PROJECT}/shop/big.bin").status == 0
    said = deploy(machine, PROJECT, status=3)
    assert "No space left on device" in said, said
    assert page(machine).output == "shop\n"
    machine.run("rm", f"{PROJECT}/shop/big.bin")
    edit(machine, "shop/static/shop/shop.css", "/* small */")
    assert "serves at" in deploy(machine, PROJECT)
    assert page(machine, "/static/shop/shop.css").output == "/* small */"


def test_the_doctor_finds_nothing_wrong_with_what_was_deployed(machine: Machine) -> None:
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    done = machine.run(*PENSTOCK, "doctor", "/srv/cmdb/current/penstock.ini", "--json")
    assert done.status < 2, done.output


def test_a_user_that_is_there_is_not_taken(machine: Machine) -> None:
    assert machine.run("useradd", "--system", "cmdb").status == 0
    before = changed(machine)
    said = deploy(machine, PROJECT, "--host", HOST, *HOME, status=3)
    assert "there is a user cmdb already" in said and "--user cmdb" in said
    assert machine.run(*PENSTOCK, "undeploy", "cmdb").status == 0
    assert changed(machine) == before
    assert "serves at" in deploy(machine, PROJECT, "--host", HOST, "--user", "cmdb", *HOME)
    assert machine.run(*PENSTOCK, "undeploy", "--data").status == 0
    assert machine.run("id", "cmdb").status == 0
    assert changed(machine) == before


def test_a_user_whose_group_has_another_name_is_taken(machine: Machine) -> None:
    assert machine.run("useradd", "--system", "--no-user-group", "--gid", "nogroup", "web").status == 0
    assert "serves at" in deploy(machine, PROJECT, "--host", HOST, "--user", "web", *HOME)
    assert machine.run("stat", "-c", "%U:%G", "/srv/cmdb/shared/media").output == "web:nogroup\n"
    assert page(machine).output == "shop\n"


def test_nginx_reads_what_a_killed_run_has_written(machine: Machine) -> None:
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    # nginx, but that whoever asks it for a look at its files is killed.
    killer = '#!/bin/sh\ncase " $* " in *" -t "*) kill -9 $PPID ;; esac\nexec nginx "$@"\n'
    machine.python(
        "import os; os.mkdir('/home/me/bin'); open('/home/me/bin/nginx', 'w').write(sys.argv[1]);"
        "os.chmod('/home/me/bin/nginx', 0o755); result = 0",
        killer.replace("exec nginx", f"exec {shutil.which('nginx')}"),
    )
    killed = machine.run(
        *PENSTOCK, "deploy", PROJECT, "--host", "other.example.org", env={"PATH": f"/home/me/bin:{os.environ['PATH']}"}
    )
    assert killed.status == -signal.SIGKILL, killed.output
    assert "nginx reads its files again" in deploy(machine, PROJECT)
    assert machine.get("http://127.0.0.1/", host="other.example.org").output == "shop\n"
    assert "nothing to do" in deploy(machine, PROJECT)


def test_where_nginx_refuses_its_files_they_come_back(machine: Machine) -> None:
    deploy(machine, PROJECT, "--host", HOST, *HOME)
    machine.python("open('/etc/nginx/conf.d/other.conf', 'w').write('nonsense;'); result = 0")
    edit(machine, "shop/static/shop/shop.css", "/* new */")
    before = machine.run("cat", "/etc/nginx/sites-enabled/cmdb").output
    said = deploy(machine, PROJECT, "--host", "other.example.org", status=3)
    assert "nonsense" in said and "stopped at the step nginx" in said
    assert machine.run("cat", "/etc/nginx/sites-enabled/cmdb").output == before
    assert page(machine).output == "shop\n"


def test_under_a_real_systemd_it_is_a_service_that_starts_at_boot(project: Path) -> None:
    if reason := why_no_systemd():
        pytest.skip(reason)
    with Machine(systemd=True) as machine:
        assert machine.run("chmod", "o+x", "/root").status == 0
        machine.run("mkdir", "-p", "/home/me")
        copy(machine, project)
        assert changed(machine) == {}
        said = deploy(machine, PROJECT, "--host", HOST, *HOME)
        assert "systemctl enable cmdb.service" in said and "systemctl start cmdb.service" in said, said
        assert page(machine).output == "shop\n"
        assert machine.run("systemctl", "is-enabled", "cmdb.service").output == "enabled\n"
        pid = machine.run("systemctl", "show", "cmdb.service", "--value", "-p", "MainPID").output
        assert machine.run("stat", "-c", "%U", f"/proc/{pid.strip()}").output == "cmdb\n"

        # Without what other tests put into the machine's own /srv meanwhile, which is seen through.
        before = machine.run("ls", "-lR", "--ignore=pst-*", "--time-style=full-iso", "/etc", "/srv").output
        assert "nothing to do: all was as it should be" in deploy(machine, PROJECT)
        assert machine.run("ls", "-lR", "--ignore=pst-*", "--time-style=full-iso", "/etc", "/srv").output == before

        edit(machine, "shop/static/shop/shop.css", "/* new */")
        deploy(machine, PROJECT)
        assert page(machine, "/static/shop/shop.css").output == "/* new */"
        assert machine.run("systemctl", "show", "cmdb.service", "--value", "-p", "MainPID").output == pid
        edit(machine, "shop/views.py", "import nothing_like_that\n")
        deploy(machine, PROJECT, status=3)
        assert page(machine).output == "shop\n"

        done = machine.run(*PENSTOCK, "undeploy", "cmdb", "--data")
        assert done.status == 0, done.output
        assert changed(machine) == {}
        assert machine.run("systemctl", "is-active", "cmdb.service", "nginx.service").output == "inactive\n" * 2


def test_without_systemd_there_is_a_script_that_starts_it_at_boot(machine: Machine) -> None:
    machine.run("sh", "-c", "echo 128 > /proc/sys/net/core/somaxconn")
    said = deploy(machine, PROJECT, "--host", HOST, "--services", "sysv", *HOME)
    assert "net.core.somaxconn 128 -> " in said, said
    assert machine.run("cat", "/proc/sys/net/core/somaxconn").output != "128\n"
    assert machine.run("/etc/init.d/cmdb", "status").status == 0
    assert machine.run("sh", "-c", "ls /etc/rc2.d/S??cmdb /etc/rc0.d/K??cmdb").status == 0
    assert "/var/log/cmdb/cmdb.log" in machine.run("cat", "/etc/logrotate.d/cmdb").output
    assert page(machine).output == "shop\n"
    assert "nothing to do: all was as it should be" in deploy(machine, PROJECT)
    assert machine.run("/etc/init.d/cmdb", "restart").status == 0
    assert page(machine).output == "shop\n"
    done = machine.run(*PENSTOCK, "undeploy", "--data")
    assert done.status == 0, done.output
    assert changed(machine) == {}
    assert machine.run("cat", "/proc/sys/net/core/somaxconn").output == "128\n"


def test_a_second_project_a_certificate_and_data_that_is_taken_along(machine: Machine, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "wsgi.py").write_text(
        "def application(environ, start_response):\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [f\"{environ['wsgi.url_scheme']} {environ['HTTP_HOST']}\".encode()]\n"
    )
    assert machine.run("cp", "-r", plain, "/home/me/").status == 0
    deploy(machine, "/home/me/plain", "--host", "plain.example.org", *HOME)

    machine.run("mkdir", f"{PROJECT}/media")
    machine.run("touch", f"{PROJECT}/media/photo")
    pair = ("-keyout", "/etc/ssl/shop.key", "-out", "/etc/ssl/shop.pem")
    words = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9")
    assert machine.run(*words, "-subj", f"/CN={HOST}", *pair).status == 0
    tls = ("--certificate", "/etc/ssl/shop.pem", "--key", "/etc/ssl/shop.key")
    said = deploy(machine, PROJECT, "--host", HOST, *tls, "--with-data", *HOME)
    assert f"https://{HOST}/: 200" in said and "copied to /srv/cmdb/shared/media" in said, said
    assert machine.run("stat", "-c", "%U", "/srv/cmdb/shared/media/photo").output == "cmdb\n"
    curl = ("curl", "-sk", "--resolve", f"{HOST}:443:127.0.0.1", f"https://{HOST}/host/")
    assert machine.run(*curl).output == f"https {HOST} 127.0.0.1\n"
    assert machine.get("http://127.0.0.1/", "plain.example.org").output == "http plain.example.org"

    # nginx was started for the first of them, and goes on for the other.
    done = machine.run(*PENSTOCK, "undeploy", "plain", "--data")
    assert done.status == 0 and "nginx goes on for cmdb" in done.output, done.output
    assert machine.run(*curl).output == f"https {HOST} 127.0.0.1\n"
    assert "nginx goes on" not in machine.run(*PENSTOCK, "undeploy", "cmdb", "--data").output
    assert machine.run("pgrep", "-x", "nginx").output == ""
    assert set(changed(machine)) == {"/etc/ssl/shop.key", "/etc/ssl/shop.pem"}


def test_what_is_not_where_it_has_to_be_is_said_with_its_cure(machine: Machine) -> None:
    machine.run("chmod", "go-x", "/root")
    said = deploy(machine, PROJECT, "--host", HOST, *HOME, status=3)
    assert "cmdb can not run" in said and "python3 -m venv /opt/penstock" in said, said
    machine.run("chmod", "o+x", "/root")
    assert "no virtual environment" in deploy(machine, PROJECT, "--home", "/nowhere", status=3)
    machine.run("mv", "/etc/nginx/nginx.conf", "/etc/nginx/away.conf")
    said = deploy(machine, PROJECT, "--host", HOST, *HOME, status=3)
    assert "stopped at the step nginx" in said and "Traceback" not in said, said
    machine.run("mv", "/etc/nginx/away.conf", "/etc/nginx/nginx.conf")
    assert "serves at" in deploy(machine, PROJECT)
