"""Going back to an older release: the link, the site that belongs to it, and a reload that waits until it serves.

The database stays as it is: what a migration did is not undone, which older code has to be able to live with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from penstock.deploy import memory, proof, releases, services
from penstock.deploy.artifact import Artifact, Change, Manifest, Tree, compare
from penstock.deploy.layout import Layout
from penstock.deploy.nginx import installed
from penstock.deploy.releases import Release
from penstock.deploy.running import Command, Runner
from penstock.deploy.services import Services
from penstock.deploy.site_file import put_back, reload_nginx
from penstock.deploy.steps import Act, Failed, Item, Remark, Step
from penstock.values import replace


def older(found: list[Release], serving: str, wanted: str) -> Release:
    """Choose the release to go back to: the one that is named, or the newest before the one that serves.

    Raises:
        Failed: there is none.
    """
    if wanted:
        for each in found:
            if each.stamp == wanted:
                if each.stamp == serving:
                    raise Failed(f"release {wanted} serves already")
                return each
        raise Failed(f"there is no release {wanted}", cure="penstock releases lists them")
    for each in found:
        if each.stamp < serving and not each.failed:
            return each
    raise Failed(f"there is no older release than {serving or 'none'}", cure="penstock releases lists them")


class GoingBack:
    """The steps of it."""

    def __init__(
        self, tree: Tree, layout: Layout, manager: Services, runner: Runner, penstock: tuple[str, ...],
        environ: Mapping[str, str], wanted: str,
    ) -> None:  # fmt: skip
        """Choose the release.

        Raises:
            Failed: there is none.
        """
        self.tree, self.layout, self.manager, self.runner, self.penstock = tree, layout, manager, runner, penstock
        self.manifest = Manifest(tree, layout.name)
        self.memory = memory.recall(tree, layout) or memory.Memory()
        self.before = releases.current(tree, layout)
        self.release = older(releases.listing(tree, layout), self.before, wanted)
        self._nginx = installed.look(environ)
        self._switched = False
        self._changed: Change | None = None
        self._reloads = False

    def steps(self) -> list[Step]:
        """All of them."""
        return [
            Step("start", self.start, self.mend),
            Step("nginx", self.nginx, self.mend_nginx),
            Step("request", self.request),
        ]

    def start(self) -> Iterator[Item]:
        """The link, and a reload or a start."""
        layout, stamp = self.layout, self.release.stamp
        yield Remark("the database stays as it is: what newer migrations did is not undone", is_warning=True)
        yield Act(f"{layout.current} leads to {stamp}", self._switch)
        if services.running_pid(layout.pidfile):
            yield services.reload(layout, self.penstock)
        else:
            yield from self.manager.start(layout)
        yield Act("", partial(self._note, serving=stamp))

    def nginx(self) -> Iterator[Item]:
        """The site that the release had."""
        kept = self.tree.look(f"{self.layout.release(self.release.stamp)}/nginx.conf")
        sites = [
            entry.artifact
            for path, entry in self.manifest.entries.items()
            if entry.artifact.kind == "file" and self._nginx is not None and path.startswith(self._nginx.directory)
        ]
        if kept is None or not sites or self._nginx is None:
            return
        text = kept.content.decode("utf-8", "surrogateescape")
        site = sites[0]
        change = compare(Artifact(site.path, text, site.mode, site.owner, site.group, site.why), self.tree)
        if not change.nothing:
            self._changed = change
            yield change
            yield Command((self._nginx.program, "-t"), "nginx understands its files")
            self._reloads = True
            yield Act("nginx reads its files again", partial(reload_nginx, self._nginx))

    def mend_nginx(self) -> Iterator[str]:
        """Bring back the site of what served before."""
        if self._changed is None:
            return
        yield put_back(self.manifest, self._changed)
        if self._reloads and self._nginx is not None:
            try:
                reload_nginx(self._nginx)
            except Failed as failed:
                yield str(failed)

    def request(self) -> Iterator[Item]:
        """A real request through nginx."""
        wish = self.memory.wish
        if not self.memory.hosts or "nginx" in wish.get("without", ()):
            return
        has_tls = bool(wish.get("certificate"))
        chain = proof.Chain(
            host=self.memory.hosts[0],
            port=443 if has_tls else int(wish.get("port") or 80),
            has_tls=has_tls,
            socket=self.layout.socket,
            path=str(wish.get("health") or "/"),
            logs=(self.layout.log,),
        )
        seen: list[str] = []
        yield Act(f"GET {chain.url} through nginx", lambda: seen.extend(proof.prove(chain)), changes=False)
        for line in seen:
            yield Remark(line)

    def mend(self) -> Iterator[str]:
        """Let what served before serve again."""
        if not self._switched or not self.before:
            return
        releases.switch(self.tree, self.layout, self.before)
        if self.memory.serving == self.release.stamp:
            outcome = self.runner.run(services.reload(self.layout, self.penstock))
            if not outcome.is_good:
                yield f"the reload to release {self.before} failed too: {outcome.tail}"
                return
            self._note(serving=self.before)
        yield f"release {self.before} serves, as before"

    def _switch(self) -> None:
        self._switched = True
        releases.switch(self.tree, self.layout, self.release.stamp)

    def _note(self, *, serving: str) -> None:
        self.memory = replace(self.memory, serving=serving)
        memory.remember(self.tree, self.layout, self.memory)
