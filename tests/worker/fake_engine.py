"""Stands in for `penstock._engine`: takes its orders over the control pair and never opens a socket of its own.

Beside the real orders it knows `call` (call the app, answer with the body) and `eval EXPRESSION` (answer with its value
as JSON), so that a test can look into a worker.
"""

import json
import os
import select
import sys
import threading

__version__ = "0"


class FileWrapper:
    """Stands for what the kernel sends."""


class Engine:
    """The boundary's Engine, as far as penstock.worker uses it."""

    def __init__(self, plan, app, mounts=(), failed=None, lookout=None):
        """Refuse what the test's plan marks as broken."""
        if plan.engine.server_name == "broken-engine":
            raise RuntimeError("the engine could not start")
        self.plan = plan
        self.app = app
        self.mounts = dict(mounts)
        self.over = threading.Event()
        self.reason = ""

    def forked(self, in_child):
        pass

    def run(self, thread):
        """Obey until told to leave."""
        if thread:
            self.over.wait()
            return self.reason
        while not self.reason:
            ready, _, _ = select.select([self.plan.control_fd, self.plan.lifeline_fd], [], [])
            if self.plan.lifeline_fd in ready:
                self.reason = "orphaned"
            else:
                self.obey(os.read(self.plan.control_fd, 65536).decode())
        self.over.set()
        return self.reason

    def obey(self, order):
        """Carry out one datagram."""
        word, _, rest = order.partition(" ")
        if word in ("drain", "retire", "stop"):
            self.reason = {"drain": "drained", "retire": "drained", "stop": "stopped"}[word]
        elif word == "":
            self.reason = "orphaned"
        elif word == "call":
            status = []
            environ = {"wsgi.errors": sys.stderr, "PATH_INFO": rest}
            body = b"".join(self.app(environ, lambda line, headers: status.append(line)))
            os.write(self.plan.control_fd, status[0].encode() + b"\n" + body)
        elif word == "eval":
            names = {"plan": self.plan, "app": self.app, "mounts": self.mounts, "os": os, "sys": sys}
            names["threading"] = threading
            os.write(self.plan.control_fd, json.dumps(eval(rest, names), default=repr).encode())
