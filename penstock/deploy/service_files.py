"""The files of the service manager for a deployment, by the generators of `penstock systemd` and its like.

They name the link `current` and nothing of a release, so that a new version leaves them as they are.
"""

from __future__ import annotations

import os

from penstock.deploy import logrotate, systemd, sysv
from penstock.deploy import service as about
from penstock.deploy.artifact import Artifact
from penstock.deploy.configuration import listening_part
from penstock.deploy.deployment import Deployment
from penstock.deploy.environment import base_python
from penstock.deploy.service import NotPossible, Service
from penstock.deploy.steps import Failed
from penstock.plan.types import Plan
from penstock.values import replace


def service_files(deployment: Deployment, configuration: str) -> tuple[list[Artifact], list[str]]:
    """Make them, and log rotation with them; and say what whoever asked should know.

    Raises:
        Failed: there are none that would work.
    """
    d = deployment
    service = service_of(d, configuration)
    handlers = d.served_facts.log_files if d.served_facts is not None else ()
    try:
        artifacts, remarks = _of_manager(d, service)
        if not d.without("logrotate"):
            unit = service.name if d.services.kind == "systemd" else ""
            made = logrotate.rotation(service, handlers, unit=unit)
            artifacts += [made.artifact] if made.artifact is not None else []
            remarks += map(str, made.remarks)
    except NotPossible as error:
        raise Failed(str(error)) from error
    return artifacts, remarks


def _of_manager(deployment: Deployment, service: Service) -> tuple[list[Artifact], list[str]]:
    """The files of the manager itself; none where there is no manager."""
    if deployment.services.kind == "systemd":
        made = systemd.units(service, deployment.systemd_version)
        return list(made.artifacts), [str(remark) for remark in made.remarks]
    if deployment.services.kind == "none":
        return [], []
    # The script says itself where the log goes.
    return [sysv.script(replace(service, plan=replace(service.plan, daemonize=None)))], []


def service_of(deployment: Deployment, configuration: str) -> Service:
    """The deployment as something that a service manager runs."""
    d, layout = deployment, deployment.layout
    facts = d.served_facts
    writes, after = about.of_django(facts) if facts is not None else ((), ())
    inside = d.project.folder.rstrip("/") + "/"
    # What lies in the project's folder is a link in the release, to where it is kept.
    kept = {os.path.join(inside, each.inside): each.target for each in d.kept_apart}
    writes = tuple(replace(each, path=kept.get(each.path, each.path)) for each in writes)
    return Service(
        name=layout.name,
        command=(*d.penstock, layout.configuration),
        folder=layout.home,
        plan=_as_served(d, d.plan(listening_part(configuration))),
        user=d.user,
        group=d.group,
        web_group=d.nginx_group,
        reads=(layout.home, os.path.realpath(d.penstock[0]), base_python()),
        writes=writes,
        after=after,
        origin=f"penstock deploy --name {layout.name}",
    )


def _as_served(deployment: Deployment, plan: Plan) -> Plan:
    """Put in what is not there yet while a plan is only shown: folders and users."""
    d = deployment
    owner = f"{d.user}:{d.nginx_group}" if d.nginx_group else None
    listeners = tuple(replace(each, owner=owner) if each.is_unix else each for each in plan.listeners)
    app = replace(plan.app, chdir=f"{d.layout.current}/code", interpreter=base_python())
    log = None if d.services.kind == "systemd" else d.layout.log
    return replace(plan, listeners=listeners, app=app, pidfile=d.layout.pidfile, daemonize=log, uid=d.user, gid=d.group)
