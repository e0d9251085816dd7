"""What an ordinary start does not need is not imported by it: each module costs time, and memory in the master."""

from __future__ import annotations

import subprocess
import sys

import pytest

NOT_NEEDED = {"asyncio", "ast", "difflib", "http", "logging", "subprocess", "tomllib", "urllib.request"}
NOT_NEEDED |= {"watchfiles", "penstock.master.code_watch"}


def imported_by(modules: str) -> set[str]:
    """The names of all modules that are there after an import."""
    program = f"import sys, {modules}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


@pytest.mark.parametrize(
    ("modules", "not_needed"),
    [
        ("penstock.cli", {"json", "mimetypes", "threading", "penstock.plan.routes", "penstock.options.advice"}),
        (
            "penstock.cli, penstock.commands.serve",
            {"threading", "penstock.plan.routes", "penstock.master.log_forwarder"},
        ),
    ],
)
def test_an_ordinary_start_imports_nothing_that_few_need(modules: str, not_needed: set[str]) -> None:
    plain = imported_by("site")
    assert imported_by(modules) & (NOT_NEEDED | not_needed) - plain == set()
