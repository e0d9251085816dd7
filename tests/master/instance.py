"""A real master in a process of its own, with the fake generation: start it, wait for what it says, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from penstock.master import control_client
from penstock.plan.types import Plan, to_json_value
from penstock.values import fields
from tests.master.plans import make_plan

PATIENCE_S = 20.0
HERE = Path(__file__).resolve().parent


class Instance:
    """One instance, in a directory of its own."""

    def __init__(self, directory: Path, app: str = "fine hello", **changes: Any) -> None:
        self.directory = directory
        self.app = directory / "app"
        self.app.write_text(app)
        self.plan_file = directory / "plan.json"
        self.plan: Plan = make_plan(str(self.app), **changes)
        self.log = ""
        self.environment = dict(os.environ)
        self._write()
        # `is_instance` looks at the command line: the script has to have the name of the real one.
        self.script = directory / "penstock"
        shutil.copy(HERE / "run_instance.py", self.script)
        text = self.script.read_text().replace("Path(__file__).resolve().parents[2]", repr(str(HERE.parents[1])))
        text = text.replace("Path(__file__).resolve().with_name", f"Path({str(HERE / 'x')!r}).with_name")
        self.script.write_text(text)
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.settimeout(PATIENCE_S)
        self.notify.bind(str(directory / "notify"))
        self.process: subprocess.Popen[bytes] | None = None

    def _write(self) -> None:
        self.plan_file.write_text(json.dumps(to_json_value(self.plan)))

    def change(self, **changes: Any) -> None:
        """Change the plan that a reload reads."""
        self.plan = make_plan(str(self.app), **{**_shallow(self.plan), **changes})
        self._write()

    def start(self, *prefix: str) -> Instance:
        """Start it, by the command `prefix` if there is one, and wait for nothing."""
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-W", "error", str(self.script), str(self.plan_file)],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**self.environment, "NOTIFY_SOCKET": str(self.directory / "notify")},
        )
        return self

    def serve(self) -> Instance:
        """Start it and wait until it is ready."""
        self.start()
        self.wait_notified("READY=1")
        return self

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait_notified(self, wanted: str) -> str:
        """Wait for a notification that holds `wanted`."""
        while True:
            try:
                said = self.notify.recv(4096).decode()
            except TimeoutError:
                self.read_log(0)
                raise AssertionError(f"{wanted} was not notified; the log is:\n{self.log}") from None
            if wanted in said:
                return said

    def read_log(self, wait_s: float) -> bool:
        """Read what there is of the log; False at its end."""
        assert self.process is not None and self.process.stderr is not None
        if select.select([self.process.stderr], [], [], wait_s)[0]:
            data = os.read(self.process.stderr.fileno(), 65536)
            self.log += data.decode()
            return bool(data)
        return True

    def wait_line(self, text: str, times: int = 1) -> str:
        """Wait until the log holds a line; return it."""
        end = time.monotonic() + PATIENCE_S
        while self.log.count(text) < times:
            is_open = self.read_log(max(0.0, end - time.monotonic()))
            if (not is_open and self.log.count(text) < times) or time.monotonic() > end:
                raise AssertionError(f"{text!r} is not in the log:\n{self.log}")
        return [line for line in self.log.splitlines() if text in line][times - 1]

    def wait_exit(self) -> int:
        """Wait for the end and the whole log; return the exit status."""
        assert self.process is not None
        end = time.monotonic() + PATIENCE_S
        while self.read_log(max(0.0, end - time.monotonic())) and time.monotonic() < end:
            pass
        return self.process.wait(PATIENCE_S)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.wait_exit()

    def port(self, index: int = 0) -> int:
        line = self.wait_line(f"socket {index} bound to TCP address")
        found = re.search(r":(\d+)(?: \(port auto-assigned\))? fd", line)
        assert found, line
        return int(found.group(1))

    def connect(self, asked: str = "x") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port()), timeout=PATIENCE_S)
        connection.sendall(asked.encode() + b"\n")
        return connection

    def ask(self) -> str:
        """Make a request; return the answer."""
        with self.connect() as connection:
            return read_all(connection)

    def command(self, name: str, **parameters: Any) -> dict[str, Any]:
        return control_client.request(self.pid, name, timeout_s=PATIENCE_S, **parameters)

    def fleet(self) -> dict[str, Any]:
        fleet: dict[str, Any] = self.command("status")["fleet"]
        return fleet

    def __enter__(self) -> Instance:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.notify.close()
        if self.process is None:
            return
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


def _shallow(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in (each.name for each in fields(plan))}


def read_all(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state != "Z"


def wait_until_gone(pid: int, within_s: float) -> bool:
    """Wait for the end of a process that is nobody's child here."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(within_s * 1000))
    finally:
        os.close(fd)
