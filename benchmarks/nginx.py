"""What nginx is configured with: as a peer that answers by itself, and in front of a server. Pure text."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def program() -> str:
    """Where nginx is: Debian keeps it out of an ordinary user's PATH."""
    return shutil.which("nginx") or "/usr/sbin/nginx"


def by_itself(folder: Path, address: str, *, static: Path | None, log: Path | None) -> str:
    """A configuration that answers with a constant hello, and serves `static` as /static."""
    files = f"location /static/ {{ alias {static}/; }}" if static else ""
    return _configuration(
        folder,
        f"""
  server {{
    listen {address};
    default_type text/plain;
    {files}
    location / {{ return 200 "Hello, world\\n"; }}
  }}""",
        log,
    )


def before(folder: Path, address: str, socket: str, *, protocol: str) -> str:
    """A configuration that passes everything to the unix socket `socket`, by uwsgi or by HTTP kept alive."""
    if protocol == "uwsgi":
        passing = "include /etc/nginx/uwsgi_params; uwsgi_pass app;"
    else:
        passing = 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; '
        passing += "proxy_pass http://app;"
    # uwsgi has no kept connections; for HTTP every one of the load generator's connections may keep one.
    keep = "" if protocol == "uwsgi" else "keepalive 64; keepalive_requests 1000000000;"
    return _configuration(
        folder,
        f"""
  upstream app {{ server unix:{socket}; {keep} }}
  server {{
    listen {address};
    location / {{ {passing} }}
  }}""",
        None,
    )


def _configuration(folder: Path, servers: str, log: Path | None) -> str:
    places = "".join(
        f"  {kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "uwsgi", "fastcgi", "scgi")
    )
    # Started as root its worker would be nobody, who can not connect to root's socket.
    user = "user root;\n" if os.getuid() == 0 else ""
    return f"""daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
{user}events {{ worker_connections 4096; }}
http {{
  access_log {log or "off"};
  sendfile on;
  keepalive_requests 1000000000;
{places}{servers}
}}
"""
