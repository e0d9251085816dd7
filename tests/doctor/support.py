"""What tests of the doctor share: an examination as the command makes it, and the codes that it found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from penstock.commands.doctor import Masters
from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.files import FileReader
from penstock.config.surroundings import Surroundings
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.examination import Examination, Wanted, examine_all
from penstock.plan.machine import Machine
from penstock.values import replace
from tests.e2e.harness import ROOT

OF_THIS_MACHINE = frozenset({"clock-not-synchronised", "killed-for-memory", "crashed"})
"""What is so or not on whatever machine runs the tests; each has a test with facts of its own."""


def examination(
    cwd: Path,
    *words: str,
    environ: dict[str, str] | None = None,
    root: Path | str = "/nowhere",
    imports: bool = False,
    requests: bool = False,
    **more: object,
) -> Examination:
    """Examine what the words name, with the files of services below `root`."""
    surroundings = replace(Surroundings.here(), cwd=str(cwd))
    machine = replace(Machine.here(), cwd=str(cwd), nginx_dir="/nowhere", units_dir="/nowhere", is_under_systemd=False)
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **(environ or {})}
    reader = FileReader(str(cwd), runs_commands=False)
    return examine_all(
        Wanted(
            words=words,
            folder=str(cwd),
            sources=Sources(parse_argv(list(words)), variables, surroundings, reader) if words else None,
            environ=variables,
            machine=machine,
            masters=Masters(),
            root=str(root),
            imports=imports,
            requests=requests,
            **more,  # type: ignore[arg-type]
        )
    )


def serious(found: Examination | Iterable[Diagnosis]) -> set[str]:
    """The codes of errors and warnings, but for those of this machine."""
    diagnoses = found.diagnoses if isinstance(found, Examination) else found
    return {one.code for one in diagnoses if one.level != "note"} - OF_THIS_MACHINE


def only(found: Examination, code: str) -> Diagnosis:
    """The one serious diagnosis, which is of this code."""
    assert serious(found) == {code}, [str(one) for one in found.diagnoses]
    return next(one for one in found.diagnoses if one.code == code)


def evidence(one: Diagnosis) -> str:
    """All that a diagnosis shows, in one text."""
    return "\n".join(f"{each.place} {each.value}" for each in one.evidence)


HELLO = """def application(environ, start_response):
    start_response("200 OK", [])
    return [b"hello"]
"""


def write_app(folder: Path, text: str = HELLO) -> None:
    """Make a package `shop` with an application."""
    (folder / "shop").mkdir(exist_ok=True)
    (folder / "shop" / "__init__.py").touch()
    (folder / "shop" / "wsgi.py").write_text(text)


def write_configuration(folder: Path, more: str = "", name: str = "app.ini", socket: str = "app.sock") -> Path:
    """Make a configuration that nothing is to be said against, and `more`."""
    path = folder / name
    path.write_text(
        f"[uwsgi]\nsocket = {folder}/{socket}\nchmod-socket = 660\nchdir = {folder}\nmodule = shop.wsgi\n"
        f"pidfile = {folder}/app.pid\nprocesses = 1\nthreads = 2\n{more}"
    )
    path.chmod(0o640)
    return path


PYTHON = sys.executable
