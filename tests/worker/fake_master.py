"""Plays the master's part of the process protocol against a real, exec'd generation with a fake engine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import penstock
from penstock.plan.process_types import AskingPlan, GatesPlan, HooksPlan, TitlesPlan
from penstock.plan.types import (
    AppPlan,
    EnginePlan,
    MountingPlan,
    RequestLogPlan,
    RoutesPlan,
    StaticMapPlan,
    StaticPlan,
    to_json_value,
)
from tests.e2e.harness import clean_environment

WAIT_S = 30


def install(directory: Path, engine: bool = True) -> Path:
    """Copy the part of the package that a generation needs, with the fake engine in it; return the boot file."""
    source = Path(penstock.__file__).parent
    package = directory / "penstock"
    shutil.copytree(source / "worker", package / "worker", ignore=shutil.ignore_patterns("__pycache__"))
    (package / "plan").mkdir()
    modules = ("__init__.py", "hooks.py", "server_log.py", "titles.py", "values.py")
    observe = ("observe/__init__.py", "observe/proc.py", "observe/scoreboard.py")
    (package / "observe").mkdir()
    for name in (*modules, *observe, "plan/__init__.py", "plan/types.py", "plan/process_types.py"):
        shutil.copy(source / name, package / name)
    if engine:
        shutil.copy(Path(__file__).with_name("fake_engine.py"), package / "_engine.py")
    return package / "worker" / "boot.py"


def engine_plan(**changes: Any) -> EnginePlan:
    """Make a plan as resolve makes it, with what a test changes."""
    values: dict[str, Any] = {
        "threads": 1, "multiprocess": False, "server_name": "host", "head_limit_bytes": 65536,
        "header_limit_count": 200, "underscores_in_headers": False, "body_limit_bytes": 0, "body_memory_bytes": 65536,
        "body_memory_total_bytes": 1 << 20, "spool_dir": "/tmp", "response_buffer_total_bytes": 1 << 20,
        "response_buffer_bytes": 1 << 20, "response_spool_bytes": 0, "response_spool_total_bytes": 0,
        "header_timeout_s": 10.0, "body_timeout_s": 10.0, "write_timeout_s": 10.0,
        "keepalive_timeout_s": 30.0, "max_requests": 0, "min_worker_lifetime_s": 10.0, "drain_timeout_s": 60.0,
        "trusted_proxies": ("unix",), "static": StaticPlan((StaticMapPlan("/static", "/srv/static"),)),
        "mounting": MountingPlan(False, True, 1, 1, 0),
        "log": RequestLogPlan(enabled=True), "routes": RoutesPlan((), (), ()),
    }  # fmt: skip
    return EnginePlan(**{**values, **changes})


def app_plan(directory: Path, target: str = "shop_site", **changes: Any) -> AppPlan:
    """Make a plan for a module in `directory`."""
    values: dict[str, Any] = {
        "kind": "module", "target": target, "callable": "application", "chdir": str(directory), "pythonpath": (),
        "environment": (), "interpreter": sys.executable, "home": None, "options": (("processes", "2"),),
        "mounts": (),
    }  # fmt: skip
    return AppPlan(**{**values, **changes})


class FakeMaster:
    """One generation and what its master holds of it."""

    def __init__(self, boot: Path, directory: Path, interpreter: str = sys.executable) -> None:
        """Exec a generation, as the master does, with its log in `directory`."""
        self.log_path = directory / "server.log"
        self._log_fd = os.open(self.log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(WAIT_S)
        self.lifeline_read, self.lifeline_write = os.pipe()
        self.handoff = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener = socket.create_server(("127.0.0.1", 0))
        # As the master makes them; an engine that waits in one accept serves nobody.
        for each in (*self.handoff, self.listener):
            each.setblocking(False)
        self.locks_fd = os.memfd_create("locks")
        self.controls: list[socket.socket] = []
        self.pids: list[int] = []
        moved = os.dup(other.fileno())
        if moved < 10:  # Never the case in pytest, but dup2 onto itself would leave close-on-exec set.
            raise RuntimeError("descriptors below 10 are free")
        self.pid = os.posix_spawn(
            interpreter,
            [interpreter, str(boot)],
            {**clean_environment(), "PYTHONDONTWRITEBYTECODE": "1"},
            file_actions=[
                (os.POSIX_SPAWN_DUP2, moved, 3),
                (os.POSIX_SPAWN_DUP2, self._log_fd, 2),
            ],
            setsigdef=[signal.SIGINT, signal.SIGTERM],
            setsigmask=[],
        )
        os.close(moved)
        other.close()
        self._reaped: int | None = None

    def start(
        self, app: AppPlan, engine: EnginePlan | None = None, scoreboard_fd: int | None = None, **changes: Any
    ) -> None:
        """Send the first message; the fake engine does not look into its scoreboard, a real one does."""
        plan = {
            "app": to_json_value(app), "engine": to_json_value(engine or engine_plan()),
            "listeners": [{"protocol": "http", "name": "127.0.0.1:0", "server_port": "0", "is_unix": False,
                           "is_kept": False}],
            "titles": to_json_value(TitlesPlan()), "asking": to_json_value(AskingPlan()),
            "hooks": to_json_value(HooksPlan()), "gates": to_json_value(GatesPlan()), "cpus_per_worker": 0,
            "lazy_apps": False, "need_app": True,
            "master_pid": os.getpid(), "is_reload": False, "import_limit_s": 0.0, "processes": 2, **changes,
        }  # fmt: skip
        memfd = os.memfd_create("plan")
        os.write(memfd, json.dumps(plan).encode())
        scoreboard = os.memfd_create("scoreboard") if scoreboard_fd is None else os.dup(scoreboard_fd)
        descriptors = [
            memfd, self.lifeline_read, scoreboard, self.handoff[0].fileno(), self.handoff[1].fileno(), self.locks_fd,
            self._log_fd, self.listener.fileno(),
        ]  # fmt: skip
        # A real master sends its own plan beside it as a convenience; nothing may depend on that copy.
        message = json.dumps({"op": "start", "generation": 1, "plan": {}}).encode()
        socket.send_fds(self.channel, [message], descriptors)
        os.close(memfd)
        os.close(scoreboard)

    def event(self) -> dict[str, Any]:
        """Wait for the next report; fail the test at end of file."""
        data = self.channel.recv(1 << 18)
        assert data, f"the generation hung up; its log: {self.log()}"
        result: dict[str, Any] = json.loads(data)
        if result["event"] == "spawned":
            self.pids.append(result["pid"])
        return result

    def spawn(self, worker: int = 1, slot: int = 0, ready: bool = True, entry: str = "start") -> socket.socket:
        """Ask for a worker; return the control pair's end, after `spawned` and (with `ready`) its `ready`."""
        mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(WAIT_S)
        asked = {"op": "spawn", "worker": worker, "slot": slot, "entry": entry, "is_paused": entry == "reload"}
        message = json.dumps(asked).encode()
        socket.send_fds(self.channel, [message], [other.fileno()])
        other.close()
        self.controls.append(mine)
        assert self.event()["event"] == "spawned"
        if ready:
            assert mine.recv(65536) == b"ready", self.log()
        return mine

    def end(self) -> None:
        """Tell the generation to end when its workers have."""
        self.channel.send(json.dumps({"op": "end"}).encode())

    def exit_code(self) -> int:
        """Wait for the generation itself."""
        if self._reaped is None:
            pidfd = os.pidfd_open(self.pid)
            ready, _, _ = select.select([pidfd], [], [], WAIT_S)
            os.close(pidfd)
            assert ready, f"the generation goes on; its log: {self.log()}"
            self._reaped = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._reaped

    def log(self) -> str:
        """Return what was logged so far."""
        return self.log_path.read_text()

    def cut_lifeline(self) -> None:
        """Do what the death of the master does."""
        if self.lifeline_write >= 0:
            os.close(self.lifeline_write)
            self.lifeline_write = -1

    def close(self) -> None:
        """Leave nothing behind: not even a worker that a failing test has left in the middle of something."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self._reaped is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.cut_lifeline()
        for each in (self.channel, *self.handoff, self.listener, *self.controls):
            each.close()
        os.close(self.lifeline_read)
        os.close(self._log_fd)
        os.close(self.locks_fd)


def ask(control: socket.socket, order: str) -> str:
    """Give a worker's fake engine an order and return its answer."""
    control.send(order.encode())
    return control.recv(65536).decode()


def value(control: socket.socket, expression: str) -> Any:
    """Evaluate `expression` inside a worker."""
    return json.loads(ask(control, f"eval {expression}"))
