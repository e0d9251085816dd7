"""`penstock nginx CONFIG`: the nginx site for a configuration, printed or installed, and what the main file lacks."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock.commands import configuration
from penstock.commands.terminal import plain, style, width, wrap, write
from penstock.values import dataclass, replace

if TYPE_CHECKING:
    from penstock.deploy.nginx.installed import Nginx, Place
    from penstock.deploy.nginx.neighbours import Advice
    from penstock.deploy.nginx.reading import Configuration
    from penstock.deploy.nginx.site import Note, Site, Wish
    from penstock.plan.types import Plan
    from penstock.project.django_facts import DjangoFacts

SUMMARY = "write the nginx site for a configuration: print it, or install it and have nginx read it"
USAGE = (
    "[--install] [--uninstall] [--root DIR] [--json] [--server-name NAME] [--cert FILE --key FILE] [--uwsgi] "
    "[--hsts] [--no-tls] [--no-redirect] [--port PORT] [--tls-port PORT] [--body-size SIZE] [--protected-media] "
    "[--websocket PATH] [--status PORT] [--no-status] [--drop-unknown] [--no-django] [--name NAME] [--nginx PROGRAM] "
    "[--nginx-conf FILE] OPTION ... | FILE"
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
    "--no-django", "--hsts", "--protected-media", "--help", "-h",
)  # fmt: skip
_VALUED = (
    "--root", "--server-name", "--cert", "--key", "--port", "--tls-port", "--body-size", "--websocket", "--status",
    "--name", "--nginx", "--nginx-conf",
)  # fmt: skip
_EITHER = ("--hsts", "--protected-media")
"""Take a value only behind an equals sign."""
_PROTECTED = "/protected-media/"


class Wrong(Exception):
    """Something can not be done: what, and what to do; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line, in two halves."""

    flags: Mapping[str, list[str]]
    """Flag -> its values, in order; an empty text for a flag without one."""
    words: list[str]
    """What a start would take."""

    def has(self, flag: str) -> bool:
        """Whether a flag was given."""
        return flag in self.flags

    def last(self, flag: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.flags.get(flag, [default])[-1]


def run(arguments: Sequence[str]) -> int:
    """Print or install the site, or take it away."""
    try:
        asked = read_arguments(arguments)
        if asked.has("--help") or asked.has("-h"):
            sys.stdout.write(TEXT)
            return 0
        return _run(asked)
    except Wrong as error:
        _tell("error", str(error))
        return NO_SITE


def read_arguments(arguments: Sequence[str]) -> Asked:
    """Separate the command's own flags from what a start would take; behind `--` there are none. Raises Wrong."""
    flags: dict[str, list[str]] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if word == "--":
            rest += [word, *words]
        elif name in _VALUED:
            taken = value if equals else next(words, None)
            if not taken:
                raise Wrong(f"{name} needs a value")
            flags.setdefault(name, []).append(taken)
        elif word in _FLAGS or (equals and name in _EITHER):
            flags.setdefault(name, []).append(value)
        else:
            rest.append(word)
    return Asked(flags, rest)


def _run(asked: Asked) -> int:
    # Imported here, like all that only this command needs.
    from penstock.deploy.artifact import ArtifactError
    from penstock.deploy.nginx.install import NotInstalled
    from penstock.deploy.nginx.installed import NoPlace
    from penstock.deploy.nginx.site import NoSite

    try:
        wish = _wish(asked)
        return _with(asked, _plan(asked), wish)
    except (NoSite, NoPlace, NotInstalled, ArtifactError) as error:
        raise Wrong(str(error)) from None


def _plan(asked: Asked) -> Plan:
    from penstock.config.load import read
    from penstock.plan.machine import Machine
    from penstock.plan.resolve import attempt

    sources = configuration.sources(asked.words)
    if sources is None:
        raise Wrong("nothing names a configuration; write penstock nginx FILE, or options as for a start")
    settings = read(sources)
    plan, findings = attempt(settings, Machine.here())
    errors = [each for each in (*settings.findings, *findings) if each.level == "error"]
    if plan is None or any(each.level == "error" for each in settings.findings):
        raise Wrong("\n".join(map(str, dict.fromkeys(errors))) or "there is no plan; penstock check says why")
    return plan


def _with(asked: Asked, plan: Plan, wish: Wish) -> int:
    from penstock.deploy.nginx.reading import read

    root = _root(asked)
    nginx = _nginx(asked, root)
    around = read(nginx.main_file, root)
    name, origin, facts, notes = _project(asked, plan)
    if asked.has("--uninstall"):
        return _uninstall(asked, _slug(asked, name), nginx, around, root)
    wish = _certified(wish, facts, asked, root, notes)
    return _Making(asked, plan, facts, wish, nginx, around, root).done(name, origin, notes)


@dataclass(frozen=True, slots=True)
class _Making:
    """One site on its way."""

    asked: Asked
    plan: Plan
    facts: DjangoFacts | None
    wish: Wish
    nginx: Nginx
    around: Configuration
    root: str

    def done(self, name: str, origin: str, notes: list[Note]) -> int:
        """Make it, show it or install it."""
        from penstock.deploy.nginx.neighbours import advice, fit
        from penstock.deploy.nginx.site import make
        from penstock.deploy.nginx.text import render

        hostname = socket.getfqdn()
        site = make(self.plan, self.facts, self.wish, self.nginx, name=name, origin=origin, hostname=hostname)
        place = self._place(site)
        counsel: tuple[Advice, ...] = ()
        if self.around.is_readable:
            own = [place.file, *([place.link] if place.link is not None else [])]
            site = fit(site, self.around, self.nginx, own)
            counsel = advice(self.around, self.plan)
        site = replace(site, notes=(*notes, *site.notes))
        text = render(site, self.nginx)
        if self.asked.has("--install"):
            self._refuse_strangers(site)
            self._install(site, text, place)
        elif self.asked.has("--json"):
            write([json.dumps(_as_json(site, place, text, counsel), indent=2)])
        else:
            sys.stdout.flush()
            sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
        for note in site.notes:
            _tell(note.level, str(note))
        for each in counsel:
            _tell("advice", f"{self.nginx.main_file}: {each}")
        # What is installed is served; who only looks learns that something is to be done.
        is_fine = self.asked.has("--install") or all(note.level != "warning" for note in site.notes)
        return 0 if is_fine else WARNED

    def _place(self, site: Site) -> Place:
        from penstock.deploy.nginx.installed import Place, place_of

        if self.around.files:
            return place_of(site.name, self.around)
        folder = self.nginx.directory
        return Place(f"{folder}/sites-available/{site.name}", f"{folder}/sites-enabled/{site.name}")

    def _refuse_strangers(self, site: Site) -> None:
        """Nothing but nginx may hold the ports; asked of this machine, so not for a folder."""
        from penstock.deploy.nginx.running import holder

        ports = [
            (site.port, "--port"),
            (site.tls_port if site.has_tls else None, "--tls-port"),
            (site.status_port, "--status"),
        ]
        for port, flag in () if self.root else ports:
            if port is not None and (name := holder(port)) is not None:
                raise Wrong(f"{name} listens on port {port} already; stop it, or choose another: {flag} PORT")

    def _install(self, site: Site, text: str, place: Place) -> None:
        from penstock.deploy.artifact import Manifest, Tree
        from penstock.deploy.nginx.install import artifacts, install, manifest_name

        running = _running(self.nginx, self.around, self.root)
        if running is not None:
            self._refuse_unread()
        manifest = Manifest(Tree(self.root or "/"), manifest_name(site.name))
        outcome = install(artifacts(site, text, place), manifest, running)
        lines = [f"{', '.join(change.words)}: {change.artifact.path}" for change in outcome.changes]
        write(lines or [f"{place.file} is as it should be: nothing was changed"])
        _tell_reload(outcome.reloaded, bool(lines), self.root)

    def _refuse_unread(self) -> None:
        if not self.around.is_readable:
            told = "\n".join(map(str, self.around.problems))
            raise Wrong(f"nginx's configuration can not be read, so nothing was changed:\n{told}")


def _uninstall(asked: Asked, name: str, nginx: Nginx, around: Configuration, root: str) -> int:
    from penstock.deploy.artifact import Manifest, Tree
    from penstock.deploy.nginx.install import manifest_name, uninstall

    manifest = Manifest(Tree(root or "/"), manifest_name(name))
    if not manifest.entries:
        raise Wrong(f"no site {name} was installed by this command; --name says which one is meant")
    outcome = uninstall(manifest, _running(nginx, around, root))
    write(outcome.remarks)
    _tell_reload(outcome.reloaded, True, root)
    return WARNED if manifest.entries else 0


def _running(nginx: Nginx, around: Configuration, root: str) -> Any:
    from penstock.deploy.nginx.running import Running

    if root:
        return None
    if not nginx.program:
        raise Wrong(
            "nginx is not installed; apt install nginx (or dnf install nginx), or --root DIR for another machine"
        )
    return Running(nginx, around)


def _tell_reload(reloaded: bool | None, changed: bool, root: str) -> None:
    if reloaded:
        write(["nginx has read it"])
    elif changed and not root:
        _tell("note", "nginx does not run: systemctl start nginx")


# -- what is asked for -------------------------------------------------------------------------------------------------


def _root(asked: Asked) -> str:
    if not asked.has("--root"):
        return ""
    folder = os.path.realpath(asked.last("--root"))
    if not os.path.isdir(folder):
        raise Wrong(f"--root {asked.last('--root')}: there is no such folder; make it (mkdir -p)")
    return "" if folder == "/" else folder


def _nginx(asked: Asked, root: str) -> Nginx:
    from penstock.deploy.nginx.installed import ASSUMED, look

    main_file = asked.last("--nginx-conf")
    if main_file and not root:
        main_file = os.path.abspath(main_file)
    program = asked.last("--nginx")
    found = look(os.environ, program, main_file)
    if found is not None:
        return found
    if program:
        raise Wrong(f"--nginx {program}: it can not be run, or is not nginx")
    return replace(ASSUMED, main_file=main_file or ASSUMED.main_file)


def _wish(asked: Asked) -> Wish:
    from penstock.deploy.nginx.servers import size_bytes
    from penstock.deploy.nginx.site import HSTS_S, STATUS_PORT, Wish

    body = size_bytes(asked.last("--body-size", "0"))
    if body is None:
        raise Wrong(f"--body-size {asked.last('--body-size')} is no size; write 20m, 512k or 0 for none")
    hsts_s = _number(asked, "--hsts", HSTS_S, 10**9) if asked.has("--hsts") else 0
    protected = (asked.last("--protected-media") or _PROTECTED) if asked.has("--protected-media") else ""
    return Wish(
        name=asked.last("--name"),
        server_names=tuple(
            name for value in asked.flags.get("--server-name", []) for name in re.split(r"[,\s]+", value) if name
        ),
        uwsgi=asked.has("--uwsgi"),
        port=_number(asked, "--port", 80, 65535),
        tls_port=_number(asked, "--tls-port", 443, 65535),
        certificate=_path(asked, "--cert"),
        key=_path(asked, "--key"),
        redirects=not asked.has("--no-redirect"),
        hsts_s=hsts_s,
        protected_media=protected,
        websocket=tuple(asked.flags.get("--websocket", [])),
        body_limit_bytes=body if asked.has("--body-size") else None,
        status_port=None if asked.has("--no-status") else _number(asked, "--status", STATUS_PORT, 65535),
        drops_unknown=asked.has("--drop-unknown"),
    )


def _number(asked: Asked, flag: str, default: int, largest: int) -> int:
    text = asked.last(flag) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= largest):
        raise Wrong(f"{flag} {text} is no number from 1 to {largest}")
    return int(text)


def _path(asked: Asked, flag: str) -> str:
    return os.path.abspath(asked.last(flag)) if asked.has(flag) else ""


def _certified(wish: Wish, facts: DjangoFacts | None, asked: Asked, root: str, notes: list[Note]) -> Wish:
    """Look at the certificate that is named, or for one of certbot."""
    from penstock.deploy.nginx import certificates, words
    from penstock.deploy.nginx.site import Note

    names: list[str] = []
    for name in wish.server_names or (facts.allowed_hosts if facts is not None else ()):
        try:
            names.append(words.host_name(name))
        except words.NotAName:
            continue
    if wish.certificate and wish.key:
        # Those of a folder lie there; what is not there yet, its machine will have.
        there = all(os.path.exists(root + file) for file in (wish.certificate, wish.key))
        pair = certificates.Pair(wish.certificate, wish.key)
        for why in certificates.problems(pair, names, root) if there or not root else ():
            notes.append(Note("warning", why))
        return wish
    public = [name for name in names if "." in name.strip(".") and not name[-1].isdigit() and not name.startswith("[")]
    if wish.certificate or wish.key or asked.has("--no-tls") or not public:
        return wish
    found = certificates.certbot(public, root)
    if found is None:
        if certificates.is_hidden(root):
            notes.append(Note("note", "only root sees the certificates that certbot has: run this as root to use them"))
        return wish
    notes.append(Note("note", f"with the certificate that certbot has: {found.certificate}", "--no-tls for none"))
    return replace(wish, certificate=found.certificate, key=found.key, acme_folder=found.acme_folder)


def _slug(asked: Asked, name: str) -> str:
    from penstock.deploy.nginx.words import slug

    return slug(asked.last("--name") or name)


def _project(asked: Asked, plan: Plan) -> tuple[str, str, DjangoFacts | None, list[Note]]:
    """Find the project that is served: its name, the file of its configuration, and what its settings say."""
    from penstock.deploy.nginx.site import Note
    from penstock.project.django_facts import Unanswered, ask
    from penstock.project.found import NoProject, find

    files = [word for word in asked.words if not word.startswith("-") and os.path.isfile(word)]
    origin = os.path.abspath(files[0]) if files else ""
    environ = _environment(plan)
    try:
        project = find(plan.app.chdir, environ, settings=environ.get("DJANGO_SETTINGS_MODULE"))
    except NoProject:
        stem = os.path.splitext(os.path.basename(origin))[0]
        return stem or os.path.basename(plan.app.chdir), origin, None, []
    if not project.is_django or asked.has("--no-django") or asked.has("--uninstall"):
        return project.name, origin, None, []
    if plan.app.home:
        project = replace(project, python=plan.app.interpreter)
    user, group = _identity(plan)
    facts = ask(project, environ=environ, user=user, group=group)
    if isinstance(facts, Unanswered):
        message = f"Django's settings could not be read, so names and files are missing: {facts}"
        return project.name, origin, None, [Note("warning", message)]
    return project.name, origin, facts, []


def _environment(plan: Plan) -> dict[str, str]:
    environ = dict(os.environ)
    for name, value in plan.app.environment:
        if value is None:
            environ.pop(name, None)
        else:
            environ[name] = value
    return environ


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


def _as_json(site: Site, place: Place, text: str, counsel: Sequence[Advice]) -> dict[str, Any]:
    return {
        "name": site.name,
        "file": place.file,
        "link": place.link,
        "text": text,
        "notes": [{"level": note.level, "message": note.message, "fix": note.cure} for note in site.notes],
        "advice": [
            {"directive": each.directive, "wanted": each.wanted, "now": each.now, "why": each.why} for each in counsel
        ],
    }


def _tell(level: str, text: str) -> None:
    columns, paint = width(), style()
    first, *rest = text.split("\n")
    lines: Iterator[str] = iter(wrap(plain(first), columns, "    ", f"{paint.mark(level, level)}: "))
    sys.stdout.flush()
    for line in (*lines, *(f"    {plain(each)}" for each in rest)):
        sys.stderr.write(f"{line}\n".encode("utf-8", "backslashreplace").decode())
