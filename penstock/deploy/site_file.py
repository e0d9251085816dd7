"""The nginx site of a deployment: where it goes and what is in it, by the generator of `penstock nginx`."""

from __future__ import annotations

import socket

from penstock.deploy.artifact import Artifact, Change, Manifest
from penstock.deploy.configuration import listening_part
from penstock.deploy.deployment import Deployment
from penstock.deploy.nginx.install import as_it_was
from penstock.deploy.nginx.installed import Nginx, NoPlace
from penstock.deploy.nginx.prepare import prepare
from penstock.deploy.nginx.reading import read
from penstock.deploy.nginx.running import NotReloaded, Running
from penstock.deploy.nginx.site import NoSite, Wish
from penstock.deploy.services import running_pid
from penstock.deploy.steps import Failed


def site_of(deployment: Deployment, configuration: str) -> tuple[list[Artifact], list[str]]:
    """Make the files of the site, and say what whoever asked should know.

    Raises:
        Failed: there can be no site.
    """
    d = deployment
    wish = Wish(
        name=d.layout.name, server_names=d.hosts, port=d.wish.port, certificate=d.wish.certificate, key=d.wish.key
    )
    try:
        made = prepare(
            d.plan(listening_part(configuration)),
            d.served_facts,
            wish,
            d.nginx_installed,
            d.nginx_files,
            name=d.layout.name,
            origin=d.layout.configuration,
            hostname=socket.gethostname(),
            root="" if d.tree.is_machine else d.tree.root,
        )
    except (NoSite, NoPlace) as error:
        raise Failed(str(error)) from error
    return list(made.artifacts), [str(note) for note in made.site.notes]


def reload_nginx(nginx: Nginx) -> None:
    """Have nginx read its files anew, and come back when it answers by them.

    Raises:
        Failed: it goes on with what it had.
    """
    try:
        Running(nginx, read(nginx.main_file)).reload()
    except NotReloaded as error:
        raise Failed(str(error), cure="mend what it says, then run this again") from error


def put_back(manifest: Manifest, change: Change) -> str:
    """Bring back what a file of the site was before; a sentence on it."""
    path, before = change.artifact.path, change.before
    if before is None:
        manifest.drop(path)
    else:
        manifest.put(as_it_was(path, before))
    return f"{path} is as it was"


def nginx_runs(pid_file: str) -> bool:
    """Whether nginx runs on this machine."""
    return running_pid(pid_file, b"nginx") > 0
