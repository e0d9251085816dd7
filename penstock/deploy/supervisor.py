"""A program of supervisord: the section that goes into its configuration. Pure."""

from __future__ import annotations

from penstock.deploy import service as about
from penstock.deploy import shell
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import NotPossible, Service

FILES = ("/etc/supervisor/conf.d/{}.conf", "/etc/supervisord.d/{}.ini")
"""Where Debian's supervisor looks, and RHEL's."""


def program(service: Service, is_rhel: bool = False) -> Artifact:
    """Write the section.

    Raises:
        NotPossible: there is none that would work.
    """
    shell.refuse_daemonize(service, "supervisord")
    plan = service.plan
    made = shell.directories(service)
    # Not all at once: a limit that is not granted is no reason not to start.
    parts = [f"{shell.raise_limit(str(about.open_files(plan)))} || true"]
    parts += [shell.make_directories(service, made)] if made else []
    parts.append(f"exec {shell.line(shell.words(service))}")
    command = shell.line(["/bin/sh", "-c", " && ".join(parts)]).replace("%", "%%")
    if ";" in command:
        # It would begin a comment there, quoted or not.
        raise NotPossible("a path with a semicolon can not stand in supervisord's configuration", "rename it")
    lines = [
        f"; Made by: {about.printable(service.origin or 'penstock supervisor')}",
        f"; New code: supervisorctl signal HUP {service.name}; a restart stops first.",
        f"[program:{service.name}]",
        f"command={command}",
        f"directory={service.folder.replace('%', '%%')}",
        f"autorestart={'true' if plan.exit_on_reload else 'unexpected'}",
        "exitcodes=0",
        "startsecs=5",
        "startretries=10",
        f"stopsignal={'TERM' if plan.term == 'stop' else 'INT'}",
        f"; Requests have {plan.drain_timeout_s:g} s to end. The master ends its workers itself.",
        f"stopwaitsecs={about.stop_s(plan)}",
        "stopasgroup=false",
        "killasgroup=true",
        "redirect_stderr=true",
    ]
    path = FILES[is_rhel].format(service.name)
    return Artifact(path, "\n".join(lines) + "\n", why="has supervisord start and watch the instance")
