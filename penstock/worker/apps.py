"""Every application of a process, where there are several: imported one after the other into one interpreter.

How one is found is `loader`. Here is what they share: ids, mountpoints, and the things of which a process has one
only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

from penstock.plan.types import AppPlan, MountPlan
from penstock.values import dataclass, replace
from penstock.worker.loader import App, AppNotLoaded

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"


@dataclass(frozen=True, slots=True)
class Apps:
    """What answers requests."""

    fallback: App | None
    """Answers where no mountpoint fits; without one the engine says 404."""
    mounts: tuple[tuple[str, App], ...]
    """(mountpoint, application), in the order of their ids; empty where there is one application only."""
    seconds: tuple[float, ...]
    """What each import took, by the ids."""


@dataclass(frozen=True, slots=True)
class Application:
    """One application that has to be imported."""

    id: int
    mount: MountPlan | None
    """Where it is mounted; None for the one of `module` or `wsgi-file`."""
    plan: AppPlan
    """A plan of this application alone."""

    @property
    def point(self) -> str:
        """The mountpoint, as the log and the statistics show it."""
        return self.mount.point if self.mount else ""

    def explain(self, failure: AppNotLoaded) -> AppNotLoaded:
        """Say of a mounted application where it was written, and what to write there instead."""
        if self.mount is None:
            return failure
        point = self.mount.point or "/"
        place = f"mount = {point}={self.mount.target} ({self.mount.origin})"
        advice = tuple(
            line.replace("module = ", f"mount = {point}=").replace("wsgi-file = ", f"mount = {point}=")
            for line in failure.advice
        )
        return AppNotLoaded(f"{place}: {failure.reason}", advice, failure.traceback, failure.exit_code)


def applications(plan: AppPlan) -> Iterator[Application]:
    """List what has to be imported, in the order of the ids."""
    number = 0
    if plan.kind != "none" or not plan.mounts:
        yield Application(number, None, plan)
        number += 1
    for mount in plan.mounts:
        own = replace(plan, kind=mount.kind, target=mount.target, callable=mount.callable, mounts=())
        yield Application(number, mount, own)
        number += 1


@dataclass(frozen=True, slots=True)
class Loaded:
    """One application that was imported."""

    application: Application
    app: App
    seconds: float


def together(loaded: Sequence[Loaded], fallback_id: int) -> Apps:
    """Put them together; `fallback_id` of -1 is nobody."""
    fallback = next((one.app for one in loaded if one.application.id == fallback_id), None)
    mounts = tuple((one.application.point, one.app) for one in loaded if one.application.mount)
    return Apps(fallback, mounts, tuple(one.seconds for one in loaded))


class OneDjango:
    """Notices a second Django project: its settings belong to the process, and the first project's would be used.

    `wsgi.py` of a project names its settings with `os.environ.setdefault`, which does nothing where another project
    has done so before. Therefore the variable is taken away while the next application is imported.
    """

    def __init__(self) -> None:
        """Begin, before the first import."""
        self._is_given = SETTINGS_VARIABLE in os.environ
        self._first: Application | None = None
        self._settings: str | None = None

    def before(self) -> None:
        """Let the next application say which settings it wants, if those of another are in use."""
        conf = sys.modules.get("django.conf")
        if not self._is_given and self._first is not None and conf is not None and conf.settings.configured:
            os.environ.pop(SETTINGS_VARIABLE, None)

    def after(self, application: Application) -> None:
        """Look which it was. Raises AppNotLoaded if it needs settings of its own."""
        wanted = os.environ.get(SETTINGS_VARIABLE)
        if self._settings is None:
            if wanted is not None:
                self._first, self._settings = application, wanted
            return
        os.environ[SETTINGS_VARIABLE] = self._settings
        if wanted in (None, self._settings):
            return
        first = self._first.plan.target if self._first else ""
        raise AppNotLoaded(
            f"{application.plan.target} is a Django project with the settings {wanted}, and {first} has set up Django "
            f"with {self._settings}: a process can hold one Django project only",
            (
                "start an instance for each project, with a socket and a configuration file of its own, and let nginx "
                "pass each path to its instance",
            ),
        )
