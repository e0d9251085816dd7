"""One case of the benchmark, really run, with the engine that is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_a_quick_case_gives_a_table_and_a_target(short_dir: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.run", "--quick", "--cases", "hello", "--servers", "penstock,floor"]
    command += ["--commands", str(Path(sys.executable).parent), "--output", str(short_dir)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| hello | CPU for each request: at most 1.45 x floor's" in done.stdout
    (path,) = short_dir.glob("*.json")
    servers = json.loads(path.read_text())["cases"]["hello"]["servers"]
    for name in ("penstock", "floor"):
        (sample,) = servers[name]["rounds"]
        assert sample["errors"] == 0
        assert sample["requests"] > 100 and sample["cpu_us"] > 0, name
