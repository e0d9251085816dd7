"""Compare `penstock/_engine.pyi` with the engine that was built: `python tools/check_stub.py [ROOT]`.

mypy's stubtest does the comparing. Left alone with a private module it is content when the stub is missing and when
the module can not be imported, so both are looked at first.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def problems(root: Path = ROOT) -> str:
    """What differs between the stub and the module in the package under `root`; empty if nothing does."""
    stub = root / "penstock" / "_engine.pyi"
    if not stub.is_file():
        return f"{stub} is missing: it is the boundary"
    environment = {**os.environ, "PYTHONPATH": str(root), "MYPYPATH": str(root)}
    program = "import penstock._engine as engine; print(engine.__file__)"
    imported = subprocess.run(
        [sys.executable, "-c", program], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if imported.returncode:
        return f"the engine can not be imported (make build):\n{imported.stderr}"
    if not Path(imported.stdout.strip()).is_relative_to(root.resolve()):
        return f"the engine that is imported is {imported.stdout.strip()}, not the one under {root}"
    compared = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "penstock._engine"],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if compared.returncode == 0 else compared.stdout + compared.stderr


if __name__ == "__main__":
    found = problems(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT)
    print(found or "the stub and the engine agree")
    sys.exit(1 if found else 0)
