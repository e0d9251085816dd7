"""A site put into a machine's nginx, or taken out of it again; what was there comes back if nginx does not take it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.deploy.artifact import Artifact, Change, Found, Manifest, link
from penstock.deploy.nginx.running import NotReloaded, Running
from penstock.values import dataclass


class NotInstalled(Exception):
    """Nothing was changed, or what was is as before: why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done."""

    changes: tuple[Change, ...]
    remarks: tuple[str, ...]
    """What was left as it is, and why."""
    reloaded: bool | None
    """False: nginx does not run; None: nothing was to be read anew."""


def manifest_name(site_name: str) -> str:
    """Name what remembers the files of a site."""
    return f"nginx-{site_name}"


def install(wanted: Sequence[Artifact], manifest: Manifest, running: Running | None) -> Outcome:
    """Write what differs, have nginx look at it and read it anew; without `running` nothing is asked of nginx.

    Raises NotInstalled, with everything as it was, and ArtifactError.
    """
    if running is not None and (told := running.test()) is not None:
        raise NotInstalled(f"nginx's configuration is not right as it is, so nothing was changed:\n{told}")
    before = {each.path: (manifest.tree.look(each.path), each.path in manifest.entries) for each in wanted}
    changes: list[Change] = []
    try:
        for each in wanted:
            change = manifest.put(each)
            if not change.nothing:
                changes.append(change)
        reloaded = _take(running) if changes else None
    except BaseException:
        _restore(manifest, [change.artifact.path for change in changes], before)
        raise
    return Outcome(tuple(changes), (), reloaded)


def uninstall(manifest: Manifest, running: Running | None) -> Outcome:
    """Bring back what was there before the site, and have nginx read that.

    Raises NotInstalled, with everything as it was, and ArtifactError.
    """
    tree = manifest.tree
    here = {path: tree.look(path) for path in manifest.entries}
    paths = list(here)
    remarks = manifest.take_away()
    changed = any(tree.look(path) != found for path, found in here.items())
    try:
        reloaded = _take(running) if changed else None
    except BaseException:
        for path, found in here.items():
            if found is not None and tree.look(path) is None:
                manifest.put(as_it_was(path, found))
        raise
    gone = [path for path in paths if path not in manifest.entries]
    return Outcome((), (*remarks, *(f"taken away: {path}" for path in gone)), reloaded)


def _take(running: Running | None) -> bool | None:
    if running is None:
        return None
    if (told := running.test()) is not None:
        raise NotInstalled(f"nginx does not take it, so everything is as it was:\n{told}")
    try:
        return running.reload()
    except NotReloaded as error:
        raise NotInstalled(f"{error}; everything is as it was") from None


def _restore(manifest: Manifest, paths: Iterable[str], before: dict[str, tuple[Found | None, bool]]) -> None:
    for path in reversed(list(paths)):
        found, was_ours = before[path]
        if was_ours and found is not None:
            manifest.put(as_it_was(path, found))
        else:
            manifest.drop(path)
    if not manifest.entries:
        manifest.take_away()


def as_it_was(path: str, found: Found) -> Artifact:
    """Make what was there a thing to be written, so that it comes back and is still remembered as ours."""
    text = found.content.decode("utf-8", "surrogateescape")
    return link(path, text) if found.kind == "link" else Artifact(path, text, found.mode)
