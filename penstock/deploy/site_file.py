"""The nginx site of a deployment: where it goes and what is in it, by the generator of `penstock nginx`."""

from __future__ import annotations

import socket

from penstock.deploy.artifact import Artifact, link
from penstock.deploy.configuration import listening_part
from penstock.deploy.deployment import Deployment
from penstock.deploy.nginx import site
from penstock.deploy.nginx.installed import NoPlace, Place, place_of
from penstock.deploy.nginx.text import render
from penstock.deploy.services import running_pid
from penstock.deploy.steps import Failed


def site_of(deployment: Deployment, configuration: str) -> tuple[list[Artifact], list[str]]:
    """Make the files of the site, and say what whoever asked should know.

    Raises:
        Failed: there can be no site.
    """
    d = deployment
    wish = site.Wish(
        name=d.layout.name, server_names=d.hosts, port=d.wish.port, certificate=d.wish.certificate, key=d.wish.key
    )
    try:
        made = site.make(
            d.plan(listening_part(configuration)),
            d.served_facts,
            wish,
            d.nginx_installed,
            name=d.layout.name,
            origin=d.layout.configuration,
            hostname=socket.gethostname(),
        )
        place = _place(d)
    except (site.NoSite, NoPlace) as error:
        raise Failed(str(error)) from error
    artifacts = [Artifact(place.file, render(made, d.nginx_installed), 0o644, why="the site")]
    if place.link is not None:
        artifacts.append(link(place.link, place.file, "nginx reads it"))
    return artifacts, [str(note) for note in made.notes]


def _place(deployment: Deployment) -> Place:
    files = deployment.nginx_files
    if files is None:
        # A folder without nginx's files: where every nginx that is built for a distribution looks.
        return Place(f"/etc/nginx/conf.d/{deployment.layout.name}.conf", None)
    return place_of(deployment.layout.name, files)


def nginx_runs(pid_file: str) -> bool:
    """Whether nginx runs on this machine."""
    return running_pid(pid_file, b"nginx") > 0
