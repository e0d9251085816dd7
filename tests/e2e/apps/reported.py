"""An app whose exceptions go to Sentry: set up at its import, in the process that the workers are forked from."""

from __future__ import annotations

import os

import sentry_sdk
from sentry_sdk.integrations.wsgi import SentryWsgiMiddleware

sentry_sdk.init(dsn=os.environ["SINK"], default_integrations=False, traces_sample_rate=1.0)


def answer(environ, start_response):
    if environ["QUERY_STRING"]:
        with open(environ["QUERY_STRING"], "rb") as gate:
            gate.read(1)
    sentry_sdk.set_tag("pid", str(os.getpid()))
    if environ["PATH_INFO"] == "/raise":
        raise ValueError("a reason")
    body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


application = SentryWsgiMiddleware(answer)
