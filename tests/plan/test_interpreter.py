"""The Python of the applications, from what was written to what is done to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.load import ConfigError
from penstock.plan.resolve import resolve
from penstock.plan.types import PythonPlan
from tests.config.support import read
from tests.plan.test_resolve import SERVE, machine, plan, refusal


def python(*argv: str, cwd: Path | str = "/") -> PythonPlan:
    return plan(*argv, cwd=cwd).app.python


def test_nothing_is_done_by_default() -> None:
    assert python() == PythonPlan()
    assert plan().engine.file_wrapper and not plan().only_loads


@pytest.mark.parametrize(
    ("argv", "flags"),
    [
        (("--optimize", "0"), ()),
        (("-O", "1"), ("-O",)),
        (("--optimize=2",), ("-OO",)),
        (("--optimize=9",), ("-OO",)),
        (("--optimize=2", "--no-site"), ("-OO", "-S")),
    ],
)
def test_flags_of_the_interpreter(argv: tuple[str, ...], flags: tuple[str, ...]) -> None:
    assert python(*argv).flags == flags


def test_what_it_finds() -> None:
    made = python("--pyargv", "a  --b 'c d'", "--py-programname", "/one", "--py-executable", "/two")
    assert made.arguments == ("a", "--b", "'c", "d'") and made.executable == "/two"
    assert python("--py-program-name", "/one").executable == "/one"
    assert python("--py-tracebacker", "tb", "--chdir", "/tmp").tracebacker == "/tmp/tb"
    assert python("--chdir2", "/tmp").chdir_after == "/tmp"


def test_what_is_imported() -> None:
    made = python(
        "--import", "a", "--py-import", "b.py", "--shared-import", "c", "--shared-pyimport", "d",
        "--pymodule-alias", "x=y.z", "--post-pymodule-alias", "q=/srv/q.py",
    )  # fmt: skip
    assert (made.imports, made.shared_imports) == (("a", "b.py"), ("c", "d"))
    assert (made.aliases, made.late_aliases) == ((("x", "y.z"),), (("q", "/srv/q.py"),))


def test_exceptions_and_bodies() -> None:
    made = python(
        "--catch-exceptions", "--reload-on-exception", "--reload-on-exception-type", "ValueError",
        "--reload-on-exception-value", "x", "--reload-on-exception-repr", "a.B: c", "--wsgi-strict",
        "--wsgi-accept-buffers",
    )  # fmt: skip
    assert made.recycle_on == (("any", ""), ("type", "ValueError"), ("value", "x"), ("repr", "a.B: c"))
    assert made.shows_exceptions and made.strict_body and made.accepts_buffers
    assert not plan("--wsgi-disable-file-wrapper").engine.file_wrapper
    assert any("sees its source lines" in note for note in plan("--catch-exceptions").notes)


def test_env_and_unenv_count_in_their_order(tmp_path: Path) -> None:
    made = plan("--env", "A=1", "--unenv", "A", "--env", "A=2", "--env", "B=x=y", "--unenv", "B")
    assert made.app.environment == (("A", "1"), ("A", None), ("A", "2"), ("B", "x=y"), ("B", None))


def test_the_files_of_a_directory_are_variables(tmp_path: Path) -> None:
    for name, content in {"ONE": b"1\n", "GONE": b"", "NUL": b"a\0b", "TWO": b" 2 \n3\n", ".hidden": b"x"}.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "DIR").mkdir()
    made = plan("--envdir", str(tmp_path), "--env", "ONE=0")
    assert made.app.environment == (("ONE", "0"), ("GONE", None), ("NUL", "a"), ("ONE", "1"), ("TWO", " 2 \n3"))


@pytest.mark.parametrize(
    ("argv", "code"),
    [(("--envdir", "/nowhere"), "no-envdir"), (("--chdir2", "/nowhere"), "no-directory")],
)
def test_what_is_not_there(argv: tuple[str, ...], code: str) -> None:
    error = refusal(*SERVE, *argv)
    assert [finding.code for finding in error.findings] == [code] and "/nowhere" in str(error)


@pytest.mark.parametrize("argv", [("--pymodule-alias", "x"), ("--post-pymodule-alias", "=y"), ("--optimize", "x")])
def test_what_makes_no_sense(argv: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError):
        read(*SERVE, *argv, cwd="/")


def test_lazy_is_lazy_apps() -> None:
    assert plan("--lazy").lazy_apps and not plan("--lazy=false").lazy_apps


def test_a_test_of_the_configuration_binds_and_writes_nothing() -> None:
    made = plan(
        "--no-server", "--stats", ":1", "--pidfile", "/x", "--daemonize", "/y", "--lazy-apps", "--need-app=false"
    )
    assert made.only_loads and made.need_app and not made.lazy_apps
    assert (made.listeners, made.stats, made.pidfile, made.daemonize) == ((), None, None, None)
    assert resolve(read("--module", "a", "--no-server", cwd="/"), machine("/")).only_loads


def test_force_cwd_is_not_needed() -> None:
    assert plan("--force-cwd", "/tmp").app.chdir == plan().app.chdir


def test_a_script_needs_neither_socket_nor_application() -> None:
    made = resolve(read("--pyrun", __file__, "--stats", ":1", "--processes", "3", cwd="/"), machine("/"))
    assert (made.script.kind, made.script.target, made.app.kind) == ("file", __file__, "none")
    assert (made.listeners, made.stats, made.processes, made.only_loads) == ((), None, 1, True)
    assert resolve(read("--test", "a.b", "--py", __file__, cwd="/"), machine("/")).script.kind == "module"
    assert [finding.code for finding in refusal("--py", "nothing.py").findings] == ["no-script"]
    assert plan().script.kind == ""


@pytest.mark.parametrize(
    ("argv", "shell", "is_once"),
    [
        ((), None, False),
        (("--pyshell",), "", False),
        (("--pyshell=true",), "", False),
        (("--pyshell=no",), None, False),
        (("--pyshell-oneshot",), "", True),
        (("--pyshell-oneshot=f()", "--pyshell"), "f()", True),
        (("--pyshell-oneshot=off", "--pyshell=g()"), "g()", False),
    ],
)
def test_a_prompt_has_standard_input(argv: tuple[str, ...], shell: str | None, is_once: bool) -> None:
    made = plan(*argv)
    assert (made.app.python.shell, made.app.python.shell_is_once) == (shell, is_once)
    assert made.app.keeps_input is (shell is not None)


def test_the_first_of_several_applications_counts() -> None:
    def app(*argv: str) -> tuple[str, str]:
        made = resolve(read("--http", ":0", *argv, cwd="/"), machine("/")).app
        return made.kind, made.target

    assert app("--eval", "x = 1") == ("eval", "x = 1")
    assert app("--eval", "x = 1", "--wsgi-file", "a.py") == ("file", "a.py")
    assert app("--eval", "x = 1", "--wsgi-file", "a.py", "--module", "m") == ("module", "m")
