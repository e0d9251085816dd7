"""`penstock undeploy [NAME]`: take a deployment away again, all but the data that people put into it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.commands.deploying import FAILED, OK, REFUSED, Progress, read_words, say, tell, tell_failure
from penstock.commands.terminal import style
from penstock.deploy import memory, services
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.layout import Layout
from penstock.deploy.running import Machine, Recorder, Runner
from penstock.deploy.steps import Failed, carry_out, show
from penstock.deploy.undeploy import Removal

SUMMARY = "take a deployment away again: files, user, service; data stays unless --data"
USAGE = "[NAME] [--data] [--plan] [--root DIR]"
TEXT = """\
usage: penstock undeploy [NAME]

Takes away what `penstock deploy` made: the site of nginx, the service, releases, environments, the user; files that
were there before come back as they were. NAME may be left out where there is one deployment only.

  --data       also remove uploads, databases that are files, and variables in /srv/NAME/shared
  --plan       show what would be done, do nothing
  --root DIR   in a folder that was rendered with penstock deploy --root

A file that somebody has changed since is left and named. Databases on servers are never touched, nor are packages.
Ends with 0 when all is gone, 1 when nothing was begun or something had to stay, 3 when a step failed.
"""


def run(arguments: Sequence[str]) -> int:
    """Do it, or show it."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return OK
    try:
        names, flags, root = read_words(arguments, ("--data", "--plan"), "undeploy")
        tree = Tree(root)
        layout = Layout(the_deployment(tree, names, "undeploy"))
        if tree.is_machine and os.geteuid() != 0:
            say("only root can take it away: use sudo")
            return REFUSED
        if "--plan" in flags:
            return _do(tree, layout, flags)
        with memory.locked(tree, layout):
            return _do(tree, layout, flags)
    except (ArtifactError, memory.Busy, ValueError) as error:
        say(str(error))
        return REFUSED


def the_deployment(tree: Tree, names: Sequence[str], command: str) -> str:
    """Find which deployment is meant.

    Raises:
        ValueError: none is, or it is not there.
    """
    known = memory.known(tree)
    if len(names) > 1:
        raise ValueError(f"one deployment at a time: penstock {command} NAME")
    if names:
        if names[0] not in known:
            there = f"there are: {', '.join(known)}" if known else "there are none"
            raise ValueError(f"there is no deployment {names[0]}; {there}")
        return names[0]
    if len(known) != 1:
        which = f"name one of: {', '.join(known)}" if known else "there is none"
        raise ValueError(f"penstock {command} NAME; {which}")
    return known[0]


def _do(tree: Tree, layout: Layout, flags: set[str]) -> int:
    is_plan = "--plan" in flags
    progress = Progress(style(), is_plan=is_plan)
    runner: Runner = Machine(progress.heard) if tree.is_machine and not is_plan else Recorder()
    found = memory.recall(tree, layout)
    kind = found.services if found is not None and found.services else services.detect()
    manager = services.make(kind, (sys.executable, "-m", "penstock"))
    removal = Removal(tree, layout, manager, os.environ, with_data="--data" in flags)
    if is_plan:
        count = show(removal.steps(), progress)
        tell(f"{count} thing{'' if count == 1 else 's'} would be done; nothing was changed")
        return OK
    result = carry_out(removal.steps(), removal.manifest, runner, progress)
    if result.error is None:
        try:
            removal.finish()
        except (ArtifactError, Failed) as error:
            say(str(error))
            return FAILED
    if result.error is not None:
        again = f"to go on: mend it, then penstock undeploy {layout.name} once more: what is gone stays gone"
        tell_failure(result, [again], progress.style)
        return FAILED
    for remark in removal.remarks:
        say(remark)
    if removal.remarks:
        return REFUSED
    kept = [path for path in removal.manifest.entries if path == layout.shared]
    tell("")
    tell(f"{layout.name} is gone" + (f", all but its data in {layout.shared}" if kept else ": nothing of it is left"))
    return OK
