"""Exported files against what others have published: schemas, parsers and a linter, all of them offline."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import hcl2
import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.support.exports import export

BIN = Path(sys.executable).parent

CONFIG = """\
[uwsgi]
chdir = %d
module = cmdb.wsgi
http = 127.0.0.1:8000
processes = 6
threads = 8
harakiri = 20
limit-post = 1000000
log-format = %(addr) {{ "${x}" }} <%(uri)>
route = ^/%%{HOST}x redirect:/y
worker-reload-mercy = 25
drain-delay = 7
"""


@pytest.fixture(scope="module", params=["plain", "media", "config"])
def target(request: pytest.FixtureRequest, shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Several things to export: a bare application, a Django project, and one with a configuration."""
    if request.param == "plain":
        folder = tmp_path_factory.mktemp("plain")
        (folder / "app.py").write_text("def application(environ, start_response):\n    return []\n")
        yield folder
        return
    config = shop / "penstock.ini"
    if request.param == "config":
        config.write_text(CONFIG)
    yield shop
    config.unlink(missing_ok=True)


@pytest.mark.parametrize("scale", ["saturation", "cpu", "none"])
def test_kubernetes_takes_the_manifest(target: Path, tmp_path: Path, scale: str) -> None:
    made = export("kubernetes", target, tmp_path, "--autoscale", scale, "--replicas", "3")
    documents = list(yaml.safe_load_all(made["kubernetes.yaml"]))
    assert len(documents) >= 6
    for document in documents:
        for version in ("1.30", "1.37"):
            kubernetes_validate.validate(document, version, strict=True)


def test_the_schema_would_notice_a_slip(shop: Path, tmp_path: Path) -> None:
    documents = list(yaml.safe_load_all(export("kubernetes", shop, tmp_path)["kubernetes.yaml"]))
    deployment = next(one for one in documents if one["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["terminationGracePeriod"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(deployment, "1.37", strict=True)


def test_compose_takes_the_file(target: Path, tmp_path: Path) -> None:
    made = export("compose", target, tmp_path)
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    document = yaml.safe_load(made["compose.yaml"])
    jsonschema.validate(document, schema)
    document["services"]["web"]["stop_grace"] = "5s"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)


def test_hadolint_finds_nothing(target: Path, tmp_path: Path) -> None:
    export("dockerfile", target, tmp_path)
    result = subprocess.run([BIN / "hadolint", tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stdout
    (tmp_path / "Dockerfile").write_text("FROM python\nCMD penstock\n")
    assert subprocess.run([BIN / "hadolint", tmp_path / "Dockerfile"], capture_output=True, check=False).returncode == 1


def test_nomad_jobs_are_hcl(target: Path, tmp_path: Path) -> None:
    made = export("nomad", target, tmp_path)
    assert made
    for text in made.values():
        (job,) = hcl2.loads(text)["job"]
        assert job
    with pytest.raises(Exception, match="Unexpected"):
        hcl2.loads(next(iter(made.values())) + "}")


def test_a_platform_gets_a_procfile_and_an_app_json(target: Path, tmp_path: Path) -> None:
    made = export("heroku", target, tmp_path)
    lines = made["Procfile"].splitlines()
    assert lines[0] == "web: exec penstock container.ini"
    document = json.loads(made["app.json"])
    assert document["buildpacks"] == [{"url": "heroku/python"}]
    assert set(document["formation"]) == {line.partition(":")[0] for line in lines} - {"release"}
    assert made[".python-version"].strip().count(".") == 1
