"""The servers that are compared: how each is installed, and how it is started to be fair to it.

A command is made from a Launch, which says what is wanted and nothing of how; a server that can not do it raises CanNot
with the reason, which the report shows. No server logs requests unless the case is about that, because they differ in
what they write. Everybody gets the same number of processes and app threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks import nginx

Connections = Literal["kept", "any", "closed"]
"""Whether the case is about connections that stay open, does not say, or closes each after one request."""


class CanNot(Exception):
    """The server has no way to do what is wanted; the message says what it lacks."""


@dataclass(frozen=True)
class Launch:
    """What a server is asked to be."""

    commands: Path
    """Directory of the installed commands."""
    floor: Path
    """The compiled floor.c."""
    app: str
    """Module whose `application` is served."""
    folder: Path
    """Where the module is imported from."""
    work: Path
    """A directory of the server's own for what it has to write."""
    address: str
    """HOST:PORT, or the absolute path of a unix socket."""
    protocol: Literal["http", "uwsgi"] = "http"
    connections: Connections = "any"
    processes: int = 1
    threads: int = 1
    log: Path | None = None
    """File for a line for each request, None for no lines."""
    static: Path | None = None
    """Directory to serve as /static without the app."""

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> str:
        return self.address.rpartition(":")[2]

    @property
    def is_unix(self) -> bool:
        return self.address.startswith("/")

    def lacks(
        self,
        *,
        uwsgi: str = "",
        unix: str = "",
        processes: str = "",
        threads: str = "",
        log: str = "",
        static: str = "",
    ) -> None:
        """Raise CanNot with the reason given for whatever of these is wanted."""
        wanted = {
            uwsgi: self.protocol == "uwsgi",
            unix: self.is_unix,
            processes: self.processes > 1,
            threads: self.threads > 1,
            log: self.log is not None,
            static: self.static is not None,
        }
        for reason, is_wanted in wanted.items():
            if reason and is_wanted:
                raise CanNot(reason)


@dataclass(frozen=True)
class Server:
    """A server and how it is started."""

    name: str
    package: str
    """What pip installs; empty for what is built here or comes from Debian."""
    command: Callable[[Launch], list[str]]
    """Raises CanNot."""


NO_UWSGI = "does not speak the uwsgi protocol"
NO_STATIC = "serves no files without the app"
NO_LOG = "writes no request log"
ONE_THREAD = "has one thread for the app"


def _penstock(launch: Launch) -> list[str]:
    option = "--socket" if launch.protocol == "uwsgi" else "--http"
    return [
        f"{launch.commands}/penstock", option, launch.address, "--chdir", str(launch.folder), "--module", launch.app,
        "--processes", str(launch.processes), "--threads", str(launch.threads),
        *(["--logto", str(launch.log)] if launch.log else ["--disable-logging"]),
        *(["--static-map", f"/static={launch.static}"] if launch.static else []),
    ]  # fmt: skip


def _uwsgi(launch: Launch) -> list[str]:
    extra = []
    if launch.protocol == "uwsgi":
        option = "--socket"
    elif launch.connections == "kept":
        # Its http11-socket binds a worker to one connection; the router in front is how its users keep many open.
        option, extra = "--http", ["--http-keepalive=60"]
    else:
        # It closes after each answer without saying so, which clients take for an error.
        option, extra = "--http-socket", ["--add-header", "Connection: close"]
    return [
        f"{launch.commands}/uwsgi", option, launch.address, *extra, "--chdir", str(launch.folder),
        "--module", launch.app, "--master", "--need-app", "--listen", "1024",
        "--processes", str(launch.processes), *(["--threads", str(launch.threads)] if launch.threads > 1 else []),
        *(["--logto", str(launch.log)] if launch.log else ["--disable-logging"]),
        *(["--static-map", f"/static={launch.static}"] if launch.static else []),
    ]  # fmt: skip


def _gunicorn(launch: Launch) -> list[str]:
    launch.lacks(static=NO_STATIC)
    return [
        f"{launch.commands}/gunicorn", "--bind", f"unix:{launch.address}" if launch.is_unix else launch.address,
        "--chdir", str(launch.folder), "--workers", str(launch.processes), "--worker-class", "gthread",
        "--threads", str(launch.threads), "--keep-alive", "60", "--worker-connections", "10000",
        "--log-level", "warning", *(["--access-logfile", str(launch.log)] if launch.log else []),
        *(["--protocol", "uwsgi"] if launch.protocol == "uwsgi" else []), f"{launch.app}:application",
    ]  # fmt: skip


def _granian(launch: Launch) -> list[str]:
    launch.lacks(uwsgi=NO_UWSGI)
    place = ["--uds", launch.address] if launch.is_unix else ["--host", launch.host, "--port", launch.port]
    # Its request log goes to standard output only, which the harness keeps in a file.
    return [
        f"{launch.commands}/granian", "--interface", "wsgi", *place, "--workers", str(launch.processes),
        "--blocking-threads", str(launch.threads), "--working-dir", str(launch.folder), "--no-ws",
        *(["--access-log", "--log-level", "info"] if launch.log else ["--log-level", "error"]),
        *(["--static-path-route", "/static", "--static-path-mount", str(launch.static)] if launch.static else []),
        f"{launch.app}:application",
    ]  # fmt: skip


def _waitress(launch: Launch) -> list[str]:
    launch.lacks(uwsgi=NO_UWSGI, static=NO_STATIC, log=NO_LOG, processes="has one process")
    place = f"--unix-socket={launch.address}" if launch.is_unix else f"--listen={launch.address}"
    # It imports from the directory that it is started in, and PYTHONPATH is the harness's to set.
    return [
        f"{launch.commands}/waitress-serve", place, f"--threads={launch.threads}", "--connection-limit=10000",
        "--channel-timeout=60", f"{launch.app}:application",
    ]  # fmt: skip


def _socketify(launch: Launch) -> list[str]:
    launch.lacks(uwsgi=NO_UWSGI, static=NO_STATIC, log=NO_LOG, threads=ONE_THREAD)
    place = ["--uds", launch.address] if launch.is_unix else ["--host", launch.host, "--port", launch.port]
    return [
        f"{launch.commands}/python", "-m", "socketify", f"{launch.app}:application", "--interface", "wsgi", *place,
        "--workers", str(launch.processes), "--disable-listen-log", "True",
    ]  # fmt: skip


def _program(launch: Launch, text: str) -> list[str]:
    """A server that is started by a few lines of Python."""
    return [f"{launch.commands}/python", "-c", f"from {launch.app} import application\n{text}"]


def _bjoern(launch: Launch) -> list[str]:
    launch.lacks(uwsgi=NO_UWSGI, static=NO_STATIC, log=NO_LOG, threads=ONE_THREAD)
    place = f"'unix:{launch.address}'" if launch.is_unix else f"'{launch.host}', {launch.port}"
    # The first process only waits for the others, as a master does.
    text = f"""import bjoern, os
bjoern.listen(application, {place})
if {launch.processes} == 1 or 0 in (os.fork() for _ in range({launch.processes})):
    bjoern.run()
else:
    os.wait()
"""
    return _program(launch, text)


def _fastwsgi(launch: Launch) -> list[str]:
    launch.lacks(
        uwsgi=NO_UWSGI, static=NO_STATIC, log=NO_LOG, threads=ONE_THREAD, unix="does not listen on unix sockets"
    )
    return _program(
        launch,
        f"import fastwsgi; fastwsgi.run(wsgi_app=application, host='{launch.host}', port={launch.port}, loglevel=0,"
        f" workers={launch.processes})",
    )


def _nginx(launch: Launch) -> list[str]:
    configuration = launch.work / "nginx.conf"
    text = nginx.by_itself(launch.work, launch.address, static=launch.static, log=launch.log)
    configuration.write_text(text)
    return [nginx.program(), "-p", str(launch.work), "-c", str(configuration)]


def _floor(launch: Launch) -> list[str]:
    launch.lacks(log=NO_LOG, static=NO_STATIC)
    return [str(launch.floor), launch.port]


SERVERS = {
    server.name: server
    for server in (
        Server("penstock", "", _penstock),
        Server("fastwsgi", "fastwsgi", _fastwsgi),
        Server("bjoern", "bjoern", _bjoern),
        Server("granian", "granian", _granian),
        Server("socketify", "socketify", _socketify),
        Server("uwsgi", "uwsgi", _uwsgi),
        Server("gunicorn", "gunicorn", _gunicorn),
        Server("waitress", "waitress", _waitress),
        Server("nginx", "", _nginx),
        Server("floor", "", _floor),
    )
}
