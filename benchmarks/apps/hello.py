"""The smallest app: what is measured is the server."""

HEADERS = [("Content-Type", "text/plain"), ("Content-Length", "13")]
BODY = [b"Hello, world\n"]


def application(environ, start_response):
    start_response("200 OK", HEADERS)
    return BODY
