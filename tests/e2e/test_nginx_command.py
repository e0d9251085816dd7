"""`penstock nginx` as a person types it: print, install into a real nginx that serves other sites, and take away."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.deploy.artifact import Artifact, Manifest, Tree
from penstock.deploy.nginx.install import NotInstalled, install, uninstall
from penstock.deploy.nginx.reading import read
from penstock.deploy.nginx.running import Running, holder
from tests.e2e.clients import get
from tests.e2e.harness import APPS, Penstock, clean_environment, until
from tests.support.nginx import OwnNginx, certificate, free_ports
from tests.support.projects import make_django

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs an installed nginx")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="what was there before is remembered in /var/lib/penstock")


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "penstock", "nginx", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def told(done: subprocess.CompletedProcess[str]) -> str:
    """What was said on standard error, in one line however it was broken."""
    return " ".join(done.stderr.split())


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and link below a folder, with its content."""
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


OTHER = "server {{ listen {port}; server_name other.example.org; return 200 other; }}"


class Machine:
    """An nginx that serves a site already, and an app to be put behind it."""

    def __init__(self, folder: Path) -> None:
        self.name = f"t{uuid.uuid4().hex[:12]}"
        self.port, self.status = free_ports(2)
        self.own = OwnNginx(folder)
        self.own.site("other", OTHER.format(port=self.port))
        self.ini = folder / "app.ini"
        self.socket = folder / "app.sock"
        self.ini.write_text(f"[uwsgi]\nhttp-socket = {self.socket}\nwsgi-file = {APPS}/hello.py\nharakiri = 30\n")

    def command(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run the command on this machine's nginx."""
        return run(
            "--nginx", self.own.program, "--nginx-conf", self.own.main_file, "--name", self.name, "--server-name",
            "app.example.org", "--port", str(self.port), "--status", str(self.status), *arguments, self.ini,
        )  # fmt: skip

    def get(self, host: str) -> bytes:
        """What nginx answers for a name."""
        return get(f"127.0.0.1:{self.port}", "/", {"Host": host}).body


@pytest.fixture
def here(short_dir: Path) -> Iterator[Machine]:
    """A machine; what a failed test has left of its site is taken away."""
    short_dir.chmod(0o755)
    made = Machine(short_dir)
    with made.own:
        until("the other site answers", lambda: made.own.listens(made.port))
        yield made
        if Path(f"/var/lib/penstock/nginx-{made.name}").exists():
            Manifest(Tree(), f"nginx-{made.name}").take_away()


@needs_root
def test_a_site_is_installed_served_left_alone_changed_and_taken_away(here: Machine) -> None:
    before = snapshot(here.own.etc)
    done = here.command("--install")
    assert done.returncode == 0, done.stderr
    assert f"new: {here.own.etc}/sites-available/{here.name}" in done.stdout and "nginx has read it" in done.stdout
    assert f"{here.own.main_file}: worker_connections 4096; (now 512, " in told(done)
    with Penstock("--ini", here.ini):
        until("the app answers", lambda: here.get("app.example.org") == b"Hello world")
        assert here.get("other.example.org") == b"other"
        assert b"Active" in get(f"127.0.0.1:{here.status}", "/nginx_status").body

    again = here.command("--install")
    assert again.returncode == 0 and "nothing was changed" in again.stdout and "has read" not in again.stdout

    here.ini.write_text(here.ini.read_text().replace("= 30", "= 300"))
    changed = here.command("--install")
    assert "content: " in changed.stdout and "sites-enabled" not in changed.stdout
    assert "proxy_read_timeout 315s;" in (here.own.etc / f"sites-enabled/{here.name}").read_text()

    gone = here.command("--uninstall")
    assert gone.returncode == 0 and "nginx has read it" in gone.stdout, gone.stderr
    assert snapshot(here.own.etc) == before and not Path(f"/var/lib/penstock/nginx-{here.name}").exists()
    until("the other site answers alone", lambda: here.get("app.example.org") == b"other")
    assert "no site" in here.command("--uninstall").stderr


@needs_root
def test_what_nginx_does_not_take_is_taken_back(here: Machine) -> None:
    assert here.command("--install").returncode == 0
    before = snapshot(here.own.etc)
    folder = here.own.folder
    certificate(folder, "app.example.org")
    (folder / "other.key").write_text("no key")
    done = here.command("--install", "--cert", folder / "site.pem", "--key", folder / "other.key", "--tls-port", "1")
    assert done.returncode == 2
    assert "nginx does not take it, so everything is as it was" in told(done) and "other.key" in told(done)
    assert snapshot(here.own.etc) == before and here.get("other.example.org") == b"other"


def test_a_clash_with_another_site_is_found_before_anything_is_written(here: Machine) -> None:
    before = snapshot(here.own.etc)
    done = here.command("--install", "--server-name", "other.example.org")
    assert done.returncode == 2 and "is served already" in told(done)
    assert f"{here.own.etc}/sites-enabled/other.conf:1" in told(done)
    assert snapshot(here.own.etc) == before


def test_a_port_that_somebody_else_has(here: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert "python" in (holder(port) or "") or "pytest" in (holder(port) or "")
        done = here.command("--install", "--port", str(port))
        assert done.returncode == 2 and f"listens on port {port} already" in told(done)
    assert holder(here.port) is None and holder(port) is None


def test_a_configuration_that_is_broken_already_is_left_alone(here: Machine) -> None:
    here.own.site("broken", "server { listen 80 nonsense; }")
    before = snapshot(here.own.etc)
    done = here.command("--install")
    assert done.returncode == 2 and "not right as it is" in told(done) and "nonsense" in told(done)
    here.own.site("broken", "server { listen 80;")
    done = here.command("--install")
    assert done.returncode == 2 and "broken.conf:1" in told(done)
    (here.own.etc / "sites-enabled/broken.conf").unlink()
    assert snapshot(here.own.etc).keys() < before.keys()


def test_a_reload_that_nginx_refuses_is_taken_back(short_dir: Path) -> None:
    own = OwnNginx(short_dir, "conf.d")
    port = free_ports(1)[0]
    with own, socket.create_server(("127.0.0.1", 0)) as taken:
        manifest = Manifest(Tree(str(short_dir)), "x")
        running = Running(own.facts, read(str(own.main_file)), reload_s=4)
        good = Artifact("/nginx/conf.d/x.conf", f"server {{ listen 127.0.0.1:{port}; return 200 good; }}\n")
        assert install([good], manifest, running).reloaded is True
        for number in range(5):
            # From then on nobody is answered by the old files.
            text = good.text.replace("good", f"good{number}")
            assert install([Artifact(good.path, text)], manifest, running).reloaded is True
            assert [get(f"127.0.0.1:{port}").body for _ in range(20)] == [b"good%d" % number] * 20
        assert install([good], manifest, running).reloaded is True
        # nginx -t does not mind an address that is taken: it may be nginx that has it.
        bad = Artifact(good.path, f"server {{ listen {taken.getsockname()[1]}; return 200 bad; }}\n")
        with pytest.raises(NotInstalled, match=r"kept its old configuration: bind\(\) to .* Address already in use"):
            install([bad], manifest, running)
        assert (own.etc / "conf.d/x.conf").read_text() == good.text
        assert get(f"127.0.0.1:{port}").body == b"good"
        # And what cannot be taken away, because something else needs it, stays.
        (own.etc / "conf.d/y.conf").write_text(f"include {own.etc}/conf.d/x.conf;")
        with pytest.raises(NotInstalled):
            uninstall(manifest, running)
        assert (own.etc / "conf.d/x.conf").read_text() == good.text
        (own.etc / "conf.d/y.conf").unlink()
        assert uninstall(manifest, running).reloaded is True
        assert not (own.etc / "conf.d/x.conf").exists() and not (short_dir / "var/lib/penstock").exists()


def test_nginx_need_not_run(short_dir: Path) -> None:
    own = OwnNginx(short_dir, "conf.d")
    manifest, running = Manifest(Tree(str(short_dir)), "x"), Running(own.facts, read(str(own.main_file)))
    made = Artifact("/nginx/conf.d/x.conf", "# nothing\n")
    assert install([made], manifest, running).reloaded is False
    assert install([made], manifest, running).reloaded is None
    # A pid file that is left over names somebody else.
    (short_dir / "nginx.pid").write_text(str(os.getpid()))
    assert running.master() is None and uninstall(manifest, running).reloaded is False


def test_a_folder_for_another_machine(tmp_path: Path) -> None:
    ini = tmp_path / "shop.ini"
    # Relative paths count from the file, as for the service that is made of it.
    ini.write_text(f"[uwsgi]\nsocket = run/shop.sock\nwsgi-file = {APPS}/hello.py\n")
    root = tmp_path / "root"
    root.mkdir()
    install = ("--root", root, "--install", "--server-name", "shop.example.org", "--name", "shop", ini)
    done = run(*install)
    assert done.returncode == 0, done.stderr
    text = (root / "etc/nginx/conf.d/shop.conf").read_text()
    assert "uwsgi_pass penstock_shop;" in text and f"server unix:{tmp_path}/run/shop.sock;" in text
    assert run("--root", root, "--uninstall", "--name", "shop", ini).returncode == 0
    assert snapshot(root) == {}

    # With nginx's own files in it, and a certificate of certbot's.
    (root / "etc/nginx").mkdir(parents=True, exist_ok=True)
    (root / "etc/nginx/nginx.conf").write_text("events {} http { include /etc/nginx/sites-enabled/*; }")
    live = root / "etc/letsencrypt/live/shop.example.org"
    live.mkdir(parents=True)
    certificate_file, key = certificate(tmp_path, "shop.example.org")
    certificate_file.rename(live / "fullchain.pem")
    key.rename(live / "privkey.pem")
    done = run(*install)
    assert done.returncode == 0 and "the certificate that certbot has" in told(done)
    text = (root / "etc/nginx/sites-available/shop").read_text()
    assert "ssl_certificate /etc/letsencrypt/live/shop.example.org/fullchain.pem;" in text
    assert os.readlink(root / "etc/nginx/sites-enabled/shop") == "/etc/nginx/sites-available/shop"
    assert "ssl" not in run("--root", root, "--no-tls", "--server-name", "shop.example.org", ini).stdout
    assert "there is no such folder" in told(run("--root", tmp_path / "none", ini))


def test_what_django_says_is_in_the_site(tmp_path: Path) -> None:
    folder = make_django(tmp_path / "site", settings="ALLOWED_HOSTS = ['.shop.example.org']")
    (folder / "shop.ini").write_text("[uwsgi]\nhttp-socket = /run/shop/shop.sock\nchdir = %d\nmodule = cmdb.wsgi\n")
    done = run("--json", folder / "shop.ini")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["name"] == "shop" and "server_name .shop.example.org;" in said["text"]
    assert f"alias {folder}/static/;" in said["text"] and f"alias {folder}/media/;" in said["text"]
    assert said["file"].endswith("/shop") and said["notes"] and all(note["message"] for note in said["notes"])
    # What does not come up is told, and there is a site nevertheless.
    (folder / "cmdb/settings.py").write_text("import missing_module\n")
    done = run(folder / "shop.ini")
    assert done.returncode == 1 and "missing_module" in told(done) and "location / {" in done.stdout
    assert run("--no-django", folder / "shop.ini").stderr.count("missing_module") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing names a configuration"),
        (("--port",), "--port needs a value"),
        (("--port", "0", "x.ini"), "--port 0 is no number from 1 to 65535"),
        (("--hsts=x", "--http", ":8000"), "--hsts x is no number"),
        (("--body-size", "5 apples", "--http", ":8000"), "--body-size 5 apples is no size"),
        (("--nginx", "/bin/true", "--http", ":8000", "--module", "a"), "is not nginx"),
        (("missing.ini",), "missing.ini"),
        (("--http", ":0", "--module", "a", "--server-name", "a.org"), "http-socket = /run/"),
        (("--http", ":8000", "--module", "a", "--uwsgi"), "socket = /run/"),
        (("--http", ":8000", "--module", "a", "--server-name", "a;b"), "no host name"),
    ],
)
def test_mistakes_are_told_and_end_with_2(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2 and message in told(done)
    assert "Traceback" not in told(done)


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0 and "--protected-media" in done.stdout and not done.stderr
