"""`cases`, with a mark for each request that bears one (X-Mark), when the app begins with it and when it has done it.

The marks go into one file that all processes append to (`MARKS`): lines `begin MARK PID` and `end MARK PID`.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(__file__))

import cases

MARKS = os.open(os.environ["MARKS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)


def application(environ, start_response):
    mark = environ.get("HTTP_X_MARK", "-")
    os.write(MARKS, f"begin {mark} {os.getpid()}\n".encode())
    answer = list(cases.application(environ, start_response))
    os.write(MARKS, f"end {mark} {os.getpid()}\n".encode())
    return answer
