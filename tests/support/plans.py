"""Plans for tests of what is made of them."""

from __future__ import annotations

from pathlib import Path

from penstock.config.argv import parse_argv
from penstock.config.collect import Sources
from penstock.config.files import FileReader
from penstock.config.load import load
from penstock.config.surroundings import Surroundings
from penstock.plan.machine import Machine
from penstock.plan.resolve import resolve
from penstock.plan.types import Plan
from penstock.values import replace


def plan_of(folder: Path, text: str) -> Plan:
    """The plan of a configuration in `folder`, as root would start it, with a small application."""
    (folder / "app.py").write_text("def application(env, start_response): ...\n")
    (folder / "shop.ini").write_text(f"[uwsgi]\nchdir = %d\nmodule = app\n{text}")
    surroundings = replace(Surroundings.here(), cwd=str(folder))
    sources = Sources(parse_argv([str(folder / "shop.ini")]), {}, surroundings, FileReader(str(folder)))
    machine = replace(Machine.here(), cwd=str(folder), euid=0, inherited=(), temp_dir="/tmp", somaxconn=4096)
    return resolve(load(sources), machine)
