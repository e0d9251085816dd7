"""Taking a deployment away again: what it made on the machine goes, what people put in stays unless they say otherwise.

Data is what nobody can make again: uploads, databases that are files, and variables that somebody wrote down. It stays
in /srv/NAME/shared, and belongs to root then, as its user is gone and its number may be given to somebody else.
"""

from __future__ import annotations

import glob
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from penstock.deploy import memory, services
from penstock.deploy.artifact import Manifest, Tree, give
from penstock.deploy.kernel import Tuning
from penstock.deploy.layout import Layout
from penstock.deploy.nginx import installed
from penstock.deploy.releases import remove_folder
from penstock.deploy.running import Command
from penstock.deploy.services import Services
from penstock.deploy.site_file import reload_nginx
from penstock.deploy.steps import Act, Item, Remark, Step
from penstock.values import replace


class Removal:
    """The steps of taking one deployment away."""

    def __init__(
        self, tree: Tree, layout: Layout, manager: Services, environ: Mapping[str, str], with_data: bool
    ) -> None:
        self.tree = tree
        self.layout = layout
        self.manager = manager
        self.environ = environ
        self.with_data = with_data
        self.manifest = Manifest(tree, layout.name)
        self.memory = memory.recall(tree, layout) or memory.Memory()
        self.remarks: list[str] = []
        """What had to stay, and why."""

    def steps(self) -> list[Step]:
        """All of them, in order: what is reached from outside goes first."""
        return [
            Step("nginx", self.nginx),
            Step("stop", self.stop),
            Step("services", self.services),
            Step("kernel", self.kernel),
            Step("code", self.code),
            Step("data", self.data),
            Step("files", self.files),
            Step("user", self.user),
        ]

    def nginx(self) -> Iterator[Item]:
        """The site goes, and nginx as well if it was not there before."""
        found = installed.look(self.environ) if self.tree.is_machine else None
        directory = found.directory if found is not None else installed.ASSUMED.directory
        site = [path for path in self.manifest.entries if path.startswith(f"{directory}/")]
        logs = self._logs_of(site)
        for path in reversed(site):
            yield self._drop(path)
        for path in logs:
            yield Act(f"{path} is removed", partial(os.unlink, path))
        if found is None or not services.running_pid(found.pid_file, b"nginx"):
            return
        others = self._others_behind_nginx()
        if self.memory.nginx_started and not others:
            yield from self.manager.stop_other("nginx")
            yield Act("", partial(self._note, nginx_started=False))
            return
        if self.memory.nginx_started:
            yield Remark(f"nginx goes on for {', '.join(others)}")
            yield Act("", partial(self._leave_nginx_to, others[0]))
        if site:
            yield Command((found.program, "-t"), "nginx understands what is left")
            yield Act("nginx reads its files again", partial(reload_nginx, found))

    def _others_behind_nginx(self) -> list[str]:
        """The other deployments that nginx serves."""
        found = []
        for name in memory.known(self.tree):
            other = memory.recall(self.tree, Layout(name)) if name != self.layout.name else None
            if other is not None and "nginx" not in other.wish.get("without", ()):
                found.append(name)
        return found

    def _leave_nginx_to(self, name: str) -> None:
        """Whoever of them is taken away last stops nginx."""
        other = memory.recall(self.tree, Layout(name))
        if other is not None:
            memory.remember(self.tree, Layout(name), replace(other, nginx_started=True))
            self._note(nginx_started=False)

    def _logs_of(self, site: list[str]) -> list[str]:
        """The logs that only this site writes, rotated ones as well."""
        texts = [found.content.decode("utf-8", "replace") for path in site if (found := self.tree.look(path))]
        named = {path for text in texts for path in re.findall(r"^\s*(?:access|error)_log\s+(/[^\s;]+)", text, re.M)}
        own = [path for path in sorted(named) if self.layout.name.replace("-", "_") in os.path.basename(path)]
        return [path for each in own if self.tree.is_machine for path in sorted(glob.glob(f"{glob.escape(each)}*"))]

    def stop(self) -> Iterator[Item]:
        """The instance ends, with the requests that it has."""
        if self.tree.is_machine and services.running_pid(self.layout.pidfile):
            yield from self.manager.stop(self.layout)

    def services(self) -> Iterator[Item]:
        """It is no longer started at boot."""
        if self.memory.enabled:
            yield from self.manager.disable(self.layout)
            yield Act("", partial(self._note, enabled=False))
        units = [
            path
            for path in self.manifest.entries
            if path.startswith(("/etc/systemd/", "/etc/init.d/", "/etc/logrotate.d/"))
        ]
        for path in reversed(units):
            yield self._drop(path)
        if units:
            yield from self.manager.reread()

    def kernel(self) -> Iterator[Item]:
        """What the kernel had before."""
        tuning = Tuning(self.tree, self.layout.name)
        if tuning.record or tuning.manifest.entries:
            values = ", ".join(tuning.record) or "what the kernel is told at boot"
            yield Act(f"{values}: as before", partial(self._revert, tuning))

    def _revert(self, tuning: Tuning) -> None:
        self.remarks += tuning.revert()[1]

    def code(self) -> Iterator[Item]:
        """Releases, environments, the log."""
        layout = self.layout
        current = self.tree.on_disk(layout.current)
        if current.is_symlink():
            yield Act(f"{layout.current} is removed", current.unlink)
        for path in (layout.releases, layout.environments, layout.logs, layout.run):
            place = self.tree.on_disk(path)
            # The folders themselves are the manifest's: one that was there before stays.
            if path in self.manifest.entries and place.is_dir() and any(place.iterdir()):
                yield Act(f"everything in {path} is removed", partial(_empty, place))
        run = self.tree.on_disk(layout.run)
        if self.manager.kind == "systemd" and self.tree.is_machine and run.is_dir():
            # Made by systemd, which keeps it while it keeps the sockets in it for a next start.
            yield Act(f"{layout.run} is removed", partial(remove_folder, run))
        control = self._control_folder()
        if control is not None:
            yield Act("", partial(_remove_empty, control))

    def data(self) -> Iterator[Item]:
        """What people put in: kept, or removed where that was asked for."""
        layout = self.layout
        found = [path for path in (layout.media, layout.data) if _holds_files(self.tree.on_disk(path))]
        variables = self.tree.on_disk(layout.environment_file)
        found += [layout.environment_file] if variables.exists() else []
        shared = self.tree.on_disk(layout.shared)
        if layout.shared not in self.manifest.entries or not shared.is_dir():
            return
        if found and not self.with_data:
            for path in found:
                yield Remark(f"{path} has data and stays; penstock undeploy {layout.name} --data removes it too")
                if self.tree.is_machine:
                    yield Act(f"{path} belongs to root from now on", partial(give, self.tree.on_disk(path), (0, 0)))
            return
        if any(shared.iterdir()):
            words = " with the data in it" if found else ""
            yield Act(f"everything in {layout.shared} is removed{words}", partial(self._empty_shared, shared))

    def _empty_shared(self, shared: Path) -> None:
        for each in (self.layout.media, self.layout.data):
            place = self.tree.on_disk(each)
            if place.is_dir():
                _empty(place)
        for entry in shared.iterdir():
            if not entry.is_dir():
                entry.unlink()

    def files(self) -> Iterator[Item]:
        """Everything that is in the manifest."""
        for path in reversed(list(self.manifest.entries)):
            place = self.tree.on_disk(path)
            if place.is_dir() and _holds_files(place) and self._is_kept(path):
                continue
            yield self._drop(path)

    def _is_kept(self, path: str) -> bool:
        shared = self.layout.shared
        return shared == path or shared.startswith(f"{path}/") or path.startswith(f"{shared}/")

    def user(self) -> Iterator[Item]:
        """The user that was made goes."""
        name = self.memory.user_made
        if not name:
            return
        if self.tree.is_machine:
            try:
                pwd.getpwnam(name)
            except KeyError:
                pass
            else:
                yield Command(("userdel", name), "it was made for this", cure="end its processes: pkill -u " + name)
        yield Act("", partial(self._note, user_made="", serving="", nginx_read=""))

    def _control_folder(self) -> Path | None:
        """Where the control socket of the instance was."""
        try:
            uid = pwd.getpwnam(self.memory.user_made or str(self.memory.wish.get("user", ""))).pw_uid
        except KeyError:
            return None
        return Path(f"/run/penstock-{uid}") if self.tree.is_machine else None

    def _drop(self, path: str) -> Act:
        entry = self.manifest.entries[path]
        was = "removed" if entry.before is None else "as it was before"
        return Act(f"{path} is {was}", partial(self._drop_now, path))

    def _drop_now(self, path: str) -> None:
        remark = self.manifest.drop(path)
        if remark is not None:
            self.remarks.append(remark)

    def _note(self, **changes: Any) -> None:
        self.memory = replace(self.memory, **changes)
        memory.remember(self.tree, self.layout, self.memory)

    def finish(self) -> None:
        """Forget the deployment, once nothing of it is left."""
        if not self.manifest.entries:
            memory.forget(self.tree, self.layout)
            self.remarks += self.manifest.take_away()


def _empty(place: Path) -> None:
    for entry in place.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            remove_folder(entry)
        else:
            entry.unlink()


def _remove_empty(place: Path) -> None:
    try:
        place.rmdir()
    except OSError:
        pass


def _holds_files(place: Path) -> bool:
    return any(files for _, _, files in os.walk(place))
