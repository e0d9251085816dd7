"""Names of configuration files that are no paths: `file://`, `exec://`, `fd://`, and `http://` where it is allowed.

uWSGI's other schemes (`data`, `sym`, `section`, `call`, `callint`, `emperor`) name pieces of its own binary or process
and have nothing that they could stand for here.
"""

from __future__ import annotations

import os
import select
import signal
import time

from penstock.config.files import LARGEST_BYTES, Refused, read_all

COMMAND_TIMEOUT_S = 30.0
URL_TIMEOUT_S = 10.0
LARGEST_URL_BYTES = 1024 * 1024
_OF_UWSGI = ("call", "callint", "data", "emperor", "section", "sym")


def read(name: str, cwd: str, *, runs_commands: bool, allow_urls: bool) -> bytes:
    """Read what a name with a scheme stands for. Raises OSError, ValueError or Refused."""
    scheme, _, rest = name.partition("://")
    if scheme == "file":
        with open(os.path.join(cwd, rest), "rb", buffering=0) as file:
            return read_all(file)
    if scheme == "fd":
        return _descriptor(rest)
    if scheme == "exec":
        if not runs_commands:
            raise Refused("command-not-run", f"the command of {name} is not run here", "start it to see what it says")
        return _command(rest, cwd)
    if scheme in ("http", "https"):
        if not allow_urls:
            cure = "allow it before it is named: --allow-config-urls, or PENSTOCK_ALLOW_CONFIG_URLS=true"
            raise Refused("url-refused", f"{name} is not fetched: configuration from the network is off", cure)
        return _url(name)
    if scheme in _OF_UWSGI:
        message = f"can not read {name}: {scheme}:// names a part of uWSGI itself"
        raise Refused("unsupported-scheme", message, "put the text into a file and name that")
    raise Refused("unsupported-scheme", f"can not read {name}: there is no scheme {scheme}://", "name a plain file")


def _descriptor(rest: str) -> bytes:
    if not rest.isascii() or not rest.isdigit() or len(rest) > 6:
        raise ValueError("fd:// needs the number of an open file")
    data = bytearray()
    while len(data) <= LARGEST_BYTES and (piece := os.read(int(rest), 65536)):
        data += piece
    return bytes(data)


def _command(command: str, cwd: str) -> bytes:
    """Run a command in the shell and take its output; its exit status does not count, as in uWSGI.

    Not through `subprocess`: the master may read its configuration again, and blocks signals that the command must get.
    """
    if "\0" in command or "\0" in cwd:
        raise ValueError("a command can not hold a zero byte")
    output, into = os.pipe()
    try:
        pid = os.posix_spawn(
            "/bin/sh",
            # The directory of the start may not be the process's own any more.
            ["sh", "-c", 'cd "$1" && exec /bin/sh -c "$2"', "sh", cwd, command],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, into, 1)],
            setpgroup=0,
            setsigmask=[],
            setsigdef=[signal.SIGPIPE, signal.SIGCHLD, signal.SIGINT, signal.SIGTERM],
        )
    except OSError:
        os.close(output)
        raise
    finally:
        os.close(into)
    try:
        return _until_end(output)
    finally:
        os.close(output)
        # The whole group, and also after the end: nothing that was started to read a configuration may live on.
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        os.waitpid(pid, 0)


def _until_end(output: int) -> bytes:
    deadline = time.monotonic() + COMMAND_TIMEOUT_S
    data = bytearray()
    poll = select.poll()
    poll.register(output, select.POLLIN)
    while len(data) <= LARGEST_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise ValueError(f"the command did not end within {COMMAND_TIMEOUT_S:g} seconds")
        piece = os.read(output, 65536)
        if not piece:
            break
        data += piece
    return bytes(data)


def _url(name: str) -> bytes:
    """Fetch a page, with limits on its size and on the time; nothing but http and https, redirects included."""
    from http.client import HTTPException
    from urllib import error, request

    opener = request.OpenerDirector()
    for handler in (
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
    ):
        opener.add_handler(handler)
    deadline = time.monotonic() + URL_TIMEOUT_S
    data = bytearray()
    try:
        with opener.open(name, timeout=URL_TIMEOUT_S) as response:
            while piece := response.read1(65536):
                data += piece
                if len(data) > LARGEST_URL_BYTES:
                    raise ValueError(f"it is larger than {LARGEST_URL_BYTES // 1024 // 1024} MiB")
                if time.monotonic() > deadline:
                    raise ValueError(f"it did not come within {URL_TIMEOUT_S:g} seconds")
    except error.HTTPError as problem:
        raise OSError(f"the server answered {problem.code}") from problem
    except error.URLError as problem:
        raise OSError(str(problem.reason)) from problem
    except (HTTPException, UnicodeError) as problem:
        raise OSError(f"this is no answer of a server: {problem}") from problem
    return bytes(data)
