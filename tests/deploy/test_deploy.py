"""`penstock deploy --root`: all files in a folder, all commands listed; what goes wrong before anything is begun."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from penstock.commands.deploy import parse
from penstock.deploy import memory, production
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.deployment import Wish, merged
from penstock.deploy.layout import Layout
from penstock.deploy.memory import Memory
from tests.e2e.harness import clean_environment
from tests.support.projects import make_django


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as startproject makes it, with an app that takes uploads."""
    return make_django(tmp_path_factory.mktemp("project") / "shop", "cmdb", debug=True)


def penstock(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    argv = [sys.executable, "-m", "penstock", *map(str, words)]
    return subprocess.run(argv, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False)


def files(root: Path) -> dict[str, str]:
    """Every file and link below a folder, as text."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text(errors="replace")
    return found


def test_everything_is_rendered_into_a_folder_and_taken_away_again(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    words = ("deploy", project, "--root", root, "--host", "shop.example.org", "--home", sys.prefix)
    done = penstock(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    stamp = os.readlink(root / "srv/cmdb/current").removeprefix("releases/")
    found = files(root)
    release = f"srv/cmdb/releases/{stamp}"
    assert "server_name shop.example.org" in found["etc/nginx/conf.d/cmdb.conf"]
    assert "chdir = %dcode" in found[f"{release}/penstock.ini"]
    assert str(root) not in "".join(found[name] for name in found if "etc/" in name or name.endswith(".ini"))
    assert found[f"{release}/code/media"] == "-> /srv/cmdb/shared/media"
    assert found[f"{release}/code/static"] == "-> ../static"
    assert found[f"{release}/code/db.sqlite3"] == "-> /srv/cmdb/shared/data/db.sqlite3"
    assert "DEBUG = False" in found[f"{release}/settings/penstock_production.py"]
    assert "SECRET_KEY" in found[f"{release}/settings/penstock_production.py"]
    assert found["srv/cmdb/shared/secret-key"] not in done.stdout
    for expected in (
        "useradd --system",
        "manage.py migrate",
        "manage.py collectstatic",
        "systemctl enable cmdb.service",
        "systemctl start cmdb.service",
        "nginx -t",
    ):
        assert expected in done.stdout, done.stdout

    again = penstock(*words)
    assert again.returncode == 0 and "copied" not in again.stdout, again.stdout
    assert set(files(root)) == set(found)

    listed = penstock("releases", "--root", root, "--json")
    assert [each["serves"] for each in json.loads(listed.stdout)["releases"]] == [True]

    gone = penstock("undeploy", "--root", root, "--data")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert files(root) == {}


def test_a_plan_for_a_folder_writes_nothing(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    done = penstock("deploy", project, "--root", root, "--home", sys.prefix, "--plan")
    assert done.returncode == 0, done.stderr
    assert "+++ /etc/nginx/conf.d/cmdb.conf" in done.stdout and "nothing was changed" in done.stdout
    assert "\x1b" not in done.stdout, "colours are for terminals"
    assert files(root) == {}


def test_an_application_that_chooses_its_settings_itself_is_named(tmp_path: Path) -> None:
    project = make_django(tmp_path / "shop", "cmdb", debug=True)
    with (project / "cmdb/wsgi.py").open("a") as file:
        file.write('os.environ["DJANGO_SETTINGS_MODULE"] = "cmdb.settings"\n')
    done = penstock("deploy", project, "--root", tmp_path / "root", "--home", sys.prefix, "--plan")
    assert done.returncode == 0 and "cmdb/wsgi.py sets DJANGO_SETTINGS_MODULE" in " ".join(done.stdout.split())


def test_settings_that_are_fit_stay_as_they_are(project: Path, tmp_path: Path) -> None:
    done = penstock("deploy", project, "--root", tmp_path, "--home", sys.prefix, "--without", "settings,nginx")
    assert done.returncode == 0, done.stderr
    found = files(tmp_path)
    assert not any("penstock_production" in name or "etc/nginx" in name for name in found)
    (ini,) = (text for name, text in found.items() if name.endswith("penstock.ini"))
    assert "DJANGO_SETTINGS_MODULE=cmdb.settings" in ini


def test_variables_that_somebody_wrote_down_are_given_to_the_application(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "srv/cmdb/shared/environment"
    place.parent.mkdir(parents=True)
    place.write_text("# the shop\nexport RATE='5%'\nEMPTY=\n\n")
    done = penstock("deploy", project, "--root", tmp_path, "--home", sys.prefix)
    assert done.returncode == 0, done.stderr
    (ini,) = (text for name, text in files(tmp_path).items() if name.endswith("penstock.ini"))
    assert "env = RATE=5%%\n" in ini and "env = EMPTY=\n" in ini
    assert "EMPTY=... RATE=..." in done.stdout


def test_passwords_are_shown_to_nobody_and_readable_for_nobody_else(project: Path, tmp_path: Path) -> None:
    place = tmp_path / "srv/cmdb/shared/environment"
    place.parent.mkdir(parents=True)
    place.write_text("DATABASE_URL=postgres://shop:hunter2@db/shop\n")
    words = ("deploy", project, "--root", tmp_path, "--home", sys.prefix)
    plan = penstock(*words, "--plan")
    done = penstock(*words)
    place.write_text("DATABASE_URL=postgres://shop:hunter3@db/shop\n")
    again = penstock(*words, "--plan")
    for said in (plan, done, again):
        assert said.returncode == 0, said.stderr
        assert "DATABASE_URL=..." in said.stdout and "hunter" not in said.stdout + said.stderr
    assert "env = DJANGO_SETTINGS_MODULE=penstock_production" in plan.stdout
    (ini,) = tmp_path.glob("srv/cmdb/releases/*/penstock.ini")
    assert "hunter2" in ini.read_text() and stat.S_IMODE(ini.stat().st_mode) == 0o640


def test_a_variable_that_a_configuration_would_read_otherwise_is_refused_and_not_shown(
    project: Path, tmp_path: Path
) -> None:
    place = tmp_path / "srv/cmdb/shared/environment"
    place.parent.mkdir(parents=True)
    place.write_text("PASSWORD=hunter2$(HOME)\n")
    done = penstock("deploy", project, "--root", tmp_path, "--home", sys.prefix)
    assert done.returncode == 3 and "the value of PASSWORD" in done.stdout and "hunter" not in done.stdout + done.stderr


def test_a_root_inside_of_the_project_is_refused(tmp_path: Path) -> None:
    inside = make_django(tmp_path / "shop", "cmdb", debug=True)
    done = penstock("deploy", inside, "--root", inside / "image", "--home", sys.prefix)
    assert done.returncode == 1 and "choose another DIR for --root" in done.stderr, done.stderr


@pytest.mark.parametrize("path", ["lib/systemd/system/mail.service", "etc/init.d/mail", "etc/logrotate.d/mail"])
def test_the_name_of_another_service_is_not_taken(project: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_text("theirs\n")
    words = ("deploy", project, "--root", tmp_path, "--home", sys.prefix, "--name")
    done = penstock(*words, "mail")
    assert done.returncode == 1 and f"(/{path})" in done.stderr, done.stderr
    assert files(tmp_path) == {path: "theirs\n"}
    done = penstock(*words, "docker")
    assert done.returncode == 1 and "docker is the name of a service" in done.stderr, done.stderr


def test_a_release_is_open_to_its_readers_whatever_the_umask(project: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "penstock", "deploy", str(project), "--root", str(tmp_path), "--home", sys.prefix]
    subprocess.run(argv, env=clean_environment(), capture_output=True, check=True, umask=0o077)
    (release,) = tmp_path.glob("srv/cmdb/releases/*")
    closed = [path for path in (release, *release.rglob("*")) if path.is_dir() and path.stat().st_mode & 0o55 != 0o55]
    assert closed == []
    assert stat.S_IMODE((release / "settings/penstock_production.py").stat().st_mode) == 0o644


def test_two_at_once_are_refused(project: Path, tmp_path: Path) -> None:
    with memory.locked(Tree(str(tmp_path)), Layout("cmdb")):
        done = penstock("deploy", project, "--root", tmp_path, "--home", sys.prefix)
    assert done.returncode == 1
    assert f"process {os.getpid()} works on this deployment" in done.stderr
    assert files(tmp_path) == {}
    assert penstock("deploy", project, "--root", tmp_path, "--home", sys.prefix).returncode == 0


def test_what_another_run_did_before_the_lock_was_had_is_not_forgotten(project: Path, tmp_path: Path) -> None:
    """Another run that ends between the look at what is remembered and the lock."""
    words = ["deploy", str(project), "--root", str(tmp_path), "--home", sys.prefix]
    code = """
import subprocess, sys
from penstock.cli import main
words = sys.argv[1:]
def another(event, arguments):
    global another
    if event == "fcntl.flock" and another is not None:
        another = None
        subprocess.run([sys.executable, "-m", "penstock", *words], check=True)
sys.addaudithook(lambda *told: another and another(*told))
sys.exit(main([*words, "--host", "other.example.org"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, *words], env=clean_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and done.stdout.count("what remains to be run") == 2, done.stdout + done.stderr
    gone = penstock("undeploy", "--root", tmp_path, "--data")
    assert gone.returncode == 0, gone.stdout + gone.stderr
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nowhere"], "there is no folder"),
        ([".", "--frob"], "there is no option --frob"),
        ([".", ".."], "one project at a time"),
        ([".", "--port", "x"], "--port x is no number"),
        ([".", "--port=0"], "--port 0 is no number"),
        ([".", "--keep"], "--keep needs a value"),
        ([".", "--health", "up"], "begins with /"),
        ([".", "--without", "air"], "there is no part air"),
        ([".", "--services", "upstart"], "there is no service manager upstart"),
        ([".", "--certificate", "x"], "belong together"),
        ([".", "--name", "No Name"], "can be no name"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_begun(
    project: Path, tmp_path: Path, words: list[str], says: str
) -> None:
    done = penstock("deploy", "--root", tmp_path / "root", *words, cwd=project)
    assert done.returncode == 1 and says in done.stderr, done.stdout + done.stderr
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["undeploy"], "there is none"),
        (["undeploy", "shop"], "there is no deployment shop; there are none"),
        (["undeploy", "a", "b"], "one deployment at a time"),
        (["undeploy", "--frob"], "there is no option --frob"),
        (["undeploy", "--root"], "--root needs a directory"),
        (["undeploy", "--root="], "--root needs a directory"),
        (["undeploy", "--root", ""], "--root needs a directory"),
        (["undeploy", "--root", "--data"], "--root needs a directory"),
        (["releases", "--root="], "--root needs a directory"),
        (["deploy", "--root="], "--root needs a directory"),
        (["releases"], "there is none"),
        (["releases", "--frob"], "there is no option --frob"),
    ],
)
def test_commands_about_nothing_say_so(tmp_path: Path, words: list[str], says: str) -> None:
    done = penstock(*words, "--root", tmp_path)
    assert done.returncode == 1 and says in done.stderr, done.stdout + done.stderr


def test_an_empty_root_is_not_the_machine_for_units_either() -> None:
    done = penstock("systemd", "--uninstall", "--name", "shop", "--root", "")
    assert done.returncode == 2 and "--root needs a directory" in done.stderr


@pytest.mark.parametrize("command", ["deploy", "undeploy", "releases", "rollback"])
def test_each_command_has_its_help(command: str) -> None:
    done = penstock(command, "--help")
    assert done.returncode == 0 and done.stdout.startswith(f"usage: penstock {command}")
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_an_existing_pid_file_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "app.pid").write_text("999999999\n")
    done = penstock("rollback", "app.pid", cwd=tmp_path)
    assert done.returncode == 255 and "999999999" in done.stderr


def test_what_was_asked_for_the_last_time_counts_where_nothing_is_asked_now() -> None:
    wish, root, is_plan = parse(["--host", "a.org,b.org", "--host=c.org", "--port=8080", "--plan", "--root", "/x"])
    assert (wish.hosts, wish.port, root, is_plan) == (("a.org", "b.org", "c.org"), 8080, "/x", True)
    both = merged(wish, {"hosts": ["old.org"], "health": "/up", "keep": 2, "port": 81})
    assert (both.hosts, both.port, both.health, both.keep) == (wish.hosts, 8080, "/up", 2)
    assert merged(Wish(), {"hosts": ["old.org"]}).hosts == ("old.org",)
    assert (merged(Wish(), {}).port, merged(Wish(), {}).keep) == (80, 5)


def test_what_is_remembered_is_read_again_and_damage_is_said(tmp_path: Path) -> None:
    tree, layout = Tree(str(tmp_path)), Layout("shop")
    assert memory.recall(tree, layout) is None and memory.known(tree) == []
    with memory.locked(tree, layout):
        memory.remember(tree, layout, Memory(project="/home/me/shop", wish={"hosts": ["a"]}, enabled=True))
    assert memory.recall(tree, layout) == Memory(project="/home/me/shop", wish={"hosts": ["a"]}, enabled=True)
    assert memory.known(tree) == ["shop"]
    for text in ("{", "[]", '{"version": 7}', '{"version": 1, "frob": 1}'):
        (tree.on_disk(layout.memory) / "deployment.json").write_text(text)
        with pytest.raises(ArtifactError, match=r"deployment\.json"):
            memory.recall(tree, layout)


@pytest.mark.parametrize(
    ("allowed", "missing"),
    [
        ([], ["shop.example.org"]),
        (["*"], []),
        ([".example.org"], []),
        (["SHOP.example.org"], []),
        (["example.org", "localhost"], ["shop.example.org"]),
        ([".ample.org"], ["shop.example.org"]),
    ],
)
def test_only_names_that_django_refuses_are_added(allowed: list[str], missing: list[str]) -> None:
    assert production.missing_hosts(allowed, ["shop.example.org"]) == missing


def test_the_reference_of_commands_is_complete() -> None:
    shown = penstock("--help").stdout
    assert all(re.search(rf"^  {command} ", shown, re.M) for command in ("deploy", "undeploy", "releases", "rollback"))
