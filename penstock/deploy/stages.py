"""The steps of a deployment, in their order. What each yields is what is not as it should be; see `steps.py`."""

from __future__ import annotations

import contextlib
import grp
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from penstock.deploy import present, production, proof, releases, services, tune
from penstock.deploy.artifact import Artifact, Change, compare, directory, give, write_file
from penstock.deploy.configuration import SECRET_LINES, configuration_text
from penstock.deploy.deployment import Deployment
from penstock.deploy.environment import MARK, Environment
from penstock.deploy.kernel import Tuning
from penstock.deploy.releases import Release
from penstock.deploy.running import Command
from penstock.deploy.service_files import service_files, service_of
from penstock.deploy.site_file import nginx_runs, put_back, reload_nginx, site_of
from penstock.deploy.steps import Act, Failed, Inside, Item, Remark, Step
from penstock.project.django_facts import Unanswered, ask
from penstock.values import replace

_LOWEST_BAD_LEVEL = 40
"""Of Django's messages: what is an error."""


def steps_of(deployment: Deployment) -> list[Step]:
    """All steps, in order."""
    stages = Stages(deployment)
    return [
        Step("user", stages.user),
        Step("folders", stages.folders),
        Step("packages", stages.packages),
        Step("release", stages.release),
        Step("database", stages.database),
        Step("static files", stages.static),
        Step("checks", stages.checks),
        Step("kernel", stages.kernel),
        Step("services", stages.services),
        Step("start", stages.start, stages.mend_start),
        Step("nginx", stages.nginx, stages.mend_nginx),
        Step("request", stages.request),
        Step("tidy up", stages.tidy),
    ]


class Stages:
    """Each method is one step: a generator of what there is to do."""

    def __init__(self, deployment: Deployment) -> None:
        self.d = deployment
        self._nginx_changes: list[Change] = []
        self._switched_from: str | None = None
        """The release that served before this run changed the link; None while it has not."""
        self._nginx_reloads = False

    # -- user and folders ----------------------------------------------------------------------------------------------

    def user(self) -> Iterator[Item]:
        """A user of its own, that nobody can sign in as."""
        d = self.d
        if d.wish.user:
            if not d.user_is_there() and d.tree.is_machine:
                raise Failed(f"there is no user {d.wish.user}", cure="make it, or leave --user out to have one made")
            return
        if d.tree.is_machine and d.user_is_there():
            if d.memory.user_made != d.user:
                raise Failed(
                    f"there is a user {d.user} already, and this did not make it",
                    cure=f"name the deployment otherwise (--name), or say that it is meant: --user {d.user}",
                )
            return
        yield Act("", lambda: d.note(user_made=d.user))
        nologin = next((path for path in ("/usr/sbin/nologin", "/sbin/nologin") if os.path.exists(path)), "/bin/false")
        argv = ("useradd", "--system", "--user-group", "--no-create-home", "--home-dir", d.layout.home)
        yield Command((*argv, "--shell", nologin, d.user), "the application runs as a user of its own")

    def folders(self) -> Iterator[Item]:
        """Places for releases, for what outlives them, for sockets and logs."""
        d, layout = self.d, self.d.layout
        user, group = d.user, d.group
        wanted = [
            directory(layout.home, 0o755, "root", "root", "everything of the application"),
            directory(layout.releases, 0o755, "root", "root", "a folder for each release"),
            directory(layout.environments, 0o755, "root", "root", "virtual environments"),
            directory(layout.shared, 0o755, "root", "root", "what outlives releases"),
            directory(layout.media, 0o755, user, group, "uploads; nginx reads them"),
            directory(layout.data, 0o750, user, group, "databases that are files"),
        ]
        if d.services.kind != "systemd":
            # systemd makes the one at each start, and its journal takes the log.
            wanted.append(directory(layout.run, 0o755, user, group, "the socket and the pid file"))
            # A script in /etc/init.d makes both anew where they are missing, as 0755.
            mode = 0o755 if d.services.kind == "sysv" else 0o750
            wanted.append(directory(layout.logs, mode, user, group, "the log"))
        for artifact in wanted:
            change = self._compare(artifact)
            if change.nothing:
                continue
            yield change
            is_kept = artifact.path in (layout.media, layout.data) and change.before is not None
            if is_kept and any(word.startswith("owner") for word in change.words):
                yield Act(f"{artifact.path} and all in it belong to {user} again", self._owned(artifact.path))

    def _compare(self, artifact: Artifact) -> Change:
        return compare(artifact, self.d.tree)

    def _owned(self, path: str) -> Callable[[], None]:
        def do() -> None:
            ids = self.d.ids
            if ids is not None and self.d.tree.is_machine:
                give(self.d.tree.on_disk(path), ids)

        return do

    # -- packages ------------------------------------------------------------------------------------------------------

    def packages(self) -> Iterator[Item]:
        """A virtual environment with what the project needs."""
        d = self.d
        environment = d.environment
        if environment is None:
            if not os.access(d.python, os.X_OK) and d.tree.is_machine:
                cure = "name another one with --home"
                raise Failed(f"{d.home} is no virtual environment: there is no {d.python}", cure=cure)
        elif not environment.is_whole(d.tree):
            yield from self._make_environment(environment)
        if d.tree.is_machine:
            yield Act(f"{d.user} can run Python and Penstock", self._check_access, changes=False)

    def _make_environment(self, environment: Environment) -> Iterator[Item]:
        d = self.d
        place = d.tree.on_disk(environment.path)
        yield Remark(f"from {environment.packages.source}: {_listed(environment.packages.lines)}")
        if place.exists():
            yield Act(f"{environment.path} was not finished: removed", partial(releases.remove_folder, place))
        hint = "Debian and Ubuntu: apt install python3-venv" if not environment.uv else ""
        made = environment.make()
        yield Command(made.argv, made.why, cure=hint)
        lines = environment.packages.lines
        if lines and d.tree.is_machine:
            text = "".join(f"{line}\n" for line in lines).encode()
            yield Act("", partial(write_file, Path(environment.requirements), text, 0o644))
        yield from environment.fill()
        if d.tree.is_machine:
            yield Act("", partial(write_file, place / MARK, b"", 0o644))

    def _check_access(self) -> None:
        """See whether the user may run what will run: an interpreter in somebody's home is closed to others."""
        d = self.d
        for argv in ((d.python, "-c", ""), (*d.penstock[:1], "-c", "import penstock._engine")):
            outcome = d.runner.run(Command(argv, user=d.user))
            if not outcome.is_good:
                where = f"{argv[0]}, which is {os.path.realpath(argv[0])}"
                raise Failed(
                    f"{d.user} can not run {where}: {_last_line(outcome.output)}",
                    cure="Python and Penstock have to be where everybody may read, not in somebody's home: python3 -m"
                    " venv /opt/penstock, /opt/penstock/bin/pip install its wheel; --python names another interpreter",
                )

    # -- the release ---------------------------------------------------------------------------------------------------

    def release(self) -> Iterator[Item]:
        """A copy of the project, unless the one that is there is the same."""
        d, layout = self.d, self.d.layout
        digest = d.digest
        for each in releases.listing(d.tree, layout):
            if each.digest == digest and not each.failed:
                d.stamp = each.stamp
                return
        d.stamp = releases.new_stamp(d.tree, layout)
        d.is_new = True
        for stamp in releases.unfinished(d.tree, layout):
            folder = d.tree.on_disk(layout.release(stamp))
            yield Act(f"{layout.release(stamp)} was not finished: removed", partial(releases.remove_folder, folder))
        yield Act(f"{d.project.folder} is copied to {d.code}", self._copy)
        for kept in d.kept_apart:
            yield Act(f"{d.code}/{kept.inside} leads to {kept.target}", partial(self._link, kept))
            yield from self._data(kept)
        if d.settings_module == production.MODULE and d.facts is not None:
            if _sets_settings(d.project.wsgi_file):
                yield Remark(
                    f"{d.project.wsgi_file} sets DJANGO_SETTINGS_MODULE whatever the environment says, so the settings"
                    " of this server do not count: write os.environ.setdefault(...) there, as startproject does",
                    is_warning=True,
                )
            if d.facts.secret_key != "set" and d.tree.look(layout.secret_key) is None:
                yield Act(f"a secret key is made: {layout.secret_key}", self._secret_key)
            text = production.text(d.facts, d.served, layout)
            yield self._inside(f"settings/{production.MODULE}.py", text, "what the settings leave open for a server")
        yield self._inside("penstock.ini", configuration_text(d), "the configuration", 0o640, SECRET_LINES)
        yield Act("", self._close)
        # With our own interpreter, which has the same version: one that was named may be somebody's, and this is root.
        argv = (d.penstock[0], "-m", "compileall", "-q", d.code)
        yield Command(argv, "compiled once, as the application may not write there", may_fail=True)

    def _inside(self, name: str, text: str, why: str, mode: int = 0o644, hidden: str = "") -> Inside:
        """A file of the release, beside the one of the release that serves now."""
        before = self.d.tree.look(f"{self.d.layout.current}/{name}")
        artifact = Artifact(f"{self.d.release}/{name}", text, mode, why=why, hidden=hidden)
        return Inside(Change(artifact, before, ("new",) if before is None else ("content",)))

    def _copy(self) -> None:
        d = self.d
        target = d.tree.on_disk(d.code)
        releases.copy(Path(d.project.folder), target, d.left_out)
        releases.make_folder(target.parent / "static")

    def _link(self, kept: production.Kept) -> None:
        place = self.d.tree.on_disk(f"{self.d.code}/{kept.inside}")
        target = kept.target
        if not target.startswith("/"):
            # To the folder beside the code, however deep the project has its own.
            target = "/".join([".."] * kept.inside.count("/") + [target])
        releases.make_folder(place.parent)
        place.symlink_to(target)

    def _data(self, kept: production.Kept) -> Iterator[Item]:
        """What has gathered in the project's folder: taken along the first time, if that is wanted."""
        d = self.d
        if kept.what == "static":
            return
        source, target = Path(d.project.folder, kept.inside), d.tree.on_disk(kept.target)
        is_there = os.path.exists(source) if kept.what == "database" else source.is_dir() and any(source.iterdir())
        has_some = target.exists() if kept.what == "database" else target.is_dir() and any(target.iterdir())
        if not is_there or has_some:
            return
        if not d.wish.with_data:
            yield Remark(
                f"the {kept.what} in {source} is not taken along; --with-data does that, while there is none yet"
            )
            return
        yield Act(f"{source} is copied to {kept.target}", partial(self._copy_data, source, target))

    def _copy_data(self, source: Path, target: Path) -> None:
        part = target.with_name(target.name + ".penstock-new")
        try:
            releases.remove_folder(part)
            if source.is_dir():
                releases.copy(source, part, [])
                for entry in part.iterdir():
                    os.rename(entry, target / entry.name)
                part.rmdir()
            else:
                releases.copy_file(source, part, 0o640)
                os.rename(part, target)
        except OSError as error:
            raise Failed(f"can not copy {source} to {target}: {error.strerror}") from error
        if self.d.ids is not None and self.d.tree.is_machine:
            give(target, self.d.ids)

    def _secret_key(self) -> None:
        place = self.d.tree.on_disk(self.d.layout.secret_key)
        write_file(place, (secrets.token_urlsafe(48) + "\n").encode(), 0o640)
        ids = self.d.ids
        if ids is not None and self.d.tree.is_machine:
            os.chown(place, 0, ids[1], follow_symlinks=False)

    def _close(self) -> None:
        """Let nobody but root write to the code, and nobody but the application read it."""
        d = self.d
        if not d.tree.is_machine or d.ids is None:
            return
        for name in ("code", "settings", "penstock.ini"):
            place = d.tree.on_disk(f"{d.release}/{name}")
            if place.exists():
                give(place, (0, d.ids[1]), 0o7750)

    # -- Django --------------------------------------------------------------------------------------------------------

    def database(self) -> Iterator[Item]:
        """Migrations, before the new code serves."""
        if self.d.is_new and self.d.facts is not None:
            if self.d.facts.databases:
                cure = "what served before goes on; mend what the last lines name, and run this again"
                yield self.d.manage("migrate", "--noinput", why="tables as the code wants them", cure=cure)

    def static(self) -> Iterator[Item]:
        """Static files, gathered for nginx."""
        d = self.d
        if not d.is_new or d.facts is None or not d.facts.uses_staticfiles:
            return
        place = f"{d.release}/static"
        yield Act("", self._owned(place))
        yield d.manage("collectstatic", "--noinput", why="static files for nginx")
        if d.tree.is_machine:
            yield Act("", lambda: give(d.tree.on_disk(place), (0, 0)))

    def checks(self) -> Iterator[Item]:
        """`check --deploy`, and Penstock's own look at its configuration."""
        d = self.d
        if not d.is_new:
            return
        if d.tree.is_machine:
            if d.facts is not None:
                remarks: list[Remark] = []
                yield Act("manage.py check --deploy", lambda: remarks.extend(self._check_django()))
                yield from remarks
            argv = (*d.penstock, "check", f"{d.release}/penstock.ini")
            yield Command(argv, "the configuration fits this machine", good=(0, 1), cure="mend what it says")
        release = Release(
            stamp=d.stamp,
            digest=d.digest,
            source=d.project.folder,
            python=d.python,
            revision=releases.revision_of(Path(d.project.folder)),
        )
        yield Act("", lambda: releases.finish(d.tree, d.layout, release))

    def _check_django(self) -> Iterator[Remark]:
        d = self.d
        ids = d.ids or (None, None)
        environ = {**d.variables, **d.release_variables}
        found = ask(d.released_project(), "deploy", environ=environ, user=ids[0], group=ids[1])
        if isinstance(found, Unanswered):
            raise Failed(f"the new release does not come up: {found}", found.traceback or found.output)
        bad = [each for each in found.messages or () if each.level >= _LOWEST_BAD_LEVEL]
        if bad:
            raise Failed(
                f"manage.py check --deploy finds {len(bad)} error{'s' if len(bad) > 1 else ''}",
                "\n".join(f"{each.about} {each.text} ({each.id}) {each.hint}".strip() for each in bad),
                "mend them, and run this again",
            )
        for each in found.messages or ():
            text = " ".join(each.text.split())
            yield Remark(f"{each.id}: {text.partition('. ')[0].rstrip('.')}", is_warning=True)

    # -- services ------------------------------------------------------------------------------------------------------

    def services(self) -> Iterator[Item]:
        """Units or scripts, kernel settings and log rotation, as far as they differ."""
        d = self.d
        artifacts, notes = service_files(d, self._configuration())
        for note in notes:
            yield Remark(note, is_warning=True)
        changed = False
        for artifact in artifacts:
            change = self._compare(artifact)
            if not change.nothing:
                changed = True
                yield change
        if d.memory.services != d.services.kind:
            yield Act("", lambda: d.note(services=d.services.kind))
        if changed:
            yield from d.services.reread()
            if d.running_pid():
                yield Remark("what changed in the service counts from its next start on")
        if not d.without("boot") and not d.memory.enabled and (commands := d.services.enable(d.layout)):
            yield from commands
            yield Act("", lambda: d.note(enabled=True))

    def kernel(self) -> Iterator[Item]:
        """Values of the kernel that the configuration needs higher than they are."""
        d = self.d
        if d.without("tune"):
            return
        service = service_of(d, self._configuration())
        found = [need for need in tune.needs(service, present.look(service, d.tree.root)) if need.is_sysctl]
        raised = [need for need in found if need.state == "raise"]
        for need in found:
            if need.state == "by-hand":
                yield Remark(
                    f"{need.key} is {need.present}, and {need.wanted} would be better: {need.reason}; {need.cure}"
                )
        for need in raised:
            file = f" ({need.file})" if need.file else ""
            yield Act(f"{need.key} {need.present} -> {need.wanted}{file}: {need.reason}", _with_the_next)
        if raised:
            tuning = Tuning(d.tree, d.layout.name)
            yield Act("", partial(tuning.apply, found, tune.artifacts(found, service)))

    def _configuration(self) -> str:
        """The configuration of the release: what is there, or what would be."""
        found = self.d.tree.look(f"{self.d.release}/penstock.ini")
        return found.content.decode("utf-8", "surrogateescape") if found is not None else configuration_text(self.d)

    # -- start ---------------------------------------------------------------------------------------------------------

    def start(self) -> Iterator[Item]:
        """The link to the release, and a start or a reload that waits until the new code serves."""
        d, layout = self.d, self.d.layout
        now = releases.current(d.tree, layout)
        pid = d.running_pid()
        if now != d.stamp:
            yield Act(f"{layout.current} leads to {d.stamp}", lambda: self._switch(now))
        if pid and (now != d.stamp or d.memory.serving != d.stamp):
            yield services.reload(layout, d.penstock)
        elif not pid:
            yield from d.services.start(layout)
        if d.memory.serving != d.stamp or not pid:
            yield Act("", lambda: d.note(serving=d.stamp))
        gid = self._socket_group()
        if gid is not None:
            # A socket that is bound keeps its owner in a reload, and nginx may have got another user since.
            words = f"{layout.socket} belongs to the group {d.nginx_group}, as nginx does"
            # Not of what a link leads to: the folder is the application's own.
            yield Act(words, partial(os.chown, layout.socket, -1, gid, follow_symlinks=False))

    def _socket_group(self) -> int | None:
        """The group that the socket should have and has not."""
        d = self.d
        if not d.tree.is_machine or not d.nginx_group:
            return None
        try:
            wanted = grp.getgrnam(d.nginx_group).gr_gid
            status = os.lstat(d.layout.socket)
            return wanted if stat.S_ISSOCK(status.st_mode) and status.st_gid != wanted else None
        except (KeyError, OSError):
            return None

    def _switch(self, before: str) -> None:
        self._switched_from = before
        releases.switch(self.d.tree, self.d.layout, self.d.stamp)

    def mend_start(self) -> Iterator[str]:
        """Let the link lead to what served before, and let that serve again if the new code has begun to."""
        d, layout = self.d, self.d.layout
        before, serves = self._switched_from, d.memory.serving == d.stamp
        if before is None:
            return
        if not before and serves:
            yield f"release {d.stamp} is the first and runs: it stays, so that you can look (penstock doctor)"
            return
        self._mark_failed()
        if not before:
            with contextlib.suppress(OSError):
                d.tree.on_disk(layout.current).unlink()
            yield "nothing served before, and nothing does now; what was made stays for the next run"
            return
        releases.switch(d.tree, layout, before)
        if serves:
            outcome = d.runner.run(services.reload(layout, d.penstock))
            d.note(serving=before if outcome.is_good else "")
            if not outcome.is_good:
                yield f"the reload to release {before} failed too: {outcome.tail}"
                return
        yield f"release {before} serves, as before"

    def _mark_failed(self) -> None:
        d = self.d
        for each in releases.listing(d.tree, d.layout):
            if each.stamp == d.stamp:
                releases.finish(d.tree, d.layout, replace(each, failed="it did not serve"))

    # -- nginx ---------------------------------------------------------------------------------------------------------

    def nginx(self) -> Iterator[Item]:
        """The site, tested by nginx before it counts."""
        d = self.d
        if d.without("nginx"):
            return
        installed = d.nginx_installed
        artifacts, notes = site_of(d, self._configuration())
        for note in notes:
            yield Remark(note, is_warning=True)
        for artifact in artifacts:
            change = self._compare(artifact)
            if not change.nothing:
                if d.memory.nginx_read:
                    # Until it has read them: a run that is killed in between is gone on with.
                    yield Act("", lambda: d.note(nginx_read=""))
                self._nginx_changes.append(change)
                yield change
        runs = d.tree.is_machine and nginx_runs(installed.pid_file)
        is_unread = bool(self._nginx_changes) or not d.memory.nginx_read
        if runs and not is_unread and d.memory.nginx_read == d.stamp:
            return
        if is_unread or not runs:
            argv = (installed.program or "nginx", "-t")
            yield Command(argv, "nginx understands its files", cure="mend what it says")
        if runs and is_unread:
            self._nginx_reloads = True
            yield Act("nginx reads its files again", partial(reload_nginx, installed))
        elif not runs:
            yield Act("", lambda: d.note(nginx_started=True))
            yield from d.services.start_other("nginx")
        yield Act("", partial(self._keep_site, artifacts[0].text))

    def _keep_site(self, text: str) -> None:
        """Keep the site with the release, for who goes back to it."""
        d = self.d
        d.note(nginx_read=d.stamp)
        write_file(d.tree.on_disk(f"{d.release}/nginx.conf"), text.encode("utf-8", "surrogateescape"), 0o644)

    def mend_nginx(self) -> Iterator[str]:
        """Bring back the files that nginx had."""
        d = self.d
        if d.memory.serving == d.stamp and not self._switched_from and self._nginx_reloads:
            # The first release stays up for a look, and its site with it.
            return
        for change in self._nginx_changes:
            yield put_back(d.manifest, change)
        if self._nginx_changes and self._nginx_reloads:
            try:
                reload_nginx(d.nginx_installed)
            except Failed as failed:
                yield str(failed)

    # -- the proof -----------------------------------------------------------------------------------------------------

    def request(self) -> Iterator[Item]:
        """A real request through nginx to the application."""
        d = self.d
        if not d.tree.is_machine or d.without("nginx"):
            return
        facts = d.served_facts
        chain = proof.Chain(
            host=d.hosts[0] if d.hosts else "localhost",
            port=443 if d.wish.certificate else d.wish.port,
            has_tls=bool(d.wish.certificate),
            socket=d.layout.socket,
            path=d.wish.health,
            static_url=facts.static_url if facts is not None else "",
            static_root=facts.static_root if facts is not None else "",
            logs=(d.layout.log, f"{d.nginx_installed.log_directory}/error.log"),
        )
        seen: list[str] = []
        yield Act(f"GET {chain.url} through nginx", lambda: seen.extend(proof.prove(chain)), changes=False)
        for line in seen:
            yield Remark(line)

    def tidy(self) -> Iterator[Item]:
        """Old releases, and environments that none of those that are left needs."""
        d, layout = self.d, self.d.layout
        found = releases.listing(d.tree, layout)
        gone = releases.superfluous(found, d.stamp, d.wish.keep)
        for each in gone:
            yield Act(f"release {each.stamp} is removed", partial(releases.remove, d.tree, layout, each.stamp))
        needed = {os.path.dirname(os.path.dirname(each.python)) for each in found if each not in gone} | {d.home}
        place = d.tree.on_disk(layout.environments)
        for name in sorted(os.listdir(place)) if place.is_dir() else ():
            if f"{layout.environments}/{name}" not in needed:
                yield Act(f"environment {name} is removed", partial(releases.remove_folder, place / name))


def _sets_settings(wsgi_file: str | None) -> bool:
    """Whether the application's file chooses its settings itself, where startproject only says which are usual."""
    try:
        text = Path(wsgi_file).read_text(errors="replace") if wsgi_file else ""
    except OSError:
        return False
    return re.search(r"""^\s*os\.environ\[["']DJANGO_SETTINGS_MODULE["']\]\s*=""", text, re.M) is not None


def _with_the_next() -> None:
    """Told for itself, and done together with others by the act that follows."""


def _last_line(text: str) -> str:
    return next(iter(text.strip().splitlines()[-1:]), "it says nothing")


def _listed(lines: tuple[str, ...]) -> str:
    shown = ", ".join(lines[:6])
    return f"{shown} and {len(lines) - 6} more" if len(lines) > 6 else shown or "as listed there"
