"""What is run instead of serving (`pyrun`, `test`): this process becomes the applications' interpreter.

There is nothing to supervise, so there is no master: the script has the terminal, the signals and the exit status of
the command that was typed. What the instance would be (user, groups, limits, umask) it is, too.
"""

from __future__ import annotations

import json
import os
import sys

from penstock.master import limits, privileges
from penstock.master.errors import StartError
from penstock.master.generation_link import memory_file, start_document
from penstock.master.processes import BOOT, CHANNEL_FD
from penstock.plan.python import not_started
from penstock.plan.types import Plan, to_json_value
from penstock.server_log import LOG

SCRIPT_WORD = "script"
"""Tells `worker/boot.py` that descriptor CHANNEL_FD is no channel but what is to be run."""


def become(plan: Plan) -> int:
    """Run what the plan names in place of this process; return an exit status only if it can not be run."""
    for note in plan.notes:
        LOG.write(f"[penstock] {note}")
    try:
        identity = privileges.resolve(plan.uid, plan.gid, plan.groups.more, plan.groups.takes_users)
        for line in limits.apply(plan.limits):
            LOG.write(line)
        if plan.umask is not None:
            os.umask(plan.umask)
        privileges.drop(identity)
        document = {**start_document(plan, (), False), "script": to_json_value(plan.script)}
        fd = memory_file("penstock-script", json.dumps(document).encode("ascii"))
        words = [plan.app.interpreter, *plan.app.python.flags, str(BOOT), SCRIPT_WORD]
        if fd == CHANNEL_FD:
            os.set_inheritable(fd, True)
        else:
            os.dup2(fd, CHANNEL_FD)
        sys.stdout.flush()
        os.execv(words[0], words)
    except StartError as error:
        LOG.write(str(error))
        return error.status
    except OSError as error:
        LOG.write(not_started(plan.app.interpreter, error))
        return 1
