"""What `penstock export` writes, at work: a pod's life as its kubelet leads it, and an image's process as it is run."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

import penstock
from tests.e2e.clients import Connection, connect, get, post, request_bytes
from tests.e2e.harness import APPS, Gate, Penstock, clean_environment, free_port, until
from tests.support.exports import by_kind, export, instructions, last, placed
from tests.support.projects import make_django, manage

CONFIG = """\
[uwsgi]
wsgi-file = %dapp.py
http = 127.0.0.1:8000
processes = 2
threads = 2
drain-delay = 3
worker-reload-mercy = 30
harakiri = 60
"""


class Pod:
    """The one container of a Deployment, and what its kubelet knows of it: the manifest, nothing else."""

    def __init__(self, manifest: str, folder: Path, short_dir: Path) -> None:
        """Start what the manifest says, where the image's /app is `folder`."""
        found = by_kind(manifest)
        self.spec = found["Deployment"]["spec"]["template"]["spec"]
        (self.container,) = self.spec["containers"]
        volumes = {volume["name"]: volume for volume in self.spec["volumes"]}
        arguments = list(self.container["args"])
        for mount in self.container["volumeMounts"]:
            # A ConfigMap is a folder with a file for each key.
            if "configMap" in volumes[mount["name"]]:
                assert volumes[mount["name"]]["configMap"]["name"] == found["ConfigMap"]["metadata"]["name"]
                for name, text in found["ConfigMap"]["data"].items():
                    (short_dir / name).write_text(placed(text, folder))
                arguments = [word.replace(mount["mountPath"], str(short_dir)) for word in arguments]
        assert self.container["command"] == ["/venv/bin/penstock"]
        environment = {one["name"]: one["value"] for one in self.container.get("env", ())}
        assert all(source["secretRef"]["optional"] for source in self.container["envFrom"])
        self.ports = {port["name"]: port["containerPort"] for port in self.container["ports"]}
        self.http = f"127.0.0.1:{self.ports['http']}"
        self.instance = Penstock(*arguments, env=environment, wait=False)

    def probe(self, name: str) -> bool:
        """Probe once, as the manifest says: whether it passes (a status from 200 to 399)."""
        wanted = self.container[name]["httpGet"]
        try:
            answer = get(f"127.0.0.1:{self.ports[wanted['port']]}", wanted["path"])
        except OSError:
            return False
        return 200 <= answer.status < 400

    def patience_s(self, name: str) -> float:
        """For how long a probe may fail."""
        wanted = self.container[name]
        return float(wanted["periodSeconds"] * wanted["failureThreshold"])

    @property
    def grace_s(self) -> float:
        """From the decision to end it until it is killed."""
        return float(self.spec["terminationGracePeriodSeconds"])

    def pre_stop(self) -> None:
        """Run the hook, if there is one."""
        command = self.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        if command:
            subprocess.run(command, check=True, timeout=self.grace_s)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose import waits for a FIFO, and whose requests can be held."""
    folder = tmp_path / "project"
    folder.mkdir()
    os.mkfifo(folder / "import")
    app = f"open({str(folder / 'import')!r}).close()\n" + (APPS / "cases.py").read_text()
    (folder / "app.py").write_text(app)
    (folder / "penstock.ini").write_text(CONFIG)
    (folder / "requirements.txt").write_text("")
    return folder


def visitor(address: str, leaves: threading.Event, answers: list[int | str]) -> None:
    """Ask again and again, each time on a new connection, as somebody whom a service sends here."""
    while not leaves.wait(0.01):
        try:
            answers.append(get(address, "/hello").status)
        except OSError as error:
            answers.append(repr(error))


@pytest.mark.option("drain-delay", "admin", "worker-reload-mercy")
@pytest.mark.event("drain-delay")
def test_a_pods_life(project: Path, short_dir: Path, gate: Gate) -> None:
    ports = ("--port", str(free_port()), "--admin-port", str(free_port()))
    manifest = export("kubernetes", project, short_dir / "out", *ports)["kubernetes.yaml"]
    pod = Pod(manifest, project, short_dir)
    with pod.instance as instance, contextlib.ExitStack() as opened:
        # Started: nothing else is asked until this one passes.
        until("the listener of probes is there", lambda: "probes are answered on" in instance.log)
        assert not pod.probe("startupProbe") and pod.probe("livenessProbe")
        let_import(pod, project)
        assert pod.probe("readinessProbe")

        # Every thread is busy, and more wait: it is alive and ready, and must not be restarted.
        busy = [opened.enter_context(Connection(pod.http)) for _ in range(6)]
        for connection in busy:
            connection.send(request_bytes("GET", gate.target))
        saturation = f"127.0.0.1:{pod.ports['admin']}"
        until("all are busy", lambda: json.loads(get(saturation, "/saturation").body)["busy"] == 4)
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            assert pod.probe("livenessProbe") and pod.probe("readinessProbe")
        gate.open(3)
        kept = opened.enter_context(Connection(pod.http))
        assert kept.send(request_bytes("GET", "/hello")).read().status == 200

        # Deleted: the hook, the signal; the service learns of it from the readiness probe, and a moment later.
        leaves, answers = threading.Event(), list[int | str]()
        thread = threading.Thread(target=visitor, args=(pod.http, leaves, answers))
        thread.start()
        begun = time.monotonic()
        try:
            pod.pre_stop()
            instance.send(signal.SIGTERM)
            until("the readiness probe fails", lambda: not pod.probe("readinessProbe"))
            count = len(answers)
            until("new connections are still served", lambda: len(answers) > count + 10)
            assert pod.probe("livenessProbe") and is_accepting(pod.http)
            # An old connection is served as well, and told to go elsewhere.
            answer = kept.send(request_bytes("GET", "/hello")).read()
            assert (answer.status, answer.header("connection")) == (200, "close")
        finally:
            leaves.set()
            thread.join()
        assert set(answers) == {200}

        # Three requests are in flight until long after that.
        until("nobody else is let in", lambda: not is_accepting(pod.http))
        assert instance.process.poll() is None
        gate.open(3)
        assert [connection.read().body for connection in busy] == [b"waited"] * 6
        assert instance.wait_exit(pod.grace_s - (time.monotonic() - begun)) == 0


def is_accepting(address: str) -> bool:
    """Whether somebody listens there."""
    try:
        connect(address).close()
    except OSError:
        return False
    return True


@pytest.mark.option("worker-reload-mercy")
def test_a_request_that_never_ends_does_not_outlast_the_grace_period(
    project: Path, short_dir: Path, gate: Gate
) -> None:
    text = CONFIG.replace("drain-delay = 3", "drain-delay = 1").replace("mercy = 30", "mercy = 2")
    (project / "penstock.ini").write_text(text)
    ports = ("--port", str(free_port()), "--admin-port", str(free_port()))
    manifest = export("kubernetes", project, short_dir / "out", *ports)["kubernetes.yaml"]
    pod = Pod(manifest, project, short_dir)
    with pod.instance as instance, contextlib.ExitStack() as opened:
        let_import(pod, project)
        connection = opened.enter_context(Connection(pod.http))
        connection.send(request_bytes("GET", gate.target))
        gate.entered()
        instance.send(signal.SIGTERM)
        assert instance.wait_exit(pod.grace_s) == 0


def let_import(pod: Pod, project: Path) -> None:
    """Let the application be imported; until the startup probe passes, or a kubelet would give up."""
    # Open for both directions, so that opening waits for nobody.
    fifo = os.open(project / "import", os.O_RDWR)
    try:
        until("the startup probe passes", lambda: pod.probe("startupProbe"), pod.patience_s("startupProbe"))
    finally:
        os.close(fifo)


# -- the image ---------------------------------------------------------------------------------------------------------

CONTAINER = """
set -e
root=$1 app=$2 venv=$3 media=$4 needed=$5; shift 5
mount --make-rprivate /
mount -t tmpfs -o size=64m,mode=755 image "$root"
mkdir "$root/proc" "$root/tmp" "$root/app" "$root/venv"
mount -t tmpfs tmp "$root/tmp"
for folder in /*; do
    case $folder in
        /proc|/tmp|/app|/venv|/root|/home|/lost+found) continue ;;
    esac
    if [ -L "$folder" ]; then
        cp -a "$folder" "$root$folder"
    elif [ -d "$folder" ]; then
        mkdir "$root$folder"
        mount --rbind "$folder" "$root$folder"
        mount -o remount,ro,bind "$root$folder"
    fi
done
# The interpreter and this package, wherever they are: on the way there may be folders that only root may enter.
for folder in $needed; do
    [ -e "$root$folder" ] && continue
    mkdir -p "$root$folder"
    mount --bind "$folder" "$root$folder"
    mount -o remount,ro,bind "$root$folder"
done
mount -t proc proc "$root/proc"
mount --bind "$app" "$root/app"
mount -o remount,ro,bind "$root/app"
mount --bind "$venv" "$root/venv"
mount -o remount,ro,bind "$root/venv"
mount -t tmpfs -o mode=700,uid=10001,gid=10001 media "$root$media"
mount -o remount,ro "$root"
exec chroot "$root" setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all \\
    --inh-caps=-all "$@"
"""
"""An image's file system out of this one: everything read-only, but for /tmp and a volume; no user but a number."""


UNSHARE = ("unshare", "--mount", "--pid", "--fork")


def can_contain() -> bool:
    """Whether this test may make namespaces."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "setpriv", "chroot"))):
        return False
    tried = [*UNSHARE, "mount", "--make-rprivate", "/"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def contained(tmp_path: Path, made: Mapping[str, str], app: Path, media: str) -> Iterator[tuple[int, Path]]:
    """Run the image's process as its Dockerfile says; the process outside, and the log."""
    root, log = tmp_path / "root", tmp_path / "log"
    root.mkdir()
    dockerfile = made["Dockerfile"]
    assert last(dockerfile, "USER") == "10001:10001"
    command = [*last(dockerfile, "ENTRYPOINT"), *last(dockerfile, "CMD")]
    environment = {
        name: value
        for pairs in [rest for word, rest in instructions(dockerfile) if word == "ENV"]
        for name, _, value in (pair.partition("=") for pair in pairs.split())
        if name != "PATH"
    }
    venv = Path(sys.prefix)
    needed = " ".join([sys.base_prefix, str(Path(penstock.__file__).parent.parent)])
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*UNSHARE, "--kill-child", "sh", "-c", CONTAINER, "sh", root, app, venv, media, needed, *command],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process.pid, log
        assert process.wait(60) == 0, log.read_text()
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.skipif(not can_contain(), reason="needs root and namespaces")
def test_the_image_runs_on_a_read_only_root_as_nobody(tmp_path: Path) -> None:
    settings = 'MIDDLEWARE = [m for m in MIDDLEWARE if "csrf" not in m]'
    shop = make_django(tmp_path / "shop", settings=settings)
    port, admin = free_port(), free_port()
    made = export("dockerfile", shop, shop, "--force", "--port", str(port), "--admin-port", str(admin))
    # What the image's steps make of the project.
    (collect,) = [rest for word, rest in instructions(made["Dockerfile"]) if word == "RUN" and "collectstatic" in rest]
    assert "/app/manage.py collectstatic --noinput" in collect
    manage(shop, "collectstatic", "--noinput")
    (shop / "media").mkdir()
    with contained(tmp_path, made, shop, "/app/media") as (outside, log):
        health = json.loads(last(made["Dockerfile"], "HEALTHCHECK").partition(" CMD ")[2])
        check = [sys.executable if word == "/venv/bin/python" else word for word in health]

        def is_healthy() -> bool:
            return subprocess.run(check, capture_output=True, check=False, env=clean_environment()).returncode == 0

        try:
            until("the health check passes", is_healthy, 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text()}") from None
        (first,) = map(int, Path(f"/proc/{outside}/task/{outside}/children").read_text().split())
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{first}/status").read_text().splitlines())
        assert status["Uid"].split() == ["10001"] * 4 and int(status["CapEff"], 16) == 0
        assert status["NSpid"].split()[-1] == "1", "it is process 1 of its container"
        address = f"127.0.0.1:{port}"
        assert get(address, "/", {"Host": "shop.example.org"}).body == b"shop\n"
        assert get(address, "/static/admin/css/base.css").status == 200
        # The body is larger than what is kept in memory: it goes to a file, and that is not on the root.
        content = b"x" * 3_000_000
        form = (
            b'--B\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\n' + content + b"\r\n--B--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=B", "Host": "shop.example.org"}
        answer = post(address, "/upload/", form, headers)
        assert answer.status == 200 and answer.body.startswith(b"/media/a.txt 3000000"), answer
        # Behind a proxy of the private network that the client's own address is not on.
        forwarded = {"Host": "shop.example.org", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
        assert get(address, "/host/", forwarded).body == b"https shop.example.org 192.0.2.7\n"
        os.kill(first, signal.SIGTERM)
    assert "Read-only file system" not in log.read_text() and "Permission denied" not in log.read_text()


# -- compose -----------------------------------------------------------------------------------------------------------


def test_the_nginx_of_compose_serves_and_believes_nobody(tmp_path: Path) -> None:
    shop = make_django(tmp_path / "shop")
    made = export("compose", shop, tmp_path / "out")
    service: dict[str, Any] = yaml.safe_load(made["compose.yaml"])["services"]
    assert service["nginx"]["depends_on"]["web"]["condition"] == "service_healthy"
    port, other = free_port(), free_port()
    ini = tmp_path / "container.ini"
    text = placed(made["container.ini"], shop).replace(":8000", f"127.0.0.1:{other}")
    ini.write_text(text.replace("admin = :9000", "admin = 127.0.0.1:0").replace("drain-delay = 10", "drain-delay = 0"))
    (shop / "media").mkdir()
    (shop / "media/a.html").write_text("<b>uploaded</b>")
    config = tmp_path / "nginx.conf"
    # This machine in place of the network of compose; an older nginx does not know `resolve` in an upstream.
    text = made["nginx.container.conf"].replace("server web:8000 resolve", f"server 127.0.0.1:{other}")
    text = text.replace("/tmp/", f"{tmp_path}/").replace("/app/", f"{shop}/").replace("listen 8080", f"listen {port}")
    text = text.replace("include mime.types", "include /etc/nginx/mime.types").replace("/dev/stdout", "off")
    config.write_text(("user root;\n" if os.getuid() == 0 else "") + text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    tested = subprocess.run([program, "-t", "-c", config], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    with Penstock("--ini", ini):
        process = subprocess.Popen([program, "-c", config, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
        try:
            address = f"127.0.0.1:{port}"
            until("nginx listens", lambda: is_accepting(address))
            forged = {"Host": "shop.example.org", "X-Forwarded-For": "192.0.2.7", "X-Forwarded-Proto": "https"}
            assert get(address, "/host/", forged).body == b"http shop.example.org 127.0.0.1\n"
            uploaded = get(address, "/media/a.html")
            assert uploaded.body == b"<b>uploaded</b>" and uploaded.header("x-content-type-options") == "nosniff"
            assert get(address, "/media../manage.py").status == 404
        finally:
            process.terminate()
            process.wait(10)
