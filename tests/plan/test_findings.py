"""Every code that the plan step may give has a row, and every row is a code that it gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import penstock.plan
from penstock.config.findings import CODES as CONFIG_CODES
from penstock.options.advice import ADVICE
from penstock.options.known import known_names
from penstock.options.rules import RULES
from penstock.options.table import BY_NAME
from penstock.plan.findings import CODES, ROWS

PLAN = Path(penstock.plan.__file__).parent


def emitted() -> Iterator[tuple[str, str]]:
    """(file, code) of each `context.error("code", ...)` and its kind; a code that is no plain text shows as it is."""
    for path in sorted(PLAN.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or len(node.args) != 4:
                continue
            if node.func.attr not in ("error", "warn", "note"):
                continue
            code = node.args[0]
            if isinstance(code, ast.Constant):
                yield path.name, str(code.value)
            elif not (isinstance(code, ast.Name) and code.id == "code"):
                yield path.name, ast.unparse(code)


def test_each_code_has_a_row() -> None:
    missing = [f"{file}: {code}" for file, code in emitted() if code not in CODES]
    assert not missing, "add a row to penstock/plan/findings.py, and run `make generate`"


def test_each_row_is_used() -> None:
    text = "".join(path.read_text() for path in PLAN.glob("*.py") if path.name != "findings.py")
    assert [row.code for row in ROWS if f'"{row.code}"' not in text] == []


def test_rows_are_complete_and_codes_mean_one_thing() -> None:
    everywhere = [*CODES, *CONFIG_CODES, *(rule.id for rule in (*RULES, *ADVICE))]
    assert len(CODES) == len(ROWS) and sorted(everywhere) == sorted(set(everywhere))
    for row in ROWS:
        assert row.meaning and row.fix


def test_no_code_is_also_the_name_of_an_option() -> None:
    codes = {*CODES, *CONFIG_CODES, *(rule.id for rule in (*RULES, *ADVICE))}
    assert codes & {*BY_NAME, *known_names()} == set()
