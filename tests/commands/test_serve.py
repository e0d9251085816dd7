"""The command that serves, where the engine is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
sys.modules["penstock._engine"] = None
from penstock.commands.serve import serve
from tests.master.plans import make_plan
sys.exit(serve(make_plan("x"), lambda note: make_plan("x")))
"""


def test_missing_engine_is_said_in_words_and_ends_with_1() -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(root)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "the engine of Penstock can not be loaded by" in done.stderr and "Traceback" not in done.stderr
