"""`penstock releases [NAME]`: list what was deployed, the newest first, and which of it serves."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from penstock.commands.deploying import OK, REFUSED, read_words, say, tell
from penstock.commands.terminal import plain, style
from penstock.commands.undeploy import the_deployment
from penstock.deploy import releases
from penstock.deploy.artifact import ArtifactError, Tree
from penstock.deploy.layout import Layout
from penstock.values import asdict

SUMMARY = "list the releases of a deployment, and which one serves"
USAGE = "[NAME] [--json] [--root DIR]"
TEXT = """\
usage: penstock releases [NAME] [--json]

Lists the releases that are kept, the newest first; * marks the one that serves. NAME may be left out where there is one
deployment only. `penstock rollback NAME` goes back to the one before, `penstock rollback NAME RELEASE` to another.

  --json       for programs
  --root DIR   in a folder that was rendered with penstock deploy --root
"""


def run(arguments: Sequence[str]) -> int:
    """List them."""
    if {"--help", "-h"} & set(arguments):
        sys.stdout.write(TEXT)
        return OK
    try:
        names, flags, root = read_words(arguments, ("--json",), "releases")
        tree = Tree(root)
        layout = Layout(the_deployment(tree, names, "releases"))
        found = releases.listing(tree, layout)
    except (ArtifactError, ValueError) as error:
        say(str(error))
        return REFUSED
    serving = releases.current(tree, layout)
    if "--json" in flags:
        documents = [asdict(each) | {"serves": each.stamp == serving} for each in found]
        tell(json.dumps({"name": layout.name, "releases": documents}))
        return OK
    marks = style()
    for each in found:
        mark, kind = ("*", "good") if each.stamp == serving else (" ", "dim" if each.failed else "")
        told = [each.revision, f"from {each.source}", each.failed]
        line = f"{mark} {each.stamp}  {plain('  '.join(text for text in told if text))}"
        tell(marks.mark(kind, line) if kind else line)
    if not found:
        tell("there are none")
    return OK
