"""`penstock nginx CONFIG`: the nginx site for a configuration, printed or installed, and what the main file lacks."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.commands import configuration
from penstock.commands.served import Asked, Wrong, folder_of, take
from penstock.commands.terminal import plain, style, width, wrap, write
from penstock.values import replace

if TYPE_CHECKING:
    from penstock.deploy.nginx.install import Outcome
    from penstock.deploy.nginx.installed import Nginx
    from penstock.deploy.nginx.prepare import Prepared
    from penstock.deploy.nginx.reading import Configuration
    from penstock.deploy.nginx.running import Running
    from penstock.deploy.nginx.site import Note, Site, Wish
    from penstock.plan.types import Plan
    from penstock.project.django_facts import DjangoFacts

SUMMARY = "write the nginx site for a configuration: print it, or install it and have nginx read it"
USAGE = (
    "[--install] [--uninstall] [--root DIR] [--json] [--server-name NAME] [--cert FILE --key FILE] [--uwsgi] "
    "[--hsts] [--no-tls] [--no-redirect] [--port PORT] [--tls-port PORT] [--body-size SIZE] [--protected-media] "
    "[--websocket PATH] [--status PORT] [--no-status] [--drop-unknown] [--behind ADDRESS] [--no-django] "
    "[--name NAME] [--nginx PROGRAM] [--nginx-conf FILE] OPTION ... | FILE"
)

TEXT = """\
usage: penstock nginx [FLAG ...] FILE | - | OPTION ...

  penstock nginx shop.ini                           print the site; notes go to standard error
  penstock nginx --install shop.ini                 write it, have nginx test it, and reload
  penstock nginx --uninstall shop.ini               take it away again
  penstock nginx --server-name shop.org shop.ini    for a name that ALLOWED_HOSTS does not say

The socket, its protocol and the time limits come from the configuration; names, static and media files from Django's
settings, for which the project's own interpreter is asked. Where nginx does not take the site, or another site would
lose something by it, nothing is changed, and it is said why. Exit status: 0, 1 if it is printed with warnings, 2 when
there is no site.

  --install           write the file, and its link, where this nginx reads sites, run nginx -t, and reload
  --uninstall         bring back what was there before
  --root DIR          write below DIR, as if it were /; nothing is tested or reloaded
  --json              print {"file", "link", "text", "notes", "advice"}

  --server-name NAME  a name that it answers for, instead of those of ALLOWED_HOSTS; may be repeated, or use commas
  --cert, --key FILE  speak TLS; without them what certbot has for the names is used
  --no-tls            speak plain HTTP even if certbot has a certificate
  --no-redirect       serve plain HTTP too, instead of leading it to HTTPS
  --hsts[=SECONDS]    tell browsers to come over HTTPS only, for a year if nothing else is said
  --port, --tls-port  where to listen, instead of 80 and 443
  --uwsgi             use the socket that speaks the uwsgi protocol, even if there is one for HTTP
  --body-size SIZE    largest upload: 20m; instead of limit-post, or what Django's settings need
  --protected-media[=PATH]
                      media files are sent only when the app says so, by X-Accel-Redirect with this path
                      (/protected-media/)
  --websocket PATH/   connections at this path become websockets (found by itself for Django with channels)
  --status PORT       where the status page is, on this machine alone: 8090; --no-status for none
  --behind ADDRESS    a balancer in front of nginx (10.0.0.0/8): it says who the client is, and whether over HTTPS
  --drop-unknown      drop requests for names that no site has
  --name NAME         what the site is called, instead of the project's name
  --no-django         do not ask Django's settings
  --nginx PROGRAM, --nginx-conf FILE
                      another nginx than the first in PATH, or another main file
"""

NO_SITE = 2
WARNED = 1
_FLAGS = (
    "--install", "--uninstall", "--json", "--uwsgi", "--no-redirect", "--no-status", "--no-tls", "--drop-unknown",
    "--no-django", "--help", "-h",
)  # fmt: skip
_VALUED = (
    "--root", "--server-name", "--cert", "--key", "--port", "--tls-port", "--body-size", "--websocket", "--status",
    "--name", "--nginx", "--nginx-conf", "--hsts", "--behind", "--protected-media",
)  # fmt: skip
_USUAL = {"--hsts": "--hsts=31536000", "--protected-media": "--protected-media=/protected-media/"}
"""What these mean without a value."""


def run(arguments: Sequence[str]) -> int:
    """Print or install the site, or take it away."""
    # Imported here, like all that only this command needs.
    from penstock.deploy.artifact import ArtifactError
    from penstock.deploy.nginx.install import NotInstalled
    from penstock.deploy.nginx.installed import NoPlace
    from penstock.deploy.nginx.site import NoSite

    try:
        asked = take([_USUAL.get(word, word) for word in arguments], _FLAGS, _VALUED)
        if asked.flags & {"--help", "-h"}:
            sys.stdout.write(TEXT)
            return 0
        return _run(asked, _wish(asked))
    except (Wrong, NoSite, NoPlace, NotInstalled, ArtifactError) as error:
        _tell("error", str(error))
        return NO_SITE


def _run(asked: Asked, wish: Wish) -> int:
    from penstock.deploy.nginx.prepare import prepare
    from penstock.deploy.nginx.reading import read

    plan, root = _plan(asked), _root(asked)
    nginx = _nginx(asked, root)
    files = read(nginx.main_file, root)
    if "--uninstall" in asked.flags:
        return _uninstall(_named(asked, plan), nginx, files, root)
    name, origin, facts, notes = _project(asked, plan)
    made = prepare(plan, facts, wish, nginx, files, name=name, origin=origin, hostname=socket.getfqdn(), root=root)
    notes += made.site.notes
    if "--install" in asked.flags:
        _install(made, nginx, files, root)
    elif "--json" in asked.flags:
        write([json.dumps(_as_json(made, notes), indent=2)])
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(made.text.encode("utf-8", "surrogateescape"))
    for note in notes:
        _tell(note.level, str(note))
    for each in made.advice:
        _tell("advice", f"{nginx.main_file}: {each}")
    # What is installed is served; who only looks learns that something is to be done.
    is_fine = "--install" in asked.flags or all(note.level != "warning" for note in notes)
    return 0 if is_fine else WARNED


def _plan(asked: Asked) -> Plan:
    from penstock.config.load import read
    from penstock.plan.machine import Machine
    from penstock.plan.resolve import attempt

    sources = configuration.sources(asked.words)
    if sources is None:
        raise Wrong("nothing names a configuration; write penstock nginx FILE, or options as for a start")
    # As a service that is made of it: relative paths count from its file.
    folder = folder_of(asked.words)
    settings = read(replace(sources, surroundings=replace(sources.surroundings, cwd=folder)))
    plan, findings = attempt(settings, replace(Machine.here(), cwd=folder))
    errors = [str(each) for each in dict.fromkeys((*settings.findings, *findings)) if each.level == "error"]
    if plan is None or errors:
        raise Wrong("\n".join(errors) or "there is no plan; penstock check says why")
    return plan


def _install(made: Prepared, nginx: Nginx, files: Configuration, root: str) -> None:
    from penstock.deploy.artifact import Manifest, Tree
    from penstock.deploy.nginx.install import install, manifest_name

    running = None if root else _running(nginx, files)
    if running is not None:
        _refuse_strangers(made.site)
        if not files.is_readable:
            told = "\n".join(map(str, files.problems))
            raise Wrong(f"nginx's configuration can not be read, so nothing was changed:\n{told}")
    outcome = install(made.artifacts, Manifest(Tree(root or "/"), manifest_name(made.site.name)), running)
    lines = [f"{', '.join(change.words)}: {change.artifact.path}" for change in outcome.changes]
    write(lines or [f"{made.place.file} is as it should be: nothing was changed"])
    _tell_reload(outcome)


def _refuse_strangers(site: Site) -> None:
    """Nothing but nginx may hold the ports."""
    from penstock.deploy.nginx.running import holder

    tls_port = site.tls_port if site.has_tls else None
    for port, flag in ((site.port, "--port"), (tls_port, "--tls-port"), (site.status_port, "--status")):
        if port is not None and (name := holder(port)) is not None:
            raise Wrong(f"{name} listens on port {port} already; stop it, or choose another: {flag} PORT")


def _uninstall(name: str, nginx: Nginx, files: Configuration, root: str) -> int:
    from penstock.deploy.artifact import Manifest, Tree
    from penstock.deploy.nginx.install import manifest_name, uninstall

    manifest = Manifest(Tree(root or "/"), manifest_name(name))
    if not manifest.entries:
        raise Wrong(f"no site {name} was installed by this command; --name says which one is meant")
    outcome = uninstall(manifest, None if root else _running(nginx, files))
    write(outcome.remarks)
    _tell_reload(outcome)
    return WARNED if manifest.entries else 0


def _running(nginx: Nginx, files: Configuration) -> Running:
    from penstock.deploy.nginx.running import Running

    if not nginx.program:
        raise Wrong("nginx is not installed; apt (or dnf) install nginx, or write for another machine with --root DIR")
    return Running(nginx, files)


def _tell_reload(outcome: Outcome) -> None:
    if outcome.reloaded:
        write(["nginx has read it"])
    elif outcome.reloaded is False:
        _tell("note", "nginx does not run: systemctl start nginx")


# -- what is asked for -------------------------------------------------------------------------------------------------


def _root(asked: Asked) -> str:
    said = asked.value("--root")
    folder = os.path.realpath(said)
    if said and not os.path.isdir(folder):
        raise Wrong(f"--root {said}: there is no such folder; make it (mkdir -p)")
    return "" if not said or folder == "/" else folder


def _nginx(asked: Asked, root: str) -> Nginx:
    from penstock.deploy.nginx.installed import ASSUMED, look

    main_file = asked.value("--nginx-conf")
    if main_file and not root:
        main_file = os.path.abspath(main_file)
    program = asked.value("--nginx")
    found = look(os.environ, program, main_file)
    if found is not None:
        return found
    if program:
        raise Wrong(f"--nginx {program}: it can not be run, or is not nginx")
    return replace(ASSUMED, main_file=main_file or ASSUMED.main_file)


def _wish(asked: Asked) -> Wish:
    from penstock.deploy.nginx.servers import size_bytes
    from penstock.deploy.nginx.site import STATUS_PORT, Wish

    for flag, value in asked.values:
        if not value:
            raise Wrong(f"{flag} needs a value")
    body = size_bytes(asked.value("--body-size") or "0")
    if body is None:
        raise Wrong(f"--body-size {asked.value('--body-size')} is no size; write 20m, 512k or 0 for none")
    return Wish(
        name=asked.value("--name"),
        server_names=tuple(name for text in asked.every("--server-name") for name in re.split(r"[,\s]+", text) if name),
        uwsgi="--uwsgi" in asked.flags,
        port=_number(asked, "--port", 80, 65535),
        tls_port=_number(asked, "--tls-port", 443, 65535),
        certificate=_path(asked, "--cert"),
        key=_path(asked, "--key"),
        finds_certificate="--no-tls" not in asked.flags,
        redirects="--no-redirect" not in asked.flags,
        hsts_s=_number(asked, "--hsts", 0, 10**9),
        protected_media=asked.value("--protected-media"),
        websocket=tuple(asked.every("--websocket")),
        body_limit_bytes=body if asked.value("--body-size") else None,
        status_port=None if "--no-status" in asked.flags else _number(asked, "--status", STATUS_PORT, 65535),
        behind=tuple(each for text in asked.every("--behind") for each in re.split(r"[,\s]+", text) if each),
        drops_unknown="--drop-unknown" in asked.flags,
    )


def _number(asked: Asked, flag: str, default: int, largest: int) -> int:
    text = asked.value(flag)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= largest):
        raise Wrong(f"{flag} {text} is no number from 1 to {largest}")
    return int(text)


def _path(asked: Asked, flag: str) -> str:
    return os.path.abspath(asked.value(flag)) if asked.value(flag) else ""


def _named(asked: Asked, plan: Plan) -> str:
    """What a site is called that was made of this configuration."""
    from penstock.deploy.nginx.words import slug

    return slug(asked.value("--name") or _project(asked, plan)[0])


def _project(asked: Asked, plan: Plan) -> tuple[str, str, DjangoFacts | None, list[Note]]:
    """Find the project that is served: its name, the file of its configuration, and what its settings say."""
    from penstock.deploy.nginx.site import Note
    from penstock.project.django_facts import Unanswered, ask
    from penstock.project.found import NoProject, find
    from penstock.project.names import name_of
    from penstock.project.surroundings import environ_of

    files = [word for word in asked.words if not word.startswith("-") and os.path.isfile(word)]
    origin = os.path.abspath(files[0]) if files else ""
    environ = environ_of(plan, os.environ)
    try:
        project = find(plan.app.chdir, environ, settings=environ.get("DJANGO_SETTINGS_MODULE"))
    except NoProject:
        return name_of([origin], None, plan.app.chdir), origin, None, []
    name = name_of([origin], project.settings, plan.app.chdir)
    if not project.is_django or asked.flags & {"--no-django", "--uninstall"}:
        return name, origin, None, []
    if plan.app.home:
        project = replace(project, python=plan.app.interpreter)
    user, group = _identity(plan)
    facts = ask(project, environ=environ, user=user, group=group)
    if isinstance(facts, Unanswered):
        message = f"Django's settings could not be read, so names and files are missing: {facts}"
        return name, origin, None, [Note("warning", message)]
    return name, origin, facts, []


def _identity(plan: Plan) -> tuple[int | None, int | None]:
    """Whom the project runs as: its code is not run as root where the configuration says another."""
    import grp
    import pwd

    if os.geteuid() != 0 or plan.uid is None:
        return None, None
    try:
        entry = pwd.getpwuid(int(plan.uid)) if plan.uid.isdigit() else pwd.getpwnam(plan.uid)
        group = entry.pw_gid
        if plan.gid is not None:
            group = int(plan.gid) if plan.gid.isdigit() else grp.getgrnam(plan.gid).gr_gid
    except KeyError:
        return None, None
    return entry.pw_uid, group


# -- what is said ------------------------------------------------------------------------------------------------------


def _as_json(made: Prepared, notes: Sequence[Note]) -> dict[str, Any]:
    return {
        "name": made.site.name,
        "file": made.place.file,
        "link": made.place.link,
        "text": made.text,
        "notes": [{"level": note.level, "message": note.message, "fix": note.cure} for note in notes],
        "advice": [
            {"directive": each.directive, "wanted": each.wanted, "now": each.now, "why": each.why}
            for each in made.advice
        ],
    }


def _tell(level: str, text: str) -> None:
    columns, paint = width(), style()
    first, *rest = text.split("\n")
    lines = wrap(plain(first), columns, "    ", f"{paint.mark(level, level)}: ")
    sys.stdout.flush()
    for line in (*lines, *(f"    {plain(each)}" for each in rest)):
        sys.stderr.write(f"{line}\n".encode("utf-8", "backslashreplace").decode())
