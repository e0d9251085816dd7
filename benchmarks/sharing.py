"""What workers of a Django project share: the memory of four that are forked from one import, and of four that are not.

    python -m benchmarks.sharing [--rounds N] [--commands DIR] [--output DIR]

Three ways, one after the other in each round: one import (the default), one import without `gc.freeze()` (so that it is
seen what that is for), and an import in each worker (`lazy-apps`). Each is measured when it has started, and after
requests that every worker had its share of, with a full collection of garbage in each worker at their end: it visits
every object, and what it writes to is copied. Sizes are PSS: shared pages are divided among who shares them, so that
the sum is what the instance takes from the machine.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import threading
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path

from benchmarks.prepare import HERE, django, machine
from benchmarks.process import Process, free_port, pss_mib

WORKERS = 4
REQUESTS = 2000
"""In all, from twice as many clients as there are workers."""

APP = """
import gc
if not {freezes}:
    gc.freeze = lambda: None
from penstock.demo.site.wsgi import application as django_app

def application(environ, start_response):
    if environ["PATH_INFO"] == "/collect":
        gc.collect()
        start_response("200 OK", [("Content-Length", "0")])
        return []
    return django_app(environ, start_response)
"""

WAYS = {
    "one import": (True, ()),
    "one import, without gc.freeze": (False, ()),
    "an import in each worker": (True, ("--lazy-apps",)),
}
"""Way -> whether objects are frozen, and options."""


def ask(address: str, path: str, count: int) -> None:
    """Ask `count` times, each time on a new connection, so that whoever is free answers."""
    for _ in range(count):
        connection = HTTPConnection(address, timeout=30)
        connection.request("GET", path, headers={"Connection": "close"})
        response = connection.getresponse()
        response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{path} was answered with {response.status}")


def ask_together(address: str, path: str, count: int) -> None:
    """Ask from twice as many clients as there are workers."""
    clients = 2 * WORKERS
    threads = [threading.Thread(target=ask, args=(address, path, count // clients)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(way: str, commands: Path, folder: Path) -> dict[str, float]:
    """Start one instance, and weigh it twice."""
    freezes, options = WAYS[way]
    (folder / "shared_app.py").write_text(APP.format(freezes=freezes))
    address = f"127.0.0.1:{free_port()}"
    command = [f"{commands}/penstock", "--http-socket", address, "--chdir", str(folder), "--module", "shared_app"]
    command += ["--processes", str(WORKERS), "--disable-logging", *options]
    environment = {"PATH": "/usr/bin:/bin", **django()}
    process = Process(command, core=None, log=folder / "sharing.log", cwd=folder, environment=environment)
    try:
        process.wait_for(address)
        ask(address, "/", 1)
        idle = process.pss_mib()
        ask_together(address, "/", REQUESTS)
        ask_together(address, "/collect", 16 * WORKERS)
        return {
            "idle_mib": round(idle, 1),
            "after_mib": round(process.pss_mib(), 1),
            "largest_mib": round(max(map(pss_mib, process.pids())), 1),
        }
    finally:
        process.stop()


def table(found: dict[str, list[dict[str, float]]]) -> str:
    """Write the medians as a table."""
    lines = [
        f"| {WORKERS} Django workers, all processes | started | after {REQUESTS} requests and a collection |",
        "|---|--:|--:|",
    ]
    for way, samples in found.items():
        idle, after = (statistics.median(one[name] for one in samples) for name in ("idle_mib", "after_mib"))
        lines.append(f"| {way} | {idle:.1f} MiB | {after:.1f} MiB |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Measure, print, and keep the numbers."""
    parser = argparse.ArgumentParser(prog="benchmarks.sharing", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commands", type=Path, default=Path(sys.executable).parent)
    parser.add_argument("--output", type=Path, default=HERE / "results")
    wanted = parser.parse_args(arguments)
    folder = HERE / "build" / "sharing"
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(wanted.rounds):
        for way in WAYS:
            found[way].append(measure(way, wanted.commands, folder))
            print(way, found[way][-1], flush=True)
    today = datetime.date.today().isoformat()
    content = {"date": today, "machine": machine(), "workers": WORKERS, "requests": REQUESTS, "pss": found}
    (wanted.output / f"sharing-{today}.json").write_text(json.dumps(content, indent=1) + "\n")
    print(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
