"""The first configuration: how many workers, and what is written for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.project.django_facts import DjangoFacts, ask
from penstock.project.found import Project
from penstock.project.initial import NotWritable, Place, initial, size
from penstock.values import replace
from tests.support.projects import found, make_django, write_files

MIB = 1 << 20
APP = {"app.py": "def application(environ, start_response):\n    return []\n"}


@pytest.mark.parametrize(
    ("cpus", "free_mib", "worker_mib", "processes", "says"),
    [
        (4, 16000, 100, 4, "one for each of 4 CPUs"),
        (1, 16000, 100, 1, "one CPU"),
        (16, 1000, 150, 4, "memory for 4 of 150 MiB each, on 16 CPUs"),
        (8, 10, 150, 1, "memory for 1"),
        (8, None, 0, 8, "one for each of 8 CPUs"),
        (64, 2000, 0, 8, "memory for 8 of 150 MiB"),
    ],
)
def test_workers_are_as_many_as_cpus_and_memory_allow(
    cpus: int, free_mib: int | None, worker_mib: int, processes: int, says: str
) -> None:
    chosen = size(cpus, None if free_mib is None else free_mib * MIB, worker_mib * MIB)
    assert chosen.processes == processes and chosen.threads >= 2 and says in chosen.reason


def text(project: Project, **place: str) -> list[str]:
    folder = project.root
    where = Place(file=f"{folder}/penstock.ini", run_folder=place.pop("run", folder), **place)  # type: ignore[arg-type]
    return initial(project, None, size(2, None), where).splitlines()


def test_paths_are_written_from_the_folder_of_the_file(short_dir: Path) -> None:
    lines = text(found(write_files(short_dir, APP)))
    assert "chdir = %d" in lines and f"http = %d{found(short_dir).name}.sock" in lines
    assert not any(str(short_dir) in line for line in lines)


def test_the_socket_lies_in_run_where_that_is_given(tmp_path: Path) -> None:
    project = found(write_files(tmp_path / "shop", APP))
    lines = text(project, run="/run/shop")
    assert "http = /run/shop/shop.sock" in lines and "pidfile = /run/shop/shop.pid" in lines


def test_where_the_path_of_a_socket_would_be_too_long_an_address_is_written(tmp_path: Path) -> None:
    lines = text(found(write_files(tmp_path / ("long" * 20), APP)), port="8003")
    assert "http = 127.0.0.1:8003" in lines and not any("chmod-socket" in line for line in lines)


def test_started_by_root_it_becomes_the_owner_and_nginx_may_connect(short_dir: Path) -> None:
    project = found(write_files(short_dir, APP))
    lines = text(project, user="shop", group="shop", nginx_group="www-data")
    assert {"uid = shop", "gid = shop", "chmod-socket = 660", "chown-socket = shop:www-data"} <= set(lines)
    lines = text(project, starter="me")
    assert "# chown-socket = me:www-data" in lines and not any(line.startswith("uid") for line in lines)


@pytest.mark.parametrize("name", ["a\nb", "$(HOME)", "@(x)", "a ;b", "a #b", "\x1b[31m"])
def test_names_that_no_configuration_can_hold_are_refused(tmp_path: Path, name: str) -> None:
    project = found(write_files(tmp_path / name, APP).parent)
    with pytest.raises(NotWritable, match="rename it"):
        text(project)


@pytest.fixture(scope="module")
def django(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, DjangoFacts]:
    folder = make_django(tmp_path_factory.mktemp("initial") / "cmdb")
    project = found(folder)
    facts = ask(project)
    assert isinstance(facts, DjangoFacts)
    (folder / "static").mkdir()
    return project, facts


def static_lines(project: Project, facts: DjangoFacts) -> list[str]:
    place = Place(file=f"{project.root}/penstock.ini", run_folder=project.root)
    return [line for line in initial(project, facts, size(1, None), place).splitlines() if "static-" in line]


def test_static_files_are_served_where_that_makes_sense(django: tuple[Project, DjangoFacts]) -> None:
    project, facts = django
    media = "# static-map = /media=%dmedia"
    assert static_lines(project, facts) == ["static-map = /static=%dstatic", media]
    hashed = static_lines(project, replace(facts, static_is_hashed=True))
    assert hashed == ["static-map = /static=%dstatic", media, r"static-expires-uri = \.[0-9a-f]{12}\. 31536000"]
    elsewhere = replace(facts, static_url="https://cdn.example.org/static/", media_root="")
    assert static_lines(project, elsewhere) == []
    itself = replace(facts, middleware=("whitenoise.middleware.WhiteNoiseMiddleware",))
    assert static_lines(project, itself) == [media]
