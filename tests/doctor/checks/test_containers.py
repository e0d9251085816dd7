"""Containers: a real shell as process 1 in a process namespace of its own, and the files that describe others."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from penstock.doctor.gather.manifests import containers, stays_a_shell
from tests.doctor.support import PYTHON, evidence, examination, serious, write_configuration
from tests.e2e.harness import ROOT, clean_environment, free_port

COMPOSE = """\
services:
  web:
    build: .
    command: {command}
    stop_grace_period: {grace}
    healthcheck:
      test: ["CMD", "curl", "-f", "http://127.0.0.1:{port}{path}"]
  db:
    image: postgres:17
    command: sh -c "postgres && true"
"""
KUBERNETES = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
spec:
  template:
    spec:
      terminationGracePeriodSeconds: {grace}
      containers:
        - name: web
          image: shop
          command: {command}
          ports:
            - name: http
              containerPort: {port}
            - name: admin
              containerPort: {admin}
          livenessProbe:
            httpGet:
              path: {path}
              port: {probe}
---
not a document of ours
"""


def test_a_shell_that_is_process_1(folder: Path) -> None:
    """The instance and the doctor in a process namespace whose first process is a shell, as in an image."""
    if os.geteuid() != 0:
        pytest.skip("only root can make namespaces")
    program = f"{PYTHON} -m penstock"
    (folder / "none").mkdir()
    script = (
        f"{program} app.ini >log 2>&1 & M=$!; for i in $(seq 300); do grep -q 'is ready' log && break; sleep 0.1; done;"
        f"{program} doctor --json --no-import --root {folder}/none app.ini; kill $M; wait $M"
    )
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "/bin/sh", "-c", script],
        cwd=folder,
        env={**clean_environment(), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = json.loads(done.stdout)["findings"]
    (one,) = (each for each in found if each["severity"] == "error")
    assert one["id"] == "shell-is-pid-1" and one["evidence"][0]["value"].startswith("/bin/sh -c")


@pytest.mark.parametrize(
    ("text", "is_shell"),
    [
        ('FROM python:3.13\nCMD ["penstock", "app.ini"]\n', False),
        ("FROM python:3.13\nCMD exec penstock app.ini\n", False),
        ("FROM python:3.13\nCMD penstock app.ini\n", True),
        ('FROM python:3.13\nENTRYPOINT ["/bin/sh", "-c", "migrate && penstock app.ini"]\n', True),
        ('FROM python:3.13\nENTRYPOINT ["/bin/sh", "-c", "migrate && exec penstock app.ini"]\n', False),
        ('FROM x AS build\nCMD penstock x\nFROM y\nCMD ["uwsgi", \\\n  "app.ini"]\n', False),
    ],
)
def test_dockerfiles(folder: Path, text: str, is_shell: bool) -> None:
    (folder / "Dockerfile").write_text(text)
    found = examination(folder, "app.ini")
    assert serious(found) == {"not-running"} | ({"shell-is-pid-1"} if is_shell else set())
    if is_shell:
        (one,) = (each for each in found.diagnoses if each.code == "shell-is-pid-1")
        assert "Dockerfile:2" in evidence(one)


@pytest.mark.parametrize(
    ("command", "grace", "path", "codes"),
    [
        ("penstock app.ini", "90s", "/livez", set()),
        ("penstock app.ini", "1m30s", "/", {"liveness-on-app"}),
        ("penstock app.ini", "10s", "/livez", {"grace-too-short"}),
        ("sh -c 'penstock app.ini; true'", "90s", "/livez", {"shell-is-pid-1"}),
    ],
)
def test_compose_files(folder: Path, command: str, grace: str, path: str, codes: set[str]) -> None:
    port, admin = free_port(), free_port()
    write_configuration(folder, f"http = :{port}\nadmin = :{admin}\n")
    asked = admin if path == "/livez" else port
    (folder / "compose.yaml").write_text(COMPOSE.format(command=command, grace=grace, port=asked, path=path))
    found = examination(folder, "app.ini")
    assert serious(found) - {"not-running", "http-around-proxy"} == codes
    for one in found.diagnoses:
        if one.code in codes:
            assert "compose.yaml:" in evidence(one)


@pytest.mark.parametrize(
    ("command", "grace", "path", "probe", "codes"),
    [
        ('["penstock", "app.ini"]', "70", "/livez", "admin", set()),
        ('["penstock", "app.ini"]', "30", "/livez", "admin", {"grace-too-short"}),
        ('["penstock", "app.ini"]', "70", "/", "http", {"liveness-on-app"}),
        ('["sh", "-c", "migrate; penstock app.ini"]', "70", "/livez", "admin", {"shell-is-pid-1"}),
    ],
)
def test_manifests(folder: Path, command: str, grace: str, path: str, probe: str, codes: set[str]) -> None:
    port, admin = free_port(), free_port()
    write_configuration(folder, f"http = :{port}\nadmin = :{admin}\n")
    (folder / "k8s").mkdir()
    text = KUBERNETES.format(command=command, grace=grace, port=port, admin=admin, path=path, probe=probe)
    (folder / "k8s" / "shop.yaml").write_text(text)
    found = examination(folder, "app.ini")
    assert serious(found) - {"not-running", "http-around-proxy"} == codes
    for one in found.diagnoses:
        if one.code in codes:
            assert "k8s/shop.yaml:" in evidence(one)


def test_127_0_0_1_in_a_container(folder: Path) -> None:
    port = free_port()
    path = folder / "app.ini"
    path.write_text(
        path.read_text().replace(f"socket = {folder}/app.sock\nchmod-socket = 660", f"http = 127.0.0.1:{port}")
    )
    found = examination(folder, "app.ini", environ={"container": "podman"})
    assert {"loopback-in-container"} == serious(found) - {"not-running"}
    (one,) = (each for each in found.diagnoses if each.code == "loopback-in-container")
    assert one.cure == f"http = :{port}" and "app.ini:2" in evidence(one)
    path.write_text(path.read_text().replace(f"127.0.0.1:{port}", f":{port}"))
    assert serious(examination(folder, "app.ini", environ={"container": "podman"})) == {"not-running"}


def test_the_variable_port(folder: Path) -> None:
    port = free_port()
    path = folder / "app.ini"
    path.write_text(path.read_text().replace(f"socket = {folder}/app.sock\nchmod-socket = 660", f"http = :{port}"))
    about = {"container": "podman", "PORT": "1234"}
    found = examination(folder, "app.ini", environ=about)
    assert serious(found) == {"not-running", "not-on-port"}
    assert serious(examination(folder, "app.ini", environ={**about, "PORT": str(port)})) == {"not-running"}


@pytest.mark.parametrize(
    "text", ["\0", "[", "a: &a [*a, *a]\n", "services: [1, {}]\n", "kind: Pod\nspec: 3\n", "- \t: :"]
)
def test_files_that_say_nothing_are_passed_over(tmp_path: Path, text: str) -> None:
    for name in ("compose.yaml", "pod.yaml", "Dockerfile"):
        (tmp_path / name).write_text(text)
    assert containers(str(tmp_path)) == ()


def test_commands_of_shells() -> None:
    assert not stays_a_shell([]) and not stays_a_shell(["penstock", "sh"])
    assert stays_a_shell(["bash", "-lc", "penstock"]) and not stays_a_shell(["sh", "/run.sh"])
