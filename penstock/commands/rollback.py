"""`penstock rollback PIDFILE | NAME`: let the code serve again that served before.

Of an instance (its pid file, or a configuration file): the generation before the last reload, while it stands by
(`reload-watch`) or a reload is still going on. Of a deployment (its name): the release before, for as long as that is
kept. What the argument is decides: a name has no slash, and no file is called that; a folder may be, as projects are
called like their deployments.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from penstock.commands.control import ask

SUMMARY = (
    "go back to the code before: of an instance while reload-watch keeps it, of a deployment to its release before"
)
USAGE = "PIDFILE | NAME [RELEASE]"
TEXT = """\
usage: penstock rollback PIDFILE
       penstock rollback NAME [RELEASE]

  penstock rollback /run/app.pid     the instance's generation before the last reload, while reload-watch keeps it
  penstock rollback shop             the release before the one that serves, of what penstock deploy made
  penstock rollback shop RELEASE     another one that penstock releases lists

Both return when the old code serves (0), or does not and what serves now goes on (3). The database is not changed.
"""


def run(arguments: Sequence[str]) -> int:
    """Find out which of the two is meant, and go back."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return 0
    if arguments and _is_name(arguments[0]):
        return _of_deployment(arguments[0], arguments[1:])
    return ask("rollback", arguments)


def _is_name(word: str) -> bool:
    if "/" in word or word.startswith("-") or os.path.isfile(word):
        return False
    # Imported late: an instance needs none of it.
    from penstock.deploy.artifact import Tree
    from penstock.deploy.memory import known

    return word in known(Tree())


def _of_deployment(name: str, wanted: Sequence[str]) -> int:
    from penstock.commands.deploying import FAILED, OK, REFUSED, Progress, say, tell, tell_failure
    from penstock.commands.terminal import style
    from penstock.deploy import memory, services
    from penstock.deploy.artifact import ArtifactError, Tree
    from penstock.deploy.going_back import GoingBack
    from penstock.deploy.layout import Layout
    from penstock.deploy.running import Machine
    from penstock.deploy.steps import Failed, carry_out

    if len(wanted) > 1 or any(word.startswith("-") for word in wanted):
        say(f"usage: penstock rollback {name} [RELEASE]")
        return REFUSED
    if os.geteuid() != 0:
        say("only root can change what serves: use sudo")
        return REFUSED
    tree, layout, progress = Tree(), Layout(name), Progress(style())
    runner = Machine(progress.heard)
    penstock = (sys.executable, "-m", "penstock")
    try:
        with memory.locked(tree, layout):
            found = memory.recall(tree, layout)
            kind = found.services if found is not None and found.services else services.detect()
            manager = services.make(kind, penstock)
            back = GoingBack(tree, layout, manager, runner, penstock, os.environ, next(iter(wanted), ""))
            result = carry_out(back.steps(), back.manifest, runner, progress)
    except (ArtifactError, memory.Busy) as error:
        say(str(error))
        return REFUSED
    except Failed as failed:
        say(failed.reason + (f"; {failed.cure}" if failed.cure else ""))
        return FAILED
    if result.error is not None:
        tell_failure(result, [], progress.style)
        return FAILED
    tell("")
    tell(progress.style.mark("good", f"release {back.release.stamp} of {name} serves"))
    return OK
