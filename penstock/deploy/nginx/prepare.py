"""A site made ready for one nginx: decided, with its certificate, fitted among its neighbours, as text, and placed.

What `penstock nginx` and `penstock deploy` have in common. Reads certificates, and changes nothing.
"""

from __future__ import annotations

import os

from penstock.deploy.artifact import Artifact, link
from penstock.deploy.nginx import certificates, words
from penstock.deploy.nginx.installed import Nginx, Place, place_of
from penstock.deploy.nginx.neighbours import Advice, advice, fit
from penstock.deploy.nginx.reading import Configuration
from penstock.deploy.nginx.site import Note, Site, Wish, make
from penstock.deploy.nginx.text import render
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts
from penstock.values import dataclass, replace


@dataclass(frozen=True, slots=True)
class Prepared:
    """A site that can be written."""

    site: Site
    text: str
    place: Place
    advice: tuple[Advice, ...]
    """What the main file should have."""

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The file, and the link that has nginx read it."""
        made = Artifact(self.place.file, self.text, why=f"nginx's site of {self.site.name}")
        if self.place.link is None:
            return (made,)
        return made, link(self.place.link, self.place.file, "nginx reads it")


def prepare(
    plan: Plan,
    facts: DjangoFacts | None,
    wish: Wish,
    nginx: Nginx,
    files: Configuration | None,
    *,
    name: str,
    origin: str = "",
    hostname: str = "",
    root: str = "",
) -> Prepared:
    """Make a site for an nginx whose files are `files`; `root` is the folder that stands for `/`, empty for `/`.

    Without files, or where none could be read, it goes where every nginx of a distribution looks.

    Raises NoSite, NoPlace.
    """
    wish, notes = certified(wish, facts, root)
    site = make(plan, facts, wish, nginx, name=name, origin=origin, hostname=hostname)
    has_files = files is not None and files.files
    place = place_of(site.name, files) if files is not None and has_files else _usual_place(site.name, nginx)
    counsel: tuple[Advice, ...] = ()
    if files is not None and files.is_readable:
        own = [place.file, *([place.link] if place.link is not None else [])]
        site = fit(site, files, nginx, own)
        counsel = advice(files, plan)
    site = replace(site, notes=(*notes, *site.notes))
    return Prepared(site, render(site, nginx), place, counsel)


def _usual_place(name: str, nginx: Nginx) -> Place:
    """Where nothing of nginx is there yet: what both Debian's and nginx's own main file read."""
    return Place(f"{nginx.directory}/conf.d/{name}.conf", None)


def certified(wish: Wish, facts: DjangoFacts | None, root: str = "") -> tuple[Wish, tuple[Note, ...]]:
    """Look at the certificate that is wished for, or for one that certbot has for the names."""
    names = _names(wish, facts)
    if wish.certificate and wish.key:
        # Those of a folder lie there; what is not there yet, its machine will have.
        there = not root or all(os.path.exists(root + file) for file in (wish.certificate, wish.key))
        pair = certificates.Pair(wish.certificate, wish.key)
        return wish, tuple(Note("warning", why) for why in (certificates.problems(pair, names, root) if there else ()))
    public = [name for name in names if "." in name.strip(".") and not name[-1].isdigit() and not name.startswith("[")]
    if wish.certificate or wish.key or not wish.finds_certificate or not public:
        return wish, ()
    found = certificates.certbot(public, root)
    if found is None:
        hidden = "only root sees the certificates that certbot has: run this as root to use them"
        return wish, (Note("note", hidden),) if certificates.is_hidden(root) else ()
    note = Note("note", f"with the certificate that certbot has: {found.certificate}")
    wish = replace(wish, certificate=found.certificate, key=found.key, acme_folder=found.acme_folder)
    return wish, (note,)


def _names(wish: Wish, facts: DjangoFacts | None) -> list[str]:
    names = []
    for name in wish.server_names or (facts.allowed_hosts if facts is not None else ()):
        try:
            names.append(words.host_name(name))
        except words.NotAName:
            continue
    return names
