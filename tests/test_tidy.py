"""The house rules of tools/tidy.py: each finds what it should, and the tree is clean."""

from __future__ import annotations

import tomllib

import pytest

import penstock
from tools import tidy
from tools.tidy import File


def found(path: str, text: str) -> list[str]:
    return [finding.what for finding in tidy.check(iter([File(path, text)]))]


def test_the_tree_is_tidy() -> None:
    findings = tidy.check(tidy.tree())
    assert not findings, "\n" + "\n".join(map(str, findings))


def test_the_tree_is_seen() -> None:
    paths = {file.path for file in tidy.tree()}
    assert {"penstock/plan/types.py", "penstock/_engine.pyi", "Cargo.toml", "README.md", "tools/tidy.py"} <= paths


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("penstock/a.py", "# TO" + "DO: later"),
        ("penstock/options/a.py", "raise NotImplemented" + "Error"),
        ("crates/wire/src/a.rs", "    to" + 'do!("later")'),
        ("penstock/options/a.py", "x = y  # type: " + "ignore"),
        ("penstock/options/a.py", "import x  # no" + "qa"),
        ("tests/test_a.py", "time.sle" + "ep(1)"),
        ("tests/test_a.py", "from unittest.mo" + "ck import Mock"),
        ("penstock/master/a.py", "import subprocess"),
        ("penstock/master/a.py", "# the arbit" + "er does it"),
    ],
)
def test_words(path: str, line: str) -> None:
    file = File(path, f'"""Text."""\n{line}\n')
    (finding,) = tidy.words(file)
    assert finding.line == 2
    assert finding.cure


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("penstock/options/a.py", "x = y  # type: ignore[attr-defined]"),
        ("penstock/worker/a.py", "time.sle" + "ep(1)"),
        ("tools/a.py", "import subprocess"),
    ],
)
def test_words_that_are_well_where_they_are(path: str, line: str) -> None:
    assert not list(tidy.words(File(path, line)))


def test_length_is_a_ratchet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tidy.RATCHET, "penstock/long.py", 1500)

    def lines(count: int, path: str) -> list[str]:
        return [finding.what for finding in tidy.length(File(path, "x\n" * count))]

    assert not lines(tidy.LONGEST_FILE, "penstock/a.py")
    assert lines(tidy.LONGEST_FILE + 1, "penstock/a.py")
    assert not lines(1500, "penstock/long.py")
    assert lines(1501, "penstock/long.py")
    assert lines(1400, "penstock/long.py") == ["1400 lines, but the ratchet still allows 1500"]


def test_opening() -> None:
    assert list(tidy.opening(File("crates/wire/src/a.rs", "use std::fmt;\n")))
    assert not list(tidy.opening(File("crates/wire/src/a.rs", "//! What lives here.\n")))


def test_links() -> None:
    assert list(tidy.links(File("README.md", "see [this](docs/no-such-file.md#part)")))
    assert not list(
        tidy.links(File("README.md", "see [this](pyproject.toml), [that](https://example.org/x) and [so](#a)"))
    )


def test_only_the_boundary_declares_python_classes() -> None:
    text = "//! Text.\n#[pyclass]\nstruct A;\n"
    assert found("crates/engine/src/a.rs", text) == ["a Python class or function outside boundary.rs"]
    assert not found("crates/engine/src/boundary.rs", text)


def test_only_the_bridge_takes_the_gil() -> None:
    text = "//! Text.\nfn a() { Python::attach(|py| ()); }\n"
    assert found("crates/engine/src/event_loop.rs", text) == ["the GIL is taken outside bridge/"]
    assert not found("crates/engine/src/bridge/wsgi.rs", text)
    assert not found("crates/engine/src/event_loop.rs", "//! Text.\n// Python::attach would block here.\n")


def test_wire_is_sans_io() -> None:
    assert found("crates/wire/src/a.rs", "//! Text.\nuse std::net::TcpStream;\n") == ["`std::net` in the sans-IO crate"]
    in_tests = "//! Text.\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"
    assert not found("crates/wire/src/a.rs", in_tests)


def test_invariants() -> None:
    path = "crates/engine/src/a.rs"
    assert found(path, "//! T.\nfn a() { b().unwrap(); }\n") == ["`unwrap`"]
    assert found(path, '//! T.\nfn a() { b().expect("ok"); }\n') == ['`expect("ok")`']
    assert not found(path, '//! T.\nfn a() { b().expect("the head was checked above"); }\n')
    assert found(path, "//! T.\nfn a() {\n    unsafe { b() }\n}\n") == ["`unsafe` without a reason"]
    assert not found(path, "//! T.\nfn a() {\n    // SAFETY: b has no preconditions.\n    unsafe { b() }\n}\n")
    assert not found(
        path, "//! T.\nfn a() {\n    // SAFETY: fine,\n    // as c says.\n    let x =\n        unsafe { b() };\n}\n"
    )
    assert found(path, "//! T.\n// SAFETY: of another.\nfn c() {}\nfn a() {\n    b();\n    unsafe { b() }\n}\n")
    assert found(path, "//! T.\n#[allow(clippy::too_many_lines)]\nfn a() {}\n") == [
        "a lint is let off without a reason"
    ]
    assert not found(path, '//! T.\n#[expect(clippy::x, reason = "why")]\nfn a() {}\n')


def test_one_version_number() -> None:
    cargo = tomllib.loads((tidy.ROOT / "Cargo.toml").read_text())
    assert cargo["workspace"]["package"]["version"] == penstock.__version__
