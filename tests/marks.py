"""The marks of tests, read from their files: who says `@pytest.mark.NAME("word", ...)`, and with which words."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

E2E = Path(__file__).parent / "e2e"


def marks(tree: ast.AST, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Line and words of each mark: on a function, on a class, on a set of parameters, or on the whole file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"pytest.mark.{mark}":
            yield node.lineno, [argument.value for argument in node.args if isinstance(argument, ast.Constant)]


def all_marks(mark: str) -> list[tuple[str, str]]:
    """(place, word) of everything in tests/e2e that is marked so."""
    return [
        (f"{path.relative_to(E2E)}:{line}", word)
        for path in sorted(E2E.rglob("test_*.py"))
        for line, words in marks(ast.parse(path.read_text()), mark)
        for word in words
    ]
