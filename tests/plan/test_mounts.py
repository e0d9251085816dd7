"""Mounted applications, from what was written to who answers what."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.load import ConfigError
from penstock.plan.resolve import attempt, resolve
from penstock.plan.types import MountingPlan, MountPlan, Plan
from penstock.values import replace
from tests.config.support import read
from tests.plan.test_resolve import machine, refusal

HTTP = ("--http", ":8000")


def plan(*argv: str) -> Plan:
    return resolve(read(*HTTP, *argv, cwd="/"), machine("/"))


def warnings(*argv: str) -> list[str]:
    _, findings = attempt(read(*HTTP, *argv, cwd="/"), machine("/"))
    return [finding.code for finding in findings if "mount" in f"{finding.origin}"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("/mapproxy=/mapproxy-app.py", ("/mapproxy", "file", "/mapproxy-app.py", "application")),
        ("/=nlmapsweb.fullapp:app", ("", "module", "nlmapsweb.fullapp", "app")),
        ("/a/b=pkg.wsgi", ("/a/b", "module", "pkg.wsgi", "application")),
        ("/a/=/srv/site.wsgi", ("/a", "file", "/srv/site.wsgi", "application")),
        ("/a=pkg:make(x=1)", ("/a", "module", "pkg", "make(x=1)")),
        ("/a=dir/main.py:app", ("/a", "file", "dir/main.py", "app")),
        ("/a=pkg:", ("/a", "module", "pkg", "application")),
    ],
)
def test_what_is_mounted(written: str, expected: tuple[str, ...]) -> None:
    (mount,) = plan("--mount", written).app.mounts
    assert mount == MountPlan(*expected, origin=mount.origin)  # type: ignore[arg-type]
    assert "mount" in mount.origin


def test_a_wsgi_file_that_is_there_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "shop.wsgi").write_text("")
    made = plan("--chdir", str(tmp_path), "--mount", "/a=shop.wsgi", "--mount", "/b=other.wsgi")
    assert [mount.kind for mount in made.app.mounts] == ["file", "module"]


def test_callable_is_the_name_for_mounts_too() -> None:
    made = plan("--mount", "/a=a.py", "--mount", "/b=b", "--mount", "/c=c:own", "--callable", "app")
    assert [mount.callable for mount in made.app.mounts] == ["app", "app", "own"]


def test_both_options_count_and_the_origin_is_the_line(tmp_path: Path) -> None:
    file = tmp_path / "app.ini"
    file.write_text("[uwsgi]\nhttp = :0\nmount = /a=a\nworker-mount = /b=b\nmanage-script-name = true\n")
    made = resolve(read("--ini", str(file), cwd=tmp_path), machine(tmp_path))
    assert [mount.point for mount in made.app.mounts] == ["/a", "/b"]
    assert made.app.kind == "none" and made.app.mounts[0].origin == f"{file}:3"


@pytest.mark.parametrize(
    ("argv", "expected", "said"),
    [
        (("--module", "m"), MountingPlan(False, True, 1, 1, 0), []),
        (("--module", "m", "--mount", "/a=a"), MountingPlan(False, True, 2, 1, 0), []),
        (("--module", "m", "--mount", "/a=a", "--no-default-app"), MountingPlan(False, True, 2, 1, 0), []),
        (("--wsgi-file", "m.py", "--mount", "/=a"), MountingPlan(False, True, 2, 1, 0), ["two-root-apps"]),
        (("--mount", "/a=a", "--manage-script-name"), MountingPlan(True, True, 1, 0, -1), []),
        (("--mount", "/a=a", "--mount", "/=b", "--manage-script-name"), MountingPlan(True, True, 2, 0, 1), []),
        (("--mount", "/a=a"), MountingPlan(False, True, 1, 0, 0), ["first-app-answers"]),
        (("--mount", "/a=a", "--mount", "/=b"), MountingPlan(False, True, 2, 0, 1), []),
        (("--mount", "/a=a", "--no-default-app"), MountingPlan(False, True, 1, 0, -1), []),
        (("--mount", "/a=a", "--manage-script-name", "--ignore-script-name"), MountingPlan(True, False, 1, 0, -1), []),
    ],
)
def test_who_answers(argv: tuple[str, ...], expected: MountingPlan, said: list[str]) -> None:
    made = plan(*argv)
    points = tuple(mount.point for mount in made.app.mounts)
    assert made.engine.mounting == replace(expected, points=points)
    assert warnings(*argv) == said


@pytest.mark.parametrize("name", ["mount", "worker-mount"])
@pytest.mark.parametrize("value", ["", "/a", "=app", "/a=", "a=b"])
def test_what_is_no_mount(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=r"PREFIX=APP|begin with a slash"):
        read(*HTTP, f"--{name}={value}", cwd="/")


def test_two_applications_in_one_place() -> None:
    error = refusal(*HTTP, "--mount", "/a=one", "--mount", "/a/=two")
    assert [finding.code for finding in error.findings] == ["mounted-twice"]
    assert "one is mounted there already" in str(error)


def test_a_mount_is_an_app() -> None:
    assert plan("--mount", "/a=a").need_app
    assert "no-app" in [finding.code for finding in refusal(*HTTP).findings]


def test_max_apps_is_taken() -> None:
    assert plan("--mount", "/a=a", "--max-apps", "1", "--mount", "/b=b").app.mounts[1].point == "/b"
