"""Imports go one way (ARCHITECTURE.md); the table is in tools/tidy.py."""

from __future__ import annotations

import ast
import tomllib

import pytest

from tools import tidy
from tools.tidy import EDGES, ROOT, File


def edges_of(path: str, text: str) -> list[str]:
    return [finding.what for finding in tidy.imports(File(path, text))]


def test_the_tree() -> None:
    findings = [finding for file in tidy.tree() for finding in tidy.imports(file)]
    assert not findings, "\n" + "\n".join(map(str, findings))


@pytest.mark.parametrize(
    ("path", "text", "what"),
    [
        ("penstock/options/a.py", "from penstock.config import ini", "penstock.options imports penstock.config"),
        ("penstock/options/a.py", "from ..config.ini import parse", "penstock.options imports penstock.config"),
        ("penstock/options/__init__.py", "from ..config.ini import parse", "penstock.options imports penstock.config"),
        ("penstock/config/a.py", "import penstock.plan.types", "penstock.config imports penstock.plan.types"),
        ("penstock/plan/types.py", "from penstock.config import x", "penstock.plan.types imports penstock.config"),
        ("penstock/worker/a.py", "from penstock.plan.resolve import x", "penstock.worker imports penstock.plan"),
        (
            "penstock/worker/a.py",
            "def f():\n    from penstock import master",
            "penstock.worker imports penstock.master",
        ),
        ("penstock/master/a.py", "from penstock.worker import boot", "penstock.master imports penstock.worker"),
        ("penstock/observe/a.py", "from penstock.master import loop", "penstock.observe imports penstock.master"),
        ("penstock/nothing/a.py", "", "penstock.nothing has no row in the table of imports"),
    ],
)
def test_a_wrong_edge_is_found(path: str, text: str, what: str) -> None:
    assert edges_of(path, text) == [what]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("penstock/config/a.py", "from penstock.options import table"),
        ("penstock/plan/resolve.py", "from penstock.plan.types import Plan\nfrom . import types"),
        ("penstock/worker/a.py", "from penstock.plan import types\nfrom penstock import _engine, __version__"),
        ("penstock/master/a.py", "from penstock.observe.stats import document"),
        ("penstock/options/a.py", "from . import http\nimport json"),
    ],
)
def test_a_right_edge_is_not(path: str, text: str) -> None:
    assert edges_of(path, text) == []


def test_the_table_has_no_circle() -> None:
    done: set[str] = set()

    def visit(package: str, above: tuple[str, ...]) -> None:
        assert package not in above, f"circle: {' -> '.join([*above, package])}"
        if package not in done:
            for other in EDGES[package]:
                visit(other, (*above, package))
            done.add(package)

    # `commands` and `cli` are one layer: a command may print the usage text.
    for package in EDGES.keys() - {"cli", "__main__", "demo", "commands"}:
        visit(package, ())


@pytest.mark.parametrize(("crate", "allowed"), [("wire", set()), ("engine", {"wire"})])
def test_crates(crate: str, allowed: set[str]) -> None:
    manifest = tomllib.loads((ROOT / "crates" / crate / "Cargo.toml").read_text())
    inner = {name for name, value in manifest["dependencies"].items() if isinstance(value, dict) and "path" in value}
    assert inner == allowed


def test_the_master_and_the_worker_need_nothing_but_the_standard_library() -> None:
    import sys

    known = {*sys.stdlib_module_names, "penstock", "uwsgi"}
    for file in tidy.tree():
        if not file.path.startswith("penstock/") or file.under("penstock/demo") or not file.path.endswith(".py"):
            continue
        module = file.path.removesuffix(".py").replace("/", ".")
        names = tidy.imported(ast.parse(file.text), module, is_package=file.path.endswith("__init__.py"))
        foreign = {name.split(".")[0] for _, name in names} - known
        # Django is only looked for where the app has imported it already; YAML is read by the master alone.
        allowed = {"yaml"} if file.path == "penstock/config/yaml_file.py" else {"django"}
        assert foreign <= allowed, f"{file.path} imports {foreign}"
