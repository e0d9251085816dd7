"""Configurations as people write them: each is read, with the findings that it deserves, and a plan is made of it.

In tests/cases/config/realistic/expected.toml stand, for each: `findings`, the codes of everything that is said about
it; `not-yet`, options of uWSGI that may be missing, and of which other things may be said when they are there; `later`,
that nothing is expected any more then; `refused`, that it can not be used; `starts`, that tests/e2e/test_realistic.py
starts it, or why it does not. `environ`, `files` and `section` are what it needs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.config.argv import parse_argv
from penstock.config.files import FileReader
from penstock.config.findings import Finding
from penstock.config.load import Sources, read
from penstock.options.known import known_names
from penstock.options.table import BY_NAME
from penstock.plan.resolve import attempt
from tests.config.realistic import EXPECTED, FILES, HERE, Realistic, lay_out, provide
from tests.config.support import surroundings
from tests.plan.test_resolve import machine

_UNSUPPORTED = ("unsupported-option", "unsupported-essential")
_NOT_COMPARED = frozenset({"runs-as-root", "term-stops", "master-always", *_UNSUPPORTED})


def test_each_has_its_expectation() -> None:
    assert EXPECTED.keys() == set(FILES)
    assert len(FILES) >= 60
    for name, expected in EXPECTED.items():
        assert expected["starts"] is True or isinstance(expected["starts"], str), name


def test_the_shapes_are_those_that_are_common() -> None:
    """The proportions of public configurations: ini above all, comments of both kinds, some that are broken."""
    texts = {name: (HERE / name).read_bytes().decode() for name in FILES}
    ini = [text for name, text in texts.items() if name.endswith(".ini")]
    assert len(ini) > 0.6 * len(FILES)
    for pattern, least in (
        (r"= ?(true|True|1)\b", 25),
        (r"^\s*#", 8),
        (r"^\s*;", 2),
        (r"\$\(", 3),
        (r"\{\{", 1),
        (r"\S\s+[;#] ?\w", 3),
        (r"^\w[\w-]*\r?$", 3),
        (r"%k", 4),
        (r"%\(\w+\)", 5),
        (r"%\(.+ [*+] ", 2),
        (r"if-env", 3),
        (r"^ini = :", 2),
        (r"\r$", 2),
        (r"<<<<<<<", 1),
    ):
        assert sum(bool(re.search(pattern, text, re.MULTILINE)) for text in ini) >= least, pattern
    assert sum(text.startswith("\ufeff") for text in ini) == 2


def findings_of(case: Realistic) -> tuple[list[Finding], bool]:
    """What is said about a configuration, and whether there is a plan."""
    environ = {"PATH": "/bin", **case.environ}
    sources = Sources(parse_argv(case.argv), environ, surroundings(case.cwd), FileReader(str(case.cwd)))
    settings = read(sources)
    provide(case, settings)
    plan, of_plan = attempt(settings, machine(case.cwd, euid=0))
    errors = [finding for finding in settings.findings if finding.level == "error"]
    return [*settings.findings, *of_plan], plan is not None and not errors


def unsupported(findings: list[Finding], text: str) -> set[str]:
    """Options that are named as not supported."""
    said = " ".join(finding.message for finding in findings if finding.code.startswith("unsupported-"))
    words = set(re.findall(r"[\w-]+", text.replace("_", "-").lower()))
    return {word for word in words & known_names().keys() if word not in BY_NAME and re.search(rf"\b{word}\b", said)}


@pytest.mark.parametrize("name", FILES)
def test_it_is_read_and_planned(name: str, tmp_path: Path) -> None:
    case = lay_out(name, tmp_path)
    expected = EXPECTED[name]
    findings, usable = findings_of(case)
    text = (HERE / name).read_bytes().decode().replace("UWSGI_", "") + "".join(expected.get("files", {}).values())
    missing = unsupported(findings, text)
    later = set(expected.get("not-yet", []))
    assert missing <= later, findings
    if expected.get("later") and not missing:
        return
    supported = re.compile("|".join(rf"\b{name}\b" for name in later - missing) or "(?!)")
    told = [finding for finding in findings if not supported.search(str(finding))]
    codes = sorted({finding.code for finding in told} - _NOT_COMPARED)
    assert codes == sorted(expected.get("findings", [])), [str(finding) for finding in findings]
    essential = any(finding.code == "unsupported-essential" for finding in findings)
    assert usable == (not expected.get("refused", False) and not essential), [str(finding) for finding in findings]
    assert all(finding.cure for finding in findings if finding.code != "term-stops")
