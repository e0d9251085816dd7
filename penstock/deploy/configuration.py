"""The configuration of a release: what `penstock init` writes for the project, at the places of the deployment.

It stands in the folder of the release and names that folder's own paths, so that going back to a release goes back to
its configuration too, and code that is loaded late comes from the release that asked for it.
"""

from __future__ import annotations

from penstock.config.surroundings import usable_cpus
from penstock.deploy import production
from penstock.deploy.deployment import Deployment
from penstock.deploy.steps import Failed
from penstock.project.initial import NotWritable, Place, initial, size
from penstock.values import replace

SECRET_LINES = r"env = (?!DJANGO_SETTINGS_MODULE=)[^=]+="
"""Lines of it whose rest is shown to nobody: variables that somebody wrote down, passwords among them."""


def configuration_text(deployment: Deployment) -> str:
    """Write it.

    Raises:
        Failed: a path of the project can not stand in a configuration.
    """
    d = deployment
    facts = d.served_facts
    if facts is not None and facts.uses_staticfiles and facts.static_root.startswith(d.layout.current):
        facts = replace(facts, static_root=f"{d.release}/static")
    workers = size(usable_cpus(), d.free_bytes, facts.memory_bytes if facts is not None else 0)
    place = Place(
        file=f"{d.release}/penstock.ini",
        run_folder=d.layout.run,
        user=d.user,
        group=d.group,
        nginx_group=d.nginx_group,
    )
    try:
        text = initial(d.released_project(), facts, workers, place)
    except NotWritable as error:
        raise Failed(str(error)) from error
    more = []
    if d.settings_module == production.MODULE:
        more += ["", "# The settings of this server are beside the code; what the application starts finds them too."]
        more += [f"pythonpath = {d.release}/settings", f"env = PYTHONPATH={d.release}/settings"]
    variables = [
        (name, value)
        for name, value in d.release_variables.items()
        if name not in ("DJANGO_SETTINGS_MODULE", "PYTHONPATH")
    ]
    if variables:
        more += ["", f"# From {d.layout.environment_file}."]
        for name, value in sorted(variables):
            if not value.isprintable() or any(mark in value for mark in ("$(", "@(", " ;", " #")):
                # Its value is a secret, perhaps: not shown.
                raise Failed(
                    f"the value of {name} in {d.layout.environment_file} can not stand in a configuration",
                    cure="it may have none of $( @( and of ; # behind a space: choose another one",
                )
            more.append(f"env = {name}={value.replace('%', '%%')}")
    return text.rstrip("\n") + "\n" + "".join(f"{line}\n" for line in more)


_OF_THE_APPLICATION = frozenset(
    {
        "chdir",
        "home",
        "module",
        "env",
        "uid",
        "gid",
        "chown-socket",
        "pidfile",
        "pythonpath",
        "touch-reload",
        "static-map",
    }
)
"""What only the application has to know, and what is not there yet while a plan is only shown: folders and users."""


def listening_part(text: str) -> str:
    """Keep what those around it have to know: addresses, limits and times."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if line.partition("=")[0].strip() not in _OF_THE_APPLICATION]
    return "".join([*kept, "need-app = false\n"])
