"""`penstock deploy [PROJECT]`: bring a project into production on this machine, step by step.

Each step does only what is not as it should be, so that the command is the same for the first time, for a new version,
and after a failure. `--plan` shows everything and does nothing; `--root DIR` renders into a folder.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.commands.deploying import FAILED, OK, REFUSED, Progress, say, tell, tell_failure
from penstock.commands.terminal import style
from penstock.deploy import memory
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.deployment import Deployment, Refused, Wish
from penstock.deploy.running import Machine, Recorder, Runner
from penstock.deploy.stages import steps_of
from penstock.deploy.steps import Failed, carry_out, show
from penstock.observe.room import free_bytes
from penstock.values import asdict

SUMMARY = "bring a project into production: user, packages, database, nginx, service, start; again for each new version"
USAGE = "[PROJECT] [--host NAME ...] [--plan] [--root DIR]"
TEXT = """\
usage: penstock deploy [PROJECT] [--host NAME ...]

  penstock deploy --plan                        show every file and command first, and change nothing
  penstock deploy /home/me/shop --host shop.example.org
  penstock deploy                               once more, for a new version: without losing a request
  penstock deploy --root DIR                    write all files into a folder, and list the commands

PROJECT is the folder of a Django project, or of another WSGI application; without it, this one or the one that was
deployed last under --name. What is not given stays as it was given the last time.

  --host NAME         a name that it is served under; several times for several (else ALLOWED_HOSTS, or the machine's)
  --port PORT         where nginx listens (80)
  --certificate FILE  TLS certificate, with
  --key FILE          its key
  --name NAME         of the user, the service and the folders (the project's)
  --user USER         run as a user that is there, instead of one made for it
  --home DIR          a virtual environment that is there, instead of one made for it
  --python FILE       the interpreter to make that with
  --health PATH       the page that has to answer at the end (/)
  --keep N            how many releases are kept (5)
  --services KIND     systemd, sysv or none (found out)
  --with-data         take a SQLite database and uploads along from PROJECT, while the deployment has none yet
  --without PART      leave a part alone: nginx, settings, boot, tune, logrotate
  --plan              show what would be done, do nothing
  --root DIR          write into DIR as if it were /, run nothing

Ends with 0 when a real request through nginx was answered, 1 when nothing was begun, 3 when a step failed; what served
before serves then. `penstock releases` lists what was deployed, `penstock rollback NAME` goes back, `penstock undeploy
NAME` takes everything away.
"""
_VALUES = {
    "--name": "name",
    "--port": "port",
    "--user": "user",
    "--home": "home",
    "--python": "python",
    "--health": "health",
    "--keep": "keep",
    "--certificate": "certificate",
    "--key": "key",
    "--services": "services",
}


def run(arguments: Sequence[str]) -> int:
    """Do it, or show it."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return OK
    try:
        wish, root, is_plan = parse(arguments)
        tree = Tree(root or "/")
        if root and not os.path.isdir(tree.root):
            os.makedirs(tree.root)
        progress = Progress(style(), is_plan=is_plan)
        runner: Runner = Recorder() if root or is_plan else Machine(progress.heard)
        free = free_bytes()
        size_bytes = free.size_bytes if free is not None else None
        deployment = Deployment(wish, tree, runner, os.environ, size_bytes)
        if is_plan:
            return _show(deployment, progress)
        with memory.locked(tree, deployment.layout):
            # Anew: another run may have ended between the look and the lock.
            return _carry_out(Deployment(wish, tree, runner, os.environ, size_bytes), progress)
    except (Refused, ArtifactError, memory.Busy) as error:
        say(str(error))
        return REFUSED
    except OSError as error:
        say(f"{error.filename or root}: {error.strerror}")
        return REFUSED


def parse(arguments: Sequence[str]) -> tuple[Wish, str, bool]:
    """Read the words of the command.

    Raises:
        Refused: one of them is wrong.
    """
    words, folders, said, hosts, without = list(arguments), [], {}, [], []
    root, is_plan, with_data = "", False, False
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if word == "--plan":
            is_plan = True
        elif word == "--with-data":
            with_data = True
        elif name in _VALUES or name in ("--host", "--without", "--root"):
            if not equals:
                if not words:
                    raise Refused(f"{name} needs a value; penstock deploy --help tells which")
                value = words.pop(0)
            if name == "--root" and not value:
                raise Refused(f"{name} needs a directory; penstock deploy --help tells which")
            if name == "--host":
                hosts += [each for each in value.replace(",", " ").lower().split() if each]
            elif name == "--without":
                without += value.replace(",", " ").split()
            elif name == "--root":
                root = value
            else:
                said[_VALUES[name]] = value
        elif word.startswith("-"):
            raise Refused(f"there is no option {name}; penstock deploy --help lists them")
        else:
            folders.append(word)
    if len(folders) > 1:
        raise Refused(f"one project at a time; {len(folders)} folders were named: {', '.join(folders)}")
    port, keep = (_number(f"--{name}", said.pop(name, ""), most) for name, most in (("port", 65535), ("keep", 1000)))
    for name in ("certificate", "key", "home", "python"):
        if said.get(name):
            said[name] = os.path.abspath(said[name])
    if said.get("health") and not said["health"].startswith("/"):
        raise Refused(f"--health {said['health']} is no path: it begins with /")
    folder = os.path.abspath(folders[0]) if folders else ""
    wish = Wish(
        folder=folder, hosts=tuple(hosts), without=tuple(without), port=port, keep=keep, with_data=with_data, **said
    )
    return wish, root, is_plan


def _number(name: str, text: str, most: int) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and 0 < int(text) <= most):
        raise Refused(f"{name} {text} is no number from 1 to {most}")
    return int(text)


def _show(deployment: Deployment, progress: Progress) -> int:
    try:
        count = show(steps_of(deployment), progress)
    except Failed as failed:
        say(f"the plan can not be made: {failed.reason}\n{failed.output}".rstrip())
        if failed.cure:
            say(f"fix: {failed.cure}")
        return REFUSED
    tell("")
    tell(
        _counted(count, "would be done; nothing was changed")
        if count
        else "nothing would be done: all is as it should be"
    )
    return OK


def _carry_out(deployment: Deployment, progress: Progress) -> int:
    d = deployment
    d.note(
        project=d.project.folder,
        wish={name: value for name, value in asdict(d.wish).items() if name not in ("folder", "with_data")},
    )
    result = carry_out(steps_of(d), d.manifest, d.runner, progress)
    if result.error is not None:
        d.note(failed=result.failed)
        again = f"penstock deploy{'' if d.tree.is_machine else f' --root {d.tree.root}'} --name {d.layout.name}"
        tell_failure(
            result,
            [
                f"to go on: mend it, then {again}: what is done is not done again",
                f"to take everything away: penstock undeploy {d.layout.name}",
            ],
            progress.style,
        )
        return FAILED
    d.note(failed="", hosts=list(d.hosts))
    tell("")
    if isinstance(d.runner, Recorder):
        _tell_recorded(d, d.runner)
        return OK
    tell(_counted(result.changes, "done") if result.changes else "nothing to do: all was as it should be")
    scheme = "https" if d.wish.certificate else "http"
    port = "" if d.wish.certificate or d.wish.port == 80 else f":{d.wish.port}"
    where = f" at {scheme}://{d.hosts[0]}{port}/" if d.hosts and not d.without("nginx") else ""
    tell(progress.style.mark("good", f"release {d.stamp} of {d.layout.name} serves{where}"))
    if d.services.kind == "none":
        tell("nothing starts it when the machine starts: there is no service manager here")
    return OK


def _tell_recorded(deployment: Deployment, recorder: Recorder) -> None:
    tell(f"written into {deployment.tree.root}; what remains to be run where that is the root:")
    for command in recorder.commands:
        tell(f"  {command}")


def _counted(count: int, what: str) -> str:
    return f"{count} thing{'' if count == 1 else 's'} {what}"
