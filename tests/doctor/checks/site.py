"""A real nginx for the doctor's tests: as www-data, with a site of the test's choice, read anew for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from penstock.deploy.nginx.installed import find_program
from tests.e2e.clients import connect
from tests.e2e.harness import free_port, until

CONF = """daemon off;
user www-data;
worker_processes 1;
worker_rlimit_nofile 4096;
pid {dir}/nginx.pid;
error_log {dir}/error.log;
{main}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {dir}/body;
    proxy_temp_path {dir}/proxy;
    uwsgi_temp_path {dir}/uwsgi;
    fastcgi_temp_path {dir}/fastcgi;
    scgi_temp_path {dir}/scgi;
    {http}
    server {{
        listen 127.0.0.1:{port};
        server_name shop.test;
        {server}
    }}
}}
"""
PARAMS = "include /etc/nginx/uwsgi_params;"
PROXY = (
    "proxy_set_header Host $host; proxy_set_header X-Forwarded-Proto $scheme; "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
)


class Site:
    """A running nginx whose files change."""

    def __init__(self, *prefix: str) -> None:
        """Start one that answers 404; `prefix` is a command that it is started by (`unshare`)."""
        self.dir = Path(tempfile.mkdtemp(prefix="dnx-"))
        self.dir.chmod(0o755)
        self.port = free_port()
        self.file = self.dir / "nginx.conf"
        self._write("return 404;")
        program = find_program(os.environ) or "/usr/sbin/nginx"
        words = [*prefix, program, "-p", str(self.dir), "-c", str(self.file), "-e", str(self.dir / "error.log")]
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until("nginx answers", self._is_up)

    def _is_up(self) -> bool:
        assert self.process.poll() is None, (self.dir / "error.log").read_text()
        try:
            connect(f"127.0.0.1:{self.port}").close()
        except OSError:
            return False
        return (self.dir / "nginx.pid").exists() and bool((self.dir / "nginx.pid").read_text().strip())

    def _write(self, server: str, http: str = "", main: str = "") -> None:
        text = CONF.format(dir=self.dir, port=self.port, server=server, http=http, main=main)
        self.file.write_text(text)

    def serve(self, server: str, http: str = "", main: str = "", *, reload: bool = True) -> Path:
        """Have nginx serve this inside its server block; the main file."""
        self._write(server, http, main)
        (self.dir / "error.log").write_text("")
        if reload:
            master = int((self.dir / "nginx.pid").read_text())
            before = self._workers(master)
            os.kill(master, 1)
            until("a worker with the new files", lambda: self._workers(master) - before)
            until("the end of the old workers", lambda: not self._workers(master) & before)
        return self.file

    def _workers(self, master: int) -> set[int]:
        return set(map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()))

    def stop(self) -> None:
        """End it, and remove its directory."""
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.dir, ignore_errors=True)
