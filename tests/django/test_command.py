"""`manage.py penstock`: the development server, started as somebody starts it, and its code changed under it."""

from __future__ import annotations

import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.clients import get
from tests.e2e.harness import START_DEADLINE_S, clean_environment, until
from tests.support.projects import make_django, manage, write_files

SETTINGS = """
INSTALLED_APPS = [*INSTALLED_APPS, "penstock.django"]
TEMPLATES[0]["DIRS"] = [BASE_DIR / "pages"]
"""
PAGE = """

def page(request):
    from django.shortcuts import render

    return render(request, "page.html")
"""


class Development:
    """A development server, in a process group of its own as a shell makes it."""

    def __init__(self, folder: Path, log: Path, *arguments: str, terminal: bool = False) -> None:
        self.log_path = log
        self._written = b""
        command = [sys.executable, "manage.py", "penstock", "127.0.0.1:0", *arguments]
        environ = {**clean_environment(), "TERM": "xterm"}
        controller, end = pty.openpty() if terminal else (-1, os.open(log, os.O_WRONLY | os.O_CREAT))
        self.process = subprocess.Popen(
            command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=end, stderr=end, process_group=0
        )
        os.close(end)
        if terminal:
            threading.Thread(target=self._copy, args=(controller,), daemon=True).start()

    def _copy(self, controller: int) -> None:
        with self.log_path.open("wb", buffering=0) as log:
            try:
                while piece := os.read(controller, 65536):
                    log.write(piece)
            except OSError:
                pass  # Nobody writes there any more.
        os.close(controller)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def address(self) -> str:
        """Where it serves; waits until it does."""

        def probe() -> str:
            assert self.process.poll() is None, self.log
            found = re.search(r"is ready: http://(\S+)", self.log)
            return found[1] if found else ""

        return until("the development server is ready", probe, START_DEADLINE_S)

    def wait_log(self, text: str) -> None:
        """Wait until something was written."""
        until(f"{text} in the log", lambda: text in self.log, START_DEADLINE_S)

    def stop(self) -> None:
        """Press Ctrl-C, which reaches the whole group."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(30) == 0, self.log

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = make_django(tmp_path / "cmdb", settings=SETTINGS, debug=True)
    write_files(folder, {"pages/page.html": "first page"})
    with (folder / "shop/views.py").open("a") as file:
        file.write(
            "\n\ndef page(request):\n    from django.shortcuts import render\n    return render(request, 'page.html')\n"
        )
    urls = folder / "cmdb/urls.py"
    urls.write_text(urls.read_text().replace('path("host/"', 'path("page/", views.page),\n    path("host/"'))
    manage(folder, "migrate", "-v0")
    return folder


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def test_it_serves_the_admin_with_its_css_and_says_where(project: Path, log: Path) -> None:
    with Development(project, log) as server:
        address = server.address
        assert "Django version 5." in server.log and "serves the development version at http://127.0.0.1:" in server.log
        assert get(address, "/admin/login/").status == 200
        css = get(address, "/static/admin/css/base.css")
        assert css.status == 200 and css.header("content-type") == "text/css"
        assert get(address, "/static/shop/shop.css").text == "body { color: teal }\n"
        assert get(address, "/nowhere/\x1b[31m".encode("unicode_escape").decode()).status == 404
        server.wait_log('"GET /static/shop/shop.css HTTP/1.1" 200 21')
        assert "\x1b" not in server.log
        server.stop()
    assert "Traceback" not in server.log and "goodbye" in server.log


def rewrite(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def answers(address: str, text: str, changed: Path) -> bool:
    """Whether the new code answers; saved again, as a change just behind the import may be taken for it."""
    if time.time() - changed.stat().st_mtime > 3:
        changed.touch()
    return get(address, "/").text == text


def test_changed_code_and_templates_are_taken_over_and_broken_code_is_not(project: Path, log: Path) -> None:
    views = project / "shop/views.py"
    with Development(project, log) as server:
        address = server.address
        assert get(address, "/").text == "shop\n" and get(address, "/page/").text == "first page"
        write_files(project, {"pages/page.html": "second page"})
        assert get(address, "/page/").text == "second page"
        rewrite(views, '"shop\\n"', '"new shop\\n"')
        until("the new code answers", lambda: answers(address, "new shop\n", views), START_DEADLINE_S)
        # Models are imported at the start, views only with the first request.
        models = project / "shop/models.py"
        with models.open("a") as file:
            file.write("\ndef broken(:\n")
        server.wait_log("SyntaxError")
        assert get(address, "/").text == "new shop\n"
        rewrite(models, "def broken(:\n", "")
        rewrite(views, "new shop", "mended shop")
        until("the mended code answers", lambda: answers(address, "mended shop\n", views), START_DEADLINE_S)
        server.stop()


def test_lines_are_coloured_on_a_terminal(project: Path, log: Path) -> None:
    with Development(project, log, "--noreload", terminal=True) as server:
        address = re.sub("\x1b[^m]*m", "", server.address)
        get(address, "/nowhere/")
        until("a coloured line", lambda: re.search('\x1b\\[[0-9;]+m[^\n]*"GET /nowhere/ HTTP/1.1" 404', server.log))
        server.stop()


def test_options_of_the_server_are_passed_on(project: Path, log: Path) -> None:
    with Development(project, log, "--nostatic", "-o", "add-header=X-Here: yes", "--processes", "2") as server:
        response = get(server.address, "/")
        assert response.header("x-here") == "yes"
        assert get(server.address, "/static/shop/shop.css").status == 404
        assert "2 workers" in server.log
        server.stop()


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:99999", "1:2:3", ""])
def test_an_address_that_is_none_is_told(project: Path, address: str) -> None:
    done = run(project, "penstock", address or "127.0.0.1:")
    assert done.returncode == 1 and "is no port and no ADDRESS:PORT" in done.stderr and "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_told(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run(project, "penstock", f"127.0.0.1:{taken.getsockname()[1]}")
    assert (
        done.returncode == 1
        and "another instance is running on the same address" in done.stderr
        and "Traceback" not in done.stderr
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
