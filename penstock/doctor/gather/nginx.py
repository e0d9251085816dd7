"""nginx: its files as it reads them, who it runs as, whether it runs, what its log says of our sockets.

Files are read by `penstock.deploy.nginx.reading`, which takes crossplane: without it nothing is looked at, and that is
said. What concerns this configuration is found by the addresses that nginx passes to.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
from collections.abc import Iterable, Iterator, Mapping

from penstock.deploy.nginx import installed, running
from penstock.deploy.nginx.reading import Configuration, Directive, read
from penstock.deploy.nginx.servers import Passing, Server, passings, server_of, user
from penstock.doctor.diagnosis import Blind
from penstock.doctor.facts import NginxFacts, Response, Route, StaticFact, Unread
from penstock.doctor.gather import client
from penstock.doctor.gather.instance import open_files
from penstock.doctor.gather.sockets import owned_by
from penstock.plan.access import Person, first_closed
from penstock.plan.addresses import Address
from penstock.plan.machine import Machine
from penstock.values import dataclass

WHAT = "nginx"
UPLOADS = "MEDIA_ROOT"
_LOG_BYTES = 256 * 1024
_MOST_LINES = 5
_MOST_FILES = 2000


def look(environ: Mapping[str, str], main_file: str, root: str, euid: int, blind: list[Blind]) -> NginxFacts | None:
    """Read nginx's files; None where there is no nginx. `main_file` is empty for that of the program."""
    found = installed.look(environ, main_file=main_file)
    path = main_file or (found.main_file if found is not None else "/etc/nginx/nginx.conf")
    here = "" if root == "/" else root
    if not os.path.isfile(here + path):
        if found is not None or main_file:
            blind.append(Blind(WHAT, f"there is no {here}{path}"))
        else:
            blind.append(Blind(WHAT, "it is not installed here"))
        return None
    try:
        configuration = read(path, here)
    except ImportError:
        blind.append(Blind(WHAT, "its files are read with crossplane: pip install crossplane"))
        return None
    name = user(configuration, found.user if found is not None else "nobody")
    said = configuration.main.first("user")
    master: int | None = None
    broken = ""
    if found is not None and not here:
        runs = running.Running(found, configuration)
        master = runs.master()
        if euid == 0:
            broken = runs.test() or ""
        else:
            blind.append(Blind("whether nginx takes its files", "only root can have it try them (nginx -t)"))
    return NginxFacts(
        configuration=configuration,
        version=found.version_text if found is not None else "",
        main_file=path,
        user=name,
        group=_group(name, said),
        user_place=str(said.origin) if said is not None else path,
        pid=master or 0,
        broken=broken,
        error_log=_error_log(configuration, found.prefix if found is not None else "/"),
        open_files=open_files(master) if master else 0,
        lines=_source(configuration, here),
    )


def _source(configuration: Configuration, root: str) -> dict[str, str]:
    found = {}
    for path in configuration.files:
        try:
            with open(root + path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.read(_LOG_BYTES).split("\n")
        except OSError:
            continue
        found.update({f"{path}:{number}": line for number, line in enumerate(lines, 1)})
    return found


def _group(name: str, said: Directive | None) -> str:
    """The group of nginx's workers: named in `user`, else the user's own."""
    if said is not None and len(said.args) > 1:
        return said.args[1]
    try:
        return grp.getgrgid(pwd.getpwnam(name).pw_gid).gr_name
    except KeyError:
        return name


def person(facts: NginxFacts, machine: Machine) -> Person | None:
    """Whom nginx's workers are, for judging what they may use; None if there is no such user here."""
    uid = machine.user_id(facts.user)
    if uid is None:
        return None
    groups = set(machine.groups(uid))
    named = machine.group_id(facts.group)
    return Person(uid, frozenset(groups | ({named} if named is not None else set())))


def _error_log(configuration: Configuration, prefix: str) -> str:
    """The error log that counts for most: that of the http block, else of the whole."""
    places = [*configuration.main.every("http"), configuration.main]
    for block in places:
        said = block.first("error_log")
        if said is not None and not said.text.startswith(("stderr", "syslog:", "memory:")):
            return os.path.join(prefix, said.text)
    return ""


# -- what concerns us --------------------------------------------------------------------------------------------------


def mine(configuration: Configuration, addresses: Iterable[Address]) -> list[Passing]:
    """The places that pass requests to one of these addresses."""
    wanted = list(addresses)
    return [one for one in passings(configuration) if any(one.to.reaches(address) for address in wanted)]


def unread(configuration: Configuration, root: str, addresses: Iterable[str]) -> tuple[Unread, ...]:
    """Files of sites that name one of our addresses, and that nginx does not read."""
    here = "" if root == "/" else root
    directory = os.path.dirname(configuration.path)
    known = {os.path.realpath(here + path) for path in configuration.files}
    found = []
    for path in sorted(glob.glob(f"{here}{directory}/sites-available/*") + glob.glob(f"{here}{directory}/conf.d/*")):
        if not os.path.isfile(path) or os.path.realpath(path) in known:
            continue
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                lines = file.read(_LOG_BYTES).splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, 1):
            if any(address in line for address in addresses) and not line.lstrip().startswith("#"):
                found.append(Unread(path, number, line.strip()))
                break
    return tuple(found)


def log_lines(path: str, targets: Iterable[str]) -> tuple[str, ...]:
    """The last lines of the error log about our addresses."""
    wanted = [f"unix:{target}" if target.startswith("/") else target for target in targets]
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ()
    return tuple([line for line in lines if any(each in line for each in wanted)][-_MOST_LINES:])


def sees(master: int, path: str) -> bool | None:
    """Whether nginx sees the same file at a path as we do: it may have a /tmp of its own. None if nobody can look."""
    try:
        there = os.stat(f"/proc/{master}/root{path}")
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        here = os.stat(path)
    except OSError:
        return None
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


# -- the chain ---------------------------------------------------------------------------------------------------------


def routes(found: Iterable[Passing], reached: Iterator[int]) -> tuple[Route, ...]:
    """Ask each server that passes to us, through nginx, and the socket behind it. `reached` counts requests so far."""
    made: dict[str, Route] = {}
    for passing in sorted(found, key=lambda one: len(_path(one))):
        server = server_of(passing)
        if server is None or str(server.scope.here.origin) in made:
            continue
        made[str(server.scope.here.origin)] = _route(passing, server, reached)
    return tuple(made.values())


def _route(passing: Passing, server: Server, reached: Iterator[int]) -> Route:
    listen = next((each for each in server.listens if each.port and not each.is_tls), None) or server.listens[0]
    name = next((each for each in server.names if _is_plain(each)), "localhost")
    path = _path(passing) or "/"
    usual = 443 if listen.is_tls else 80
    host = name if listen.port == usual else f"{name}:{listen.port}"
    address = f"{'127.0.0.1' if listen.host in ('*', '[::]') else listen.host}:{listen.port}"
    if listen.host.startswith("unix:"):
        address = listen.host.removeprefix("unix:")
    headers = {"Host": host}
    before = next(reached)
    via = client.http(address, path, headers, is_tls=listen.is_tls, name=name)
    after = next(reached)
    if listen.is_tls:
        headers["X-Forwarded-Proto"] = "https"
    direct = (
        client.uwsgi(passing.to.target, path, headers, is_https=listen.is_tls)
        if passing.to.protocol == "uwsgi"
        else client.http(passing.to.target, path, headers)
    )
    return Route(
        url=f"{'https' if listen.is_tls else 'http'}://{host}{path}",
        name=name,
        address=address,
        port=listen.port,
        place=str(server.scope.here.origin),
        passing=passing,
        via=via,
        direct=direct,
        was_reached=None if before < 0 or after < 0 else after > before,
    )


def _is_plain(name: str) -> bool:
    return bool(name) and name != "_" and not name.startswith(("~", ".", "*")) and not name.endswith("*")


def _path(passing: Passing) -> str:
    """A path that comes to this place: the beginning of its location."""
    args = passing.scope.here.args if passing.scope.here.name == "location" else ("/",)
    if args[0] in ("~", "~*", "@") or args[0].startswith(("~", "@")):
        return "/"
    text = args[-1]
    return text if text.startswith("/") else "/"


# -- files -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Folder:
    """URLs that are files of a directory."""

    url: str
    path: str
    what: str
    """`STATIC_ROOT`, or whatever says so."""


def statics(server: Server, folders: Iterable[Folder], nginx: Person | None, ask: bool) -> Iterator[StaticFact]:
    """Look at one file of each folder, where nginx would look for it, and ask nginx for it."""
    for folder in folders:
        name = sample(folder.path)
        if name is None and (folder.what == UPLOADS or os.path.isdir(folder.path)):
            # Nothing to miss: Django makes the directory of uploads with the first one.
            continue
        name = name or ""
        path = folder.url.rstrip("/") + "/" + name
        location = server.location_for(path)
        looked = location.file(path) if location is not None else None
        if location is not None and any(True for _ in location.scope.here.every("proxy_pass", "uwsgi_pass")):
            looked = None
        listen = next((each for each in server.listens if each.port and not each.is_tls), None)
        host = next((each for each in server.names if _is_plain(each)), "localhost")
        response = Response(error="nobody asked", is_connected=False)
        if ask and listen is not None:
            address = f"{'127.0.0.1' if listen.host in ('*', '[::]') else listen.host}:{listen.port}"
            response = client.http(address, path, {"Host": host})
        closed = None
        if looked is not None and nginx is not None and os.path.exists(looked):
            way = first_closed(os.path.dirname(looked), nginx)
            closed = owned_by(way) if way is not None else None
            if closed is None and not nginx.may_read(looked):
                closed = owned_by(looked)
        yield StaticFact(
            url=path,
            what=folder.what,
            file=os.path.join(folder.path, name) if name else "",
            looked=looked or "",
            place=str((location.scope.here if location is not None else server.scope.here).origin),
            exists=looked is not None and os.path.isfile(looked),
            closed=closed,
            response=response,
        )


def sample(folder: str) -> str | None:
    """Some file of a directory, as a relative path; style sheets first, which people miss first."""
    count = 0
    other: str | None = None
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            count += 1
            path = os.path.relpath(os.path.join(place, name), folder)
            if name.endswith(".css"):
                return path
            other = other or path
        if count > _MOST_FILES:
            break
    return other
