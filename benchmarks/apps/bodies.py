"""One path for each kind of body, request or response, that a server can be good or bad at.

The paths and what they answer are named in benchmarks/cases.py, which checks them before it measures.
"""

import os
import time
from wsgiref.util import FileWrapper

PIECE = b"penstock-penstock-penstock-pens\n" * 128
"""4 KiB."""
BYTES_1M = PIECE * 256
FILE = os.environ.get("BENCHMARK_FILE", "")
"""A file of 10 MiB, made by benchmarks/prepare.py."""


def plain(size):
    return [("Content-Type", "text/plain"), ("Content-Length", str(size))]


HELLO = b"Hello, world\n"
HELLO_HEADERS = plain(len(HELLO))
BYTES_HEADERS = plain(len(BYTES_1M))
PIECES_HEADERS = plain(16 * len(PIECE))


def hello(environ, start_response):
    start_response("200 OK", HELLO_HEADERS)
    return [HELLO]


def post(environ, start_response):
    size = len(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    body = b"%d\n" % size
    start_response("200 OK", plain(len(body)))
    return [body]


def bytes_1m(environ, start_response):
    start_response("200 OK", BYTES_HEADERS)
    return [BYTES_1M]


def pieces(environ, start_response):
    start_response("200 OK", PIECES_HEADERS)
    return (PIECE for _ in range(16))


def streams(environ, start_response):
    """Two pieces with a pause between them: whoever reads sees whether the first leaves before the second exists."""
    start_response("200 OK", plain(2 * len(PIECE)))

    def answer():
        yield PIECE
        time.sleep(0.3)
        yield PIECE

    return answer()


def file(environ, start_response):
    start_response("200 OK", plain(os.path.getsize(FILE)))
    # The server closes what it is given, as PEP 3333 says; the fallback is that of PEP 3333 too.
    return environ.get("wsgi.file_wrapper", FileWrapper)(open(FILE, "rb"), 65536)


def sleep_10ms(environ, start_response):
    time.sleep(0.01)
    return hello(environ, start_response)


def sleep_200ms(environ, start_response):
    time.sleep(0.2)
    return hello(environ, start_response)


PATHS = {
    "/hello": hello,
    "/post": post,
    "/bytes-1m": bytes_1m,
    "/pieces": pieces,
    "/streams": streams,
    "/file": file,
    "/sleep-10ms": sleep_10ms,
    "/sleep-200ms": sleep_200ms,
}


def application(environ, start_response):
    return PATHS[environ["PATH_INFO"]](environ, start_response)
