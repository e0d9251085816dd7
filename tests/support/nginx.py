"""An nginx that has its own files, laid out as a distribution does it: sites are put into it, and it is really run."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from penstock.deploy.nginx.installed import Nginx, look
from tests.e2e.clients import connect
from tests.e2e.harness import is_alive, until

PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
Layout = Literal["sites", "conf.d", "bare"]


class PortTaken(AssertionError):
    """Somebody else has got a port in between: choose others."""


class OwnNginx:
    """Main file, sites, logs and pid file below one folder; nothing of the system's is read but the MIME types."""

    def __init__(self, folder: Path, layout: Layout = "sites", http: str = "", main: str = "") -> None:
        """Write the files; `http` and `main` are text for the http block and for the top of the main file."""
        self.folder = folder
        self.etc = folder / "nginx"
        for name in ("sites-available", "sites-enabled", "conf.d"):
            if layout == "sites" or name == "conf.d":
                (self.etc / name).mkdir(parents=True)
        (folder / "log").mkdir()
        self.main_file = self.etc / "nginx.conf"
        self.error_log_file = folder / "error.log"
        includes = {"sites": "include conf.d/*.conf; include sites-enabled/*;", "conf.d": "include conf.d/*.conf;"}
        temporary = " ".join(
            f"{name}_temp_path {folder}/{name};" for name in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
        )
        self.main_file.write_text(
            f"""{"user root;" if os.getuid() == 0 else ""}
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {self.error_log_file} info;
{main}
events {{ worker_connections 512; }}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    {temporary}
    {http}
    {includes.get(layout, "")}
}}
"""
        )
        # The program tells a log directory and a prefix of its own, so that none of the system's is written to.
        self.program = folder / "nginx-own"
        self.program.write_text(
            f"""#!/bin/sh
if [ "$1" = -V ]; then
    {PROGRAM} -V 2>&1 | sed 's#--http-log-path=[^ ]*#--http-log-path={folder}/log/access.log#' |
        sed 's#--prefix=[^ ]*#--prefix={folder}#' >&2
    exit
fi
exec {PROGRAM} -e {self.error_log_file} "$@"
"""
        )
        self.program.chmod(0o755)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def facts(self) -> Nginx:
        """What the command finds out about it."""
        found = look(os.environ, str(self.program), str(self.main_file))
        assert found is not None
        return found

    def site(self, name: str, text: str) -> Path:
        """Put a site where nginx reads it."""
        folder = self.etc / ("sites-enabled" if (self.etc / "sites-enabled").exists() else "conf.d")
        path = folder / f"{name}.conf"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        return path

    def test(self) -> str:
        """What `nginx -t` says; empty if all is well. A warning counts."""
        done = subprocess.run(
            [str(self.program), "-p", str(self.folder), "-c", str(self.main_file), "-t", "-q"],
            capture_output=True,
            check=False,
        )
        said = (done.stdout + done.stderr).decode("utf-8", "replace")
        return said or ("" if done.returncode == 0 else f"ended with {done.returncode}")

    def start(self) -> None:
        """Start it, and wait until its master has written its pid."""
        with (self.folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [str(self.program), "-p", str(self.folder), "-c", str(self.main_file)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        until("nginx has a worker", self._has_worker)

    def _has_worker(self) -> bool:
        assert self.process is not None, "started above"
        if self.process.poll() is not None:
            raise (PortTaken if "Address already in use" in self.log else AssertionError)(self.log)
        return bool(Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split())

    def listens(self, port: int) -> bool:
        """Whether somebody accepts at a port."""
        try:
            connect(f"127.0.0.1:{port}").close()
        except OSError:
            return False
        return True

    @property
    def log(self) -> str:
        """The error log, and what went to standard error."""
        return "".join(
            path.read_text(errors="replace") for path in (self.folder / "stderr", self.error_log_file) if path.exists()
        )

    def stop(self) -> None:
        """End it."""
        if self.process is not None and is_alive(self.process.pid):
            self.process.terminate()
            self.process.wait(20)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(f"--- error log of nginx ---\n{self.log}")
        self.stop()


def certificate(folder: Path, *names: str, days: int = 30, stem: str = "site") -> tuple[Path, Path]:
    """Make a certificate that signs itself, and its key."""
    file, key = folder / f"{stem}.pem", folder / f"{stem}.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         str(days), "-keyout", str(key), "-out", str(file), "-subj", f"/CN={names[0][:60]}", "-addext",
         "subjectAltName=" + ",".join(f"DNS:{name}" for name in names)],
        check=True, capture_output=True,
    )  # fmt: skip
    return file, key


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago, all different; none of those that the kernel gives to whoever asks for any."""
    found: list[int] = []
    for port in random.sample(range(20000, 32000), 1000):
        try:
            with socket.create_server(("0.0.0.0", port)):
                found.append(port)
        except OSError:
            continue
        if len(found) == count:
            return found
    raise AssertionError(f"of 1000 ports not {count} are free")
