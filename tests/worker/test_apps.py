"""Several applications of one process, in a real generation with a fake engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.plan.types import MountingPlan, MountPlan
from penstock.worker.apps import applications
from penstock.worker.loader import AppNotLoaded
from tests.worker.fake_master import FakeMaster, app_plan, engine_plan, value

Write = Callable[..., None]

HELLO = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'other']\n"


def mount(point: str, target: str, kind: str = "module") -> MountPlan:
    return MountPlan(point, kind, target, "application", "app.ini:4")  # type: ignore[arg-type]


def mounting(fallback: int, first: int = 0, count: int = 2) -> MountingPlan:
    return MountingPlan(by_path=True, by_script_name=True, count=count, first_id=first, fallback_id=fallback)


def test_ids_begin_with_the_application_that_is_not_mounted(project: Path) -> None:
    both = app_plan(project, mounts=(mount("/a", "a"), mount("", "b")))
    assert [(each.id, each.point, each.plan.target) for each in applications(both)] == [
        (0, "", "shop_site"), (1, "/a", "a"), (2, "", "b"),
    ]  # fmt: skip
    mounted = app_plan(project, kind="none", target="", mounts=(mount("/a", "a"),))
    assert [(each.id, each.plan.kind, each.plan.mounts) for each in applications(mounted)] == [(0, "module", ())]
    assert [each.plan.kind for each in applications(app_plan(project, kind="none", target=""))] == ["none"]


def test_a_failure_names_the_mount_and_its_line(project: Path) -> None:
    one = next(applications(app_plan(project, kind="none", target="", mounts=(mount("/a", "a"),))))
    told = one.explain(AppNotLoaded("it broke", ("did you mean b? module = b",)))
    assert told.reason == "mount = /a=a (app.ini:4): it broke"
    assert told.advice == ("did you mean b? mount = /a=b",)


def test_all_of_them_reach_the_engine(master: FakeMaster, project: Path, write: Write) -> None:
    write(HELLO, "other.py")
    mounts = (mount("/a", "shop_site"), mount("/b", "other.py", "file"))
    plan = app_plan(project, kind="none", target="", mounts=mounts)
    master.start(plan, engine_plan(mounting=mounting(-1)))
    imported = master.event()
    assert imported["event"] == "imported" and len(imported["app_seconds"]) == 2, master.log()
    control = master.spawn()
    assert value(control, "{point: app.__module__ for point, app in mounts.items()}") == {
        "/a": "shop_site", "/b": "uwsgi_file_other",
    }  # fmt: skip
    assert value(control, "app") is None


def test_one_that_fails_is_left_out_where_that_is_wanted(master: FakeMaster, project: Path) -> None:
    mounts = (mount("/a", "shop_site"), mount("/b", "nothing"))
    master.start(
        app_plan(project, kind="none", target="", mounts=mounts), engine_plan(mounting=mounting(0)), need_app=False
    )
    assert master.event()["event"] == "imported"
    control = master.spawn()
    assert value(control, "[app.__name__ for app in (app, mounts['/b'])]") == ["application", "no_app"]
    assert "unable to load app 1 (mountpoint='/b')" in master.log()


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'green')\n", True),
        ("os.environ['DJANGO_SETTINGS_MODULE'] = 'green'\nimport nothing_of_this_name\n", True),
        ("os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'blue')\n", False),
        ("", False),
    ],
)
def test_a_second_django_project(master: FakeMaster, project: Path, write: Write, second: str, refused: bool) -> None:
    write("SECRET_KEY = 'x'\n", "blue.py")
    write(
        f"import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'blue')\nimport django\ndjango.setup()\n{HELLO}",
        "one.py",
    )
    write(f"import os\n{second}{HELLO}", "two.py")
    mounts = (mount("/a", "one"), mount("/b", "two"))
    master.start(app_plan(project, kind="none", target="", mounts=mounts), engine_plan(mounting=mounting(-1)))
    event = master.event()
    if refused:
        assert event["event"] == "import-failed"
        assert "two is a Django project with the settings green, and one has set up Django with blue" in event["reason"]
        return
    assert event["event"] == "imported", master.log()
    assert value(master.spawn(), "os.environ['DJANGO_SETTINGS_MODULE']") == "blue"
