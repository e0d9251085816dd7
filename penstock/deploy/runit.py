"""A service directory of runit: how the instance is run, stopped and logged. Pure."""

from __future__ import annotations

from penstock.deploy import service as about
from penstock.deploy import shell
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import Service

FOLDER = "/etc/sv"


def files(service: Service) -> tuple[Artifact, ...]:
    """Write `run`, `log/run`, and `control/t` where a stop is asked for by another signal than TERM.

    Raises:
        NotPossible: there is none that would work.
    """
    shell.refuse_daemonize(service, "runsv")
    plan = service.plan
    made = shell.directories(service)
    stop_s = about.stop_s(plan)
    run = [
        "#!/bin/sh",
        f"# Made by: {about.printable(service.origin or 'penstock runit')}",
        f"# New code: sv hup {service.name}; a stop: sv -w {stop_s} stop {service.name} (requests have"
        f" {plan.drain_timeout_s:g} s).",
        "exec 2>&1",
        *([shell.make_directories(service, made) + " || exit 1"] if made else []),
        "# shellcheck disable=SC3045",
        f"{shell.raise_limit(str(about.open_files(plan)))} || echo 'the limit of open files stays'",
        f"cd {shell.line([service.folder])} || exit 1",
        f"exec {shell.line(shell.words(service))}",
    ]
    logs = f"/var/log/{service.name}"
    log = ["#!/bin/sh", shell.line(["mkdir", "-p", logs]) + " || exit 1", shell.line(["exec", "svlogd", "-tt", logs])]
    folder = f"{FOLDER}/{service.name}"
    found = [
        Artifact(f"{folder}/run", "\n".join(run) + "\n", 0o755, why="runs the instance"),
        Artifact(f"{folder}/log/run", "\n".join(log) + "\n", 0o755, why="keeps what it says"),
    ]
    if plan.term == "reload":
        # TERM reloads there (die-on-term = false); runsv sends nothing if this succeeds.
        text = '#!/bin/sh\nkill -INT "$(cat supervise/pid)"\n'
        found.append(Artifact(f"{folder}/control/t", text, 0o755, why="asks for a stop"))
    return tuple(found)
