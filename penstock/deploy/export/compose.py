"""Compose: the image behind nginx on one machine, migrated before it starts."""

from __future__ import annotations

from typing import Any

from penstock.deploy.artifact import Artifact
from penstock.deploy.export.image import LONGEST_START_S, health_check, image
from penstock.deploy.export.service import USER, Service
from penstock.deploy.export.text import Notes, document

NGINX_IMAGE = "nginxinc/nginx-unprivileged:1.28-alpine"
NGINX_CONFIG = "nginx.container.conf"
NGINX_PORT = 8080
NGINX_USER = 101
PUBLISHED_PORT = 8080
USUAL_BODY_BYTES = 75 << 20
"""Where nothing says how large an upload may be: nginx's own 1 MiB refuses the photo of a phone."""
NGINX_SPARE_S = 15
"""What nginx waits longer than a request may take."""


def compose(service: Service) -> list[Artifact]:
    """Make compose.yaml, with the image's files and nginx's."""
    return [
        *image(service),
        Artifact("/compose.yaml", document(_project(service)), why="the services"),
        Artifact(f"/{NGINX_CONFIG}", nginx(service), why="nginx in front of them"),
    ]


def _project(service: Service) -> dict[str, Any]:
    note = Notes()
    app: dict[str, Any] = {
        "build": {"context": "."},
        "image": service.image,
        **note("What settings want of the environment; a file that nobody commits."),
        "env_file": [{"path": ".env", "required": False}],
        "read_only": True,
        "tmpfs": ["/tmp"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    if service.media is not None:
        app["volumes"] = [f"media:{service.media[1]}"]
    services: dict[str, Any] = {}
    web: dict[str, Any] = {
        **app,
        "restart": "unless-stopped",
        **note(f"{service.drain_delay_s} s as not ready, {service.mercy_s} s for what is in flight, and the end."),
        "stop_grace_period": f"{service.stop_s}s",
        **note("Penstock reaps orphans and forwards signals itself."),
        "init": False,
        "expose": [str(service.wishes.http_port)],
        "healthcheck": {
            "test": ["CMD", *health_check(service)],
            "interval": "10s",
            "timeout": "3s",
            "start_period": f"{LONGEST_START_S}s",
            "retries": 3,
        },
        "deploy": {
            "resources": {
                "limits": {"cpus": str(service.processes), "memory": f"{service.memory_mib}M"},
            }
        },
    }
    if service.manage:
        services["migrate"] = {
            **app,
            **note("Ends before the others start; they do not start if it fails."),
            "entrypoint": ["python", service.manage],
            "command": ["migrate", "--noinput"],
            "restart": "no",
            "healthcheck": {"disable": True},
        }
        web["depends_on"] = {"migrate": {"condition": "service_completed_successfully"}}
    services["web"] = web
    proxy_volumes = [f"./{NGINX_CONFIG}:/etc/nginx/nginx.conf:ro"]
    if service.media is not None:
        proxy_volumes.append(f"media:{service.media[1]}:ro")
    services["nginx"] = {
        "image": NGINX_IMAGE,
        "restart": "unless-stopped",
        "depends_on": {"web": {"condition": "service_healthy"}},
        "ports": [f"{PUBLISHED_PORT}:{NGINX_PORT}"],
        "volumes": proxy_volumes,
        "read_only": True,
        "tmpfs": [f"/tmp:uid={NGINX_USER}"],
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
    }
    made: dict[str, Any] = {"name": service.name, "services": services}
    if service.media is not None:
        made["volumes"] = {**note(f"Uploads; written as user {USER}."), "media": {}}
    return made


def nginx(service: Service) -> str:
    """Write the configuration of nginx in its container."""
    limit = service.body_limit_bytes or USUAL_BODY_BYTES
    wait = service.harakiri_s + NGINX_SPARE_S if service.harakiri_s else 60
    media = ""
    if service.media is not None:
        url, place = service.media
        media = f"""
        location {url.rstrip("/")}/ {{
            alias {place.rstrip("/")}/;
            # Nothing that somebody uploaded is run in a visitor's browser.
            add_header X-Content-Type-Options nosniff always;
        }}
"""
    return f"""\
# nginx in front of {service.name}. TLS ends before it, or here: listen 8443 ssl, with a certificate on a volume.
worker_processes auto;
pid /tmp/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 1024;
}}

http {{
    include mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout;
    server_tokens off;
    sendfile on;
    client_body_temp_path /tmp/body;
    proxy_temp_path /tmp/proxy;
    fastcgi_temp_path /tmp/fastcgi;
    uwsgi_temp_path /tmp/uwsgi;
    scgi_temp_path /tmp/scgi;

    # The address that a container has may change: it is looked up again where it is used.
    resolver 127.0.0.11 valid=10s;
    upstream web {{
        zone web 64k;
        server web:{service.wishes.http_port} resolve;
        keepalive 32;
    }}

    server {{
        listen {NGINX_PORT};
        client_max_body_size {limit};
{media}
        location / {{
            proxy_pass http://web;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            # This connection's own, whatever the client says. Where the only way here leads over another proxy:
            # $proxy_add_x_forwarded_for and $http_x_forwarded_proto.
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            # Longer than a request may take{f" (harakiri = {service.harakiri_s})" if service.harakiri_s else ""}.
            proxy_read_timeout {wait}s;
        }}
    }}
}}
"""
