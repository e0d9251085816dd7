"""What has to be there before anything is measured: installations, the wheel, the floor, files, versions.

Everything is in benchmarks/build, and what is there already is not made again.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import nginx
from benchmarks.servers import SERVERS, Server

ROOT = Path(__file__).parent.parent
HERE = ROOT / "benchmarks"
WORK = HERE / "build"
BIN = WORK / "venv" / "bin"
STATIC = WORK / "static"
FILE_10M = WORK / "10m"
FLOOR = WORK / "floor"
PIECE = b"penstock-penstock-penstock-pens\n" * 128

Say = Callable[[str], None]


def run_quietly(command: Sequence[str | Path], **more: Any) -> None:
    """Run `command`; what it printed is shown only if it fails. Raises RuntimeError."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")


def everything(names: Iterable[str], commands: Path, say: Say, *, build: bool) -> dict[str, str]:
    """Prepare what the servers `names` need; why those that can not be had can not, by name.

    `commands` is BIN, or the directory of commands of another environment: nothing is installed into that, and nothing
    is built. Raises RuntimeError if Penstock itself or what measures can not be had.
    """
    WORK.mkdir(exist_ok=True)
    servers = [SERVERS[name] for name in names]
    if commands == BIN:
        if not (BIN / "python").exists():
            say("creating benchmarks/build/venv")
            run_quietly([sys.executable, "-m", "venv", WORK / "venv"])
        missing = _install(servers, say)
        if build or not (BIN / "penstock").exists():
            _install_penstock(say)
    else:
        there = installed(commands)
        missing = {
            server.name: f"is not installed in {commands}"
            for server in servers
            if server.package and server.package not in there
        }
    _compile_floor()
    _make_files()
    command: list[str | Path] = [commands / "python", "-m", "penstock.demo", "prepare"]
    run_quietly(command, cwd=WORK, env={**os.environ, **django()})
    return missing


def _pip(*arguments: str | Path) -> None:
    run_quietly([BIN / "python", "-m", "pip", "--quiet", "--disable-pip-version-check", "install", *arguments])


def _install(servers: Iterable[Server], say: Say) -> dict[str, str]:
    there = installed(BIN)
    demo = subprocess.check_output([sys.executable, ROOT / "tools/requirements.py", "demo"], text=True).split()
    if "django" not in there:
        _pip(*demo)
    missing = {}
    for server in servers:
        if not server.package or server.package in there:
            continue
        say(f"installing {server.package}")
        try:
            _pip(server.package)
        except RuntimeError as error:
            missing[server.name] = f"can not be installed: {str(error).strip().splitlines()[-1]}"
    return missing


def _install_penstock(say: Say) -> None:
    say("building the release wheel (link-time optimisation takes a minute or two the first time)")
    shutil.rmtree(WORK / "wheel", ignore_errors=True)
    run_quietly([Path(sys.executable).with_name("maturin"), "build", "--release", "--out", WORK / "wheel"], cwd=ROOT)
    _pip("--force-reinstall", "--no-deps", *(WORK / "wheel").glob("*.whl"))


def _compile_floor() -> None:
    source = HERE / "floor.c"
    if not FLOOR.exists() or FLOOR.stat().st_mtime < source.stat().st_mtime:
        run_quietly(["cc", "-O2", "-Wall", "-Wextra", "-o", FLOOR, source])


def _make_files() -> None:
    STATIC.mkdir(exist_ok=True)
    for path, size in ((STATIC / "4k", 4096), (STATIC / "1m", 1 << 20), (FILE_10M, 10 << 20)):
        if not path.exists() or path.stat().st_size != size:
            path.write_bytes(PIECE * (size // len(PIECE)))


def django() -> dict[str, str]:
    """The environment in which anybody can serve the bundled Django project."""
    return {"DJANGO_SETTINGS_MODULE": "penstock.demo.site.settings", "PENSTOCK_DEMO_DIR": str(WORK / "demo")}


def installed(commands: Path) -> dict[str, str]:
    """Version of everything that the Python in `commands` has, by name in small letters."""
    listing = subprocess.check_output(
        [commands / "python", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"], text=True
    )
    return {entry["name"].lower(): entry["version"] for entry in json.loads(listing)}


def versions(commands: Path, *, built: bool) -> dict[str, str]:
    """Version of everything that was measured or measured with; the commit only of a Penstock that this run built."""
    there = installed(commands)
    wanted = ("django", "penstock", *(server.package for server in SERVERS.values() if server.package))
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout.split()
    web = subprocess.run([nginx.program(), "-v"], capture_output=True, text=True, check=False).stderr
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    return {
        **{name: there[name] for name in wanted if name in there},
        "commit": (commit.strip() if built else "") or "unknown",
        "python": platform.python_version(),
        "wrk": wrk[1] if len(wrk) > 1 else "unknown",
        "nginx": web.strip().rpartition("/")[2],
    }


def machine() -> dict[str, Any]:
    """What was measured on, without names."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "memory_mib": int(memory[1]) // 1024 if memory else 0,
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }
