"""Tells what it was given: its environ as JSON, in a response with headers that rules may take away."""

import json


def application(environ, start_response):
    shown = {key: value for key, value in environ.items() if isinstance(value, str)}
    body = json.dumps(shown).encode()
    status = "503 Service Unavailable" if environ["PATH_INFO"] == "/unwell" else "200 OK"
    headers = [("Content-Type", "application/json"), ("X-App", "here"), ("X-Two", "1"), ("X-Two", "2")]
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]
