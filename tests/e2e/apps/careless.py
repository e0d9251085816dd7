"""Starts a thread and opens a connection at its import, which no worker can use."""

from __future__ import annotations

import os
import random
import socket
import threading

import uwsgidecorators

random.seed(1)
forked: list[int] = []
kept = socket.create_connection(("127.0.0.1", int(os.environ["ELSEWHERE"])))


def poll():
    threading.Event().wait()


threading.Thread(target=poll, name="poller", daemon=True).start()


@uwsgidecorators.postfork
def after_fork():
    forked.append(os.getpid())


def application(environ, start_response):
    if environ["QUERY_STRING"]:
        with open(environ["QUERY_STRING"], "rb") as gate:
            gate.read(1)
    body = f"{os.getpid()} {forked[0]} {random.random()}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
