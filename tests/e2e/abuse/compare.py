"""The same cases against other servers: `python -m tests.e2e.abuse.compare VENV` prints how many each one passes.

VENV is a virtual environment with gunicorn, granian, uWSGI and waitress, or some of them. Each server runs `app.py`
with one process and four threads, as it comes otherwise. A case passes when what came back is safe: refusing what is
valid is, serving what a strict reader of the bytes does not see, or framing that a client can misread, is not.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.e2e.abuse import cases, judge, packets, test_app
from tests.e2e.abuse.attacks import KINDS, Attack
from tests.e2e.abuse.conftest import APP
from tests.e2e.abuse.test_packets import exchange, status_of
from tests.e2e.clients import Connection
from tests.e2e.harness import ROOT, clean_environment, free_port, until

THREADS = "4"
# A case that waits longer has no end.
PATIENCE_S = 2.0
# Within this an ordinary client is answered while others attack.
SERVED_S = 1.0

COMMANDS = {
    "penstock": "{python} -m penstock --http-socket {http} --socket {uwsgi} --wsgi-file {app} --threads {threads} -L",
    "uwsgi": "{bin}/uwsgi --http-socket {http} --socket {uwsgi} --wsgi-file {app} --master --threads {threads} -L",
    "gunicorn": "{bin}/gunicorn --bind {http} --worker-class gthread --threads {threads} app:application",
    "granian": "{bin}/granian --interface wsgi --port {port} --blocking-threads {threads} app:application",
    "waitress": "{bin}/waitress-serve --listen={http} --threads={threads} app:application",
}  # fmt: skip


@dataclass(frozen=True)
class Check:
    """One case of a class: finds what is wrong, an empty text for nothing."""

    group: str
    name: str
    run: Callable[[Server], str]


class Server:
    """A server of some kind, started again when a case has ended it."""

    def __init__(self, name: str, venv: Path) -> None:
        self.name = name
        port = free_port()
        self.http, self.uwsgi = f"127.0.0.1:{port}", f"127.0.0.1:{free_port()}"
        values = {"python": sys.executable, "bin": venv / "bin", "app": APP, "threads": THREADS, "port": port}
        self.command = COMMANDS[name].format(http=self.http, uwsgi=self.uwsgi, **values).split()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        environment = {**clean_environment(), "PYTHONPATH": f"{APP.parent}:{ROOT}"}
        with tempfile.TemporaryFile() as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env=environment, process_group=0, cwd=APP.parent
            )
        until(f"{self.name} answers", self.is_up, 20.0)
        self.pid = judge.ask(self.http).pid
        return self

    def is_up(self) -> bool:
        try:
            with Connection(self.http, PATIENCE_S) as connection:
                return connection.request("GET", "/up").status == 200
        except (OSError, AssertionError, judge.Cut):
            return False

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        assert self.process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def fault_of(self, check: Check) -> str:
        """What is wrong with the outcome of `check`, or with the server after it."""
        try:
            fault = check.run(self)
            pid = judge.ask(self.http).pid
        except (OSError, AssertionError, judge.Cut, ValueError) as error:
            fault, pid = f"{type(error).__name__}: {error}", 0
        if pid != self.pid:
            fault = fault or "the worker was replaced"
            self.__exit__(None, None, None)
            self.__enter__()
        return fault


def smuggling() -> Iterator[Check]:
    for group, make in cases.HTTP.items():
        for case in make():
            # These need the limits of the corpus, which others have no options for.
            limited = ("head-too-large", "body-too-large", "request-line-too-long")
            if not case.name.startswith(limited) and not case.name.endswith("-the-limit"):
                yield Check("smuggling and framing", f"{group}: {case.name}", judged(case))


def judged(case: judge.Case) -> Callable[[Server], str]:
    return lambda server: judge.judge(server.http, case, timeout_s=PATIENCE_S, strict=False)


def apps() -> Iterator[Check]:
    expected: dict[str, str] = {}
    expected |= {f"/returns?is={which}": result for which, result in test_app.RESULTS.items()}
    expected |= {f"/types?is={which}": test_app.ERROR for which in test_app.TYPES}
    for at, result in test_app.MOMENTS.items():
        expected |= {f"/raises?is={which}&at={at}": result for which in test_app.EXCEPTIONS}
    for how in test_app.WAYS:
        lengths = {"5": "200 12345", "3": "200 123", "0": "200", "6": test_app.CUT}
        expected |= {f"/length?is={said}&how={how}": result for said, result in lengths.items()}
    for code in (200, 204, 304):
        for how in ("list", "pieces", "write"):
            result = f"{code}" if code != 200 else "200 12345"
            expected |= {f"/status?is={code}&how={how}{more}": result for more in ("", "&length=1")}
    expected |= {"/twice": test_app.ERROR, "/replaced": "503 12345", "/replaced_late": test_app.CUT}
    for target, result in expected.items():
        yield Check("WSGI apps", target, served(target, result))
    for path in test_app.INVALID_HEADS:
        status, headers = test_app.head_of(path)
        said = judge.json.dumps({"status": status, "headers": headers, "body": "12345"}).encode()
        yield Check("WSGI apps", path.stem, served("/respond", test_app.ERROR, "POST", said))


def served(target: str, expected: str, method: str = "GET", body: bytes = b"") -> Callable[[Server], str]:
    def run(server: Server) -> str:
        found = test_app.plain(judge.outcome(server.http, target, method, body, PATIENCE_S))
        # A refusal or a visible cut is safe wherever something else is expected.
        return "" if found in (expected, test_app.ERROR, test_app.CUT) else f"{found[:80]} instead of {expected[:80]}"

    return run


def uwsgi() -> Iterator[Check]:
    for name, _, data in packets.invalid():
        yield Check("uwsgi packets", name, packet(data))
    for name, data in packets.lying():
        yield Check("uwsgi packets", name, packet(data))
    for number, data in enumerate(packets.mutations(1, 500)):
        yield Check("uwsgi packets", f"mutation {number}", packet(data, must_refuse=False))
    with tempfile.TemporaryDirectory() as folder:
        module, mark = packets.planted(Path(folder))
        for name, value in packets.magic(module).items():
            yield Check("uwsgi packets", f"magic {name}", magic(name, value, mark))


def packet(data: bytes, *, must_refuse: bool = True) -> Callable[[Server], str]:
    def run(server: Server) -> str:
        status = status_of(exchange(server.uwsgi, data))
        served = 200 <= status < 400 or bool(judge.ask(server.http).seen)
        return f"it was served with {status}" if must_refuse and served else ""

    return run


def magic(name: str, value: str, mark: Path) -> Callable[[Server], str]:
    def run(server: Server) -> str:
        variables = [*packets.uwsgi_variables("/magic"), (name, value)]
        answer = exchange(server.uwsgi, packets.uwsgi_packet(variables))
        if mark.exists():
            mark.unlink()
            return "code that the wire named was run"
        return "" if answer.endswith(b"GET 0") else f"{answer[:80]!r} came"

    return run


def slow() -> Iterator[Check]:
    for kind, what in KINDS.items():
        yield Check("slow clients over uwsgi" if what.uwsgi else "slow clients", kind, attacked(kind))


def attacked(kind: str) -> Callable[[Server], str]:
    def run(server: Server) -> str:
        with contextlib.ExitStack() as stack:
            stack.enter_context(Attack([kind], server.http, server.uwsgi, 0.2))
            for _ in range(10):
                begun = time.monotonic()
                with Connection(server.http, SERVED_S) as connection:
                    if connection.request("GET", "/ordinary").status != 200:
                        return "an ordinary client was refused"
                if time.monotonic() - begun > SERVED_S:
                    return "an ordinary client waited"
        return ""

    return run


def compare(name: str, venv: Path) -> dict[str, dict[str, str]]:
    """For each class, each case and what was wrong with it."""
    found: dict[str, dict[str, str]] = {}
    with Server(name, venv) as server:
        speaks_uwsgi = "{uwsgi}" in COMMANDS[name]
        for make in (smuggling, apps, uwsgi, slow):
            for check in make():
                if speaks_uwsgi or "uwsgi" not in check.group:
                    found.setdefault(check.group, {})[check.name] = server.fault_of(check)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("venv", type=Path, help="virtual environment of the other servers")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    parser.add_argument("--faults", action="store_true", help="name each case that does not pass, and why")
    given = parser.parse_args()
    with ThreadPoolExecutor() as pool:
        results = dict(zip(given.only, pool.map(lambda name: compare(name, given.venv), given.only), strict=True))
    groups = list(dict.fromkeys(group for found in results.values() for group in found))
    print("| server | " + " | ".join(groups) + " |")
    print("|---" * (len(groups) + 1) + "|")
    for name, found in results.items():
        passed = {group: sum(not fault for fault in checks.values()) for group, checks in found.items()}
        row = (f"{passed[group]} of {len(found[group])}" if group in found else "-" for group in groups)
        print(f"| {name} | " + " | ".join(row) + " |")
    if given.faults:
        for name, found in results.items():
            for group, checks in found.items():
                for case, fault in checks.items():
                    if fault:
                        print(f"{name}: {group}: {case}: {fault}")


if __name__ == "__main__":
    main()
