"""What others can reach: sockets that answer at this machine's own address in its network."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from penstock.doctor.checks import exposure
from penstock.doctor.gather.sockets import outward_address
from penstock.values import replace
from tests.doctor.support import evidence, examination, serious, write_configuration
from tests.e2e.harness import Penstock, free_port
from tests.support.reachable import for_others


@pytest.mark.parametrize(("option", "code"), [("socket", "uwsgi-socket-reachable"), ("stats", "stats-reachable")])
def test_a_socket_that_answers_to_others(folder: Path, option: str, code: str) -> None:
    outward = outward_address()
    if not outward:
        pytest.skip("this machine has no network")
    port = free_port()
    write_configuration(folder, f"{option} = 0.0.0.0:{port}\n")
    with Penstock("app.ini", cwd=folder):
        found = examination(folder, "app.ini")
    assert serious(found) == {code}
    one = next(each for each in found.diagnoses if each.code == code)
    assert one.level == "error" and f"{outward}:{port}" in evidence(one)


def test_one_that_nobody_has_bound_yet_is_a_warning(folder: Path) -> None:
    write_configuration(folder, f"stats = 0.0.0.0:{free_port()}\n")
    found = examination(folder, "app.ini")
    assert serious(found) == {"not-running", "stats-reachable"}
    assert next(one for one in found.diagnoses if one.code == "stats-reachable").level == "warning"


def test_local_ones_are_not_mentioned(folder: Path) -> None:
    write_configuration(folder, f"stats = 127.0.0.1:{free_port()}\nsocket = 127.0.0.1:{free_port()}\n")
    with Penstock("app.ini", cwd=folder):
        assert serious(examination(folder, "app.ini")) == set()


def test_an_instance_that_is_root(running: tuple[Path, Penstock]) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can run as root")
    folder, instance = running
    facts = examination(folder, "app.ini").facts
    outside, inside = (replace(facts, host=replace(facts.host, container=kind)) for kind in ("", "docker"))
    (one,) = exposure.check(outside)
    assert (one.code, one.level) == ("instance-is-root", "warning") and f"pid {instance.pid}" in evidence(one)
    assert [one.level for one in exposure.check(inside)] == ["note"]


@pytest.mark.parametrize(("more", "of_master"), [("", "nobody"), ("master-as-root = true\n", "root")])
def test_one_that_becomes_somebody_else_is_not_mentioned(folder: Path, more: str, of_master: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    python, environ = for_others(folder)
    write_configuration(folder, f"uid = nobody\ngid = nogroup\n{more}")
    with Penstock("app.ini", cwd=folder, python=python, env=environ):
        found = examination(folder, "app.ini")
    assert found.facts.instance is not None and found.facts.instance.uid == pwd.getpwnam(of_master).pw_uid
    assert "instance-is-root" not in {one.code for one in found.diagnoses}
    assert list(exposure.check(found.facts)) == []
