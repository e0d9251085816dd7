"""What exported files say: where things are, how long a stop takes, what is carried over, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import hcl2
import pytest
import yaml

from penstock.deploy.export.text import Notes, document
from tests.e2e.harness import run_penstock
from tests.support.exports import by_kind, export, instructions, last, placed

CONFIG = """\
[uwsgi]
chdir = %d
home = %dvenv
module = cmdb.wsgi:application
env = DJANGO_SETTINGS_MODULE=cmdb.settings
env = API_TOKEN=hush
socket = /run/cmdb/cmdb.sock
chmod-socket = 660
stats = 127.0.0.1:9191
uid = nobody-of-this-name
gid = nobody-of-this-name
master = true
processes = 3
threads = 2
pidfile = /run/cmdb.pid
daemonize = /var/log/cmdb.log
harakiri = 20
drain-delay = 7
worker-reload-mercy = 25
touch-reload = %dreload
static-map = /static=%dstatic
static-map = /files=/srv/files
spool-dir = %d../spool
log-format = %(addr) "%(method) %(uri)" $(SUFFIX)
limit-post = 1000000
buffer-size = 65536
attach-daemon = %dworker.sh
reload-mercy = 6
trusted-proxies = 192.0.2.1
"""


@pytest.fixture
def configured(shop: Path, tmp_path: Path) -> Path:
    """A copy of the project with the configuration of a uWSGI tutorial."""
    folder = tmp_path / "project"
    shutil.copytree(shop, folder)
    (folder / "venv").mkdir()
    (folder / "uwsgi.ini").write_text(CONFIG)
    return folder


def options(ini: str) -> list[tuple[str, str]]:
    """Read the pairs of an ini file, comments left out."""
    pairs = [line.partition(" = ") for line in ini.splitlines() if " = " in line and not line.startswith("#")]
    return [(name, value) for name, _, value in pairs]


def is_ignored(text: str, path: str) -> bool:
    """Whether Docker leaves a path out: patterns are for the whole path, and `**/` is any folder or none."""
    folders = [path.rsplit("/", count)[0] for count in range(path.count("/") + 1)]
    for line in text.splitlines():
        parts = re.split(r"(\*\*/|\*|\[\w+\])", line)
        special = {"**/": "(?:.*/)?", "*": "[^/]*"}
        pattern = "".join(special.get(part, part if part[:1] == "[" else re.escape(part)) for part in parts)
        if line and any(re.fullmatch(pattern, each) for each in folders):
            return True
    return False


def test_the_image_is_small_and_not_root(shop: Path, tmp_path: Path) -> None:
    made = export("dockerfile", shop, tmp_path)
    text = made["Dockerfile"]
    stages = [rest for name, rest in instructions(text) if name == "FROM"]
    assert len(stages) == 2 and all("slim" in stage for stage in stages)
    assert last(text, "USER") == "10001:10001"
    assert last(text, "ENTRYPOINT") == ["/venv/bin/penstock"] and last(text, "CMD") == ["/app/container.ini"]
    assert last(text, "STOPSIGNAL") == "SIGTERM" and "readyz" in last(text, "HEALTHCHECK")
    assert ("EXPOSE", "8000 9000") in instructions(text)
    # Requirements are a layer of their own, before the code.
    order = [rest for name, rest in instructions(text) if name == "COPY"]
    assert order[0] == "requirements.txt /tmp/requirements/" and order[2] == ". ."
    assert {"static", "media"} <= set(made[".dockerignore"].splitlines())
    secret = (".env", "conf/.env", "conf/.env.production", "conf/server.key", "a/b/tls.pem", "site/db.sqlite3", ".git")
    assert [path for path in secret if not is_ignored(made[".dockerignore"], path)] == []
    kept = ("manage.py", "shop/env/models.py", "shop/key.py", "requirements.txt")
    assert [path for path in kept if is_ignored(made[".dockerignore"], path)] == []
    # Nothing that runs in the image is installed from an index by the name of this program.
    assert "pip install penstock" not in text and "/tmp/wheels/" in text


def test_a_configuration_is_carried_over(configured: Path, tmp_path: Path) -> None:
    made = export("dockerfile", configured / "uwsgi.ini", tmp_path / "out")
    found = options(made["container.ini"])
    said = dict(found)
    assert said["chdir"] == "/app" and said["module"] == "cmdb.wsgi:application"
    assert (said["http"], said["admin"]) == (":8000", ":9000")
    assert (said["processes"], said["threads"], said["harakiri"]) == ("3", "2", "20")
    assert (said["drain-delay"], said["worker-reload-mercy"]) == ("7", "25")
    # Written so that it is read as it was; what the environment has to say stays its business.
    assert said["log-format"] == '%%(addr) "%%(method) %%(uri)" $(SUFFIX)'
    assert [value for name, value in found if name == "static-map"] == ["/static=/app/static"]
    assert [value for name, value in found if name == "env"] == ["DJANGO_SETTINGS_MODULE=cmdb.settings"]
    assert not {"uid", "gid", "pidfile", "daemonize", "socket", "stats", "home", "touch-reload", "master"} & set(said)
    text = made["container.ini"]
    assert "hush" not in text and "env    (a secret" in text
    assert "# static-map = /files=/srv/files    (a place outside of the project)" in text
    assert str(configured) not in "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def test_virtual_environments_of_any_name_stay_outside(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(shop, folder)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "py"], check=True)
    made = export("kubernetes", folder, tmp_path / "k") | export("dockerfile", folder, tmp_path / "d")
    assert "py" in made[".dockerignore"].splitlines()


def test_what_was_exported_passes_the_check(configured: Path, tmp_path: Path) -> None:
    made = export("dockerfile", configured / "uwsgi.ini", tmp_path / "out")
    (configured / "static").mkdir()
    ini = configured / "container.ini"
    ini.write_text(placed(made["container.ini"], configured))
    result = run_penstock("check", ini, env={"SUFFIX": "x"})
    assert "error" not in result.stdout and result.returncode in (0, 1), result.stdout


def test_a_stop_fits_everywhere(configured: Path, tmp_path: Path) -> None:
    programs = 6
    least = 7 + 25 + programs
    manifest = by_kind(export("kubernetes", configured / "uwsgi.ini", tmp_path / "k")["kubernetes.yaml"])
    assert manifest["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > least
    compose = yaml.safe_load(export("compose", configured / "uwsgi.ini", tmp_path / "c")["compose.yaml"])
    assert int(compose["services"]["web"]["stop_grace_period"].rstrip("s")) > least
    job = hcl2.loads(export("nomad", configured / "uwsgi.ini", tmp_path / "n")["cmdb.nomad.hcl"])["job"][0]
    (task,) = next(iter(job.values()))["group"][0]['"web"']["task"]
    assert int(task['"web"']["kill_timeout"].strip('"s')) > least
    # The platform kills after 30 seconds, and its router gives up a request then.
    heroku = dict(options(export("heroku", configured / "uwsgi.ini", tmp_path / "h")["container.ini"]))
    assert int(heroku["drain-delay"]) + int(heroku["worker-reload-mercy"]) + programs < 30 > int(heroku["harakiri"])
    assert heroku["http"] == ":$(PORT)"


def test_the_manifest_is_of_one_piece(shop: Path, tmp_path: Path) -> None:
    words = ("--image", "registry.example.org:5000/cmdb:1.4", "--port", "8123", "--admin-port", "9123")
    made = export("kubernetes", shop, tmp_path, *words)
    found = by_kind(made["kubernetes.yaml"])
    pod = found["Deployment"]["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    assert container["image"] == "registry.example.org:5000/cmdb:1.4"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    ini = dict(options(found["ConfigMap"]["data"]["penstock.ini"]))
    assert ports == {"http": 8123, "admin": 9123} and (ini["http"], ini["admin"]) == (":8123", ":9123")
    assert all(container[probe]["httpGet"]["port"] == "admin" for probe in container if probe.endswith("Probe"))
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == container["startupProbe"]["httpGet"]["path"] == "/readyz"
    labels = pod["metadata"]["labels"]
    assert found["Deployment"]["spec"]["selector"]["matchLabels"] == labels == found["Service"]["spec"]["selector"]
    assert found["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    # The job's pods must not get the service's requests.
    assert found["Job"]["spec"]["template"]["metadata"]["labels"] != labels
    assert pod["spec"]["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["spec"]["volumes"]} == {"tmp", "media", "config"}
    metric = found["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert metric == "penstock_saturation" and "replicas" not in found["Deployment"]["spec"]
    assert found["Ingress"]["spec"]["rules"][0]["host"] == "shop.example.org"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"uv.lock": "", "pyproject.toml": "[project]\nname='x'\n"}, "uv sync --frozen"),
        ({"poetry.lock": "", "pyproject.toml": "[project]\nname='x'\n"}, "poetry install --only main"),
        ({"Pipfile": "", "Pipfile.lock": "{}"}, "pipenv install --deploy"),
        ({"pyproject.toml": "[project]\nname='x'\n"}, "pip install ."),
        ({"requirements/production.txt": "", "requirements/base.txt": ""}, "-r /tmp/requirements/production.txt"),
    ],
)
def test_every_kind_of_requirements(tmp_path: Path, files: dict[str, str], expected: str) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "app.py").write_text("def application(environ, start_response):\n    return []\n")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    made = export("dockerfile", folder, tmp_path / "out")
    assert expected in made["Dockerfile"]


def test_nothing_is_written_over_unless_that_is_wanted(shop: Path, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("mine\n")
    result = run_penstock("export", "dockerfile", shop, "--output", tmp_path)
    assert result.returncode == 1 and "is there already; --force replaces" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["Dockerfile"]
    assert run_penstock("export", "dockerfile", shop, "-o", tmp_path, "--force").returncode == 0
    again = run_penstock("export", "dockerfile", shop, "-o", tmp_path)
    assert again.returncode == 0 and again.stderr.count("is as it should be") == 3


def test_without_a_folder_the_files_are_printed(shop: Path) -> None:
    result = run_penstock("export", "dockerfile", shop)
    assert result.returncode == 0
    assert [line for line in result.stdout.splitlines() if line.startswith("==>")] == [
        "==> Dockerfile <==", "==> .dockerignore <==", "==> container.ini <==",
    ]  # fmt: skip
    # A single file is printed as it is.
    assert run_penstock("export", "kubernetes", shop).stdout.startswith("# cmdb, served by Penstock")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "penstock export dockerfile, compose"),
        (("docker",), "nothing is known of 'docker'"),
        (("compose", "/nowhere/at/all"), "there is no /nowhere/at/all"),
        (("compose", ".", "."), "one project at a time"),
        (("compose", "--frobnicate"), "there is no option --frobnicate"),
        (("compose", "--image"), "--image needs a value"),
        (("compose", "--image", "a b"), "--image can not be 'a b'"),
        (("compose", "--image", "a\nRUN x"), "--image can not be"),
        (("compose", "--host", "${x}"), "--host can not be"),
        (("compose", "--port", "0"), "--port is a number"),
        (("compose", "--port", "9000"), "probes have a port of their own"),
        (("compose", "--replicas", "-1"), "--replicas is a number"),
        (("compose", "--trusted-proxies", "10.0.0.0/99"), "10.0.0.0/99 is not an address"),
        (("compose", "--autoscale", "magic"), "--autoscale is saturation, cpu or none"),
        (("compose", "--penstock", "x'; rm -rf /"), "--penstock can not be"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    result = run_penstock("export", *words, cwd=tmp_path)
    assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
    assert result.stdout == ""


def test_a_folder_without_a_project_and_a_broken_configuration(tmp_path: Path) -> None:
    result = run_penstock("export", "kubernetes", tmp_path)
    assert result.returncode == 1 and "fix:" in result.stderr
    (tmp_path / "penstock.ini").write_text("[uwsgi]\nprocesses = many\n")
    result = run_penstock("export", "kubernetes", tmp_path)
    assert result.returncode == 1 and "penstock.ini:2" in result.stderr and "nothing was written" in result.stderr


def test_a_project_that_does_not_come_up_is_exported_all_the_same(shop: Path, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(shop, folder)
    with (folder / "cmdb/settings.py").open("a") as file:
        file.write("import not_installed_anywhere\n")
    result = run_penstock("export", "kubernetes", folder)
    assert result.returncode == 0 and "Django did not come up" in result.stderr
    assert by_kind(result.stdout)["Ingress"]["spec"]["rules"][0]["host"] == "cmdb.example.org"


def test_notes_become_comments_and_values_stay_values() -> None:
    note = Notes()
    long = "word " * 40
    value = {**note("on top: 'quoted' # and marked"), "a": [{"b": "#1: text"}, "no"], **note(long), "c": "x\ny\n"}
    text = document(value)
    assert yaml.safe_load(text) == {"a": [{"b": "#1: text"}, "no"], "c": "x\ny\n"}
    assert text.startswith("# on top: 'quoted' # and marked\na:\n")
    assert max(map(len, text.splitlines())) <= 110
