"""The files of a matrix of configurations: the installed nginx takes each, and no rule finds anything in it.

All sites of the matrix stand in one nginx, which also shows that they do not disturb each other.
"""

from __future__ import annotations

import shutil
from functools import cache
from itertools import count, product
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from penstock.deploy.nginx import words
from penstock.deploy.nginx.installed import Nginx
from penstock.deploy.nginx.reading import read as read_nginx
from penstock.deploy.nginx.rules import judge
from penstock.deploy.nginx.servers import passings, servers
from penstock.deploy.nginx.site import NoSite, Site, Wish, make
from penstock.deploy.nginx.text import render
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts
from penstock.values import replace
from tests.deploy.nginx.test_site import plan
from tests.support.facts import django
from tests.support.nginx import OwnNginx, certificate

pytestmark = pytest.mark.skipif(shutil.which("nginx") is None, reason="needs an installed nginx")

SOCKETS = {
    "http-unix": ("--http-socket", "/run/shop/shop.sock"),
    "http-tcp": ("--http", "127.0.0.1:8000"),
    "http-tcp6": ("--http", "[::1]:8000"),
    "uwsgi-unix": ("--socket", "/run/shop/shop.sock"),
    "uwsgi-tcp": ("--socket", "127.0.0.1:3031"),
}
WISHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "behind": {"behind": ("10.0.0.0/8", "fd00::/8"), "port": 8008},
    "port": {"port": 8008},
    "limits": {"body_limit_bytes": 0},
    "protected": {"protected_media": "/protected-media/"},
    "websocket": {"websocket": ("/", "/ws/")},
    "tls": {"certificate": "PEM", "key": "KEY"},
    "tls-both": {"certificate": "PEM", "key": "KEY", "redirects": False, "tls_port": 8443},
    "tls-all": {
        "certificate": "PEM",
        "key": "KEY",
        "hsts_s": 600,
        "websocket": ("/ws/",),
        "acme_folder": "/var/www/acme $",
    },
}
FACTS: dict[str, DjangoFacts | None] = {
    "none": None,
    "django": django(),
    "hashed": django(static_is_hashed=True, static_url="/a/static/", media_url="https://cdn.example.org/m/"),
}
VERSIONS = ((1, 18, 0), (1, 22, 1), (1, 25, 1), (1, 30, 0))


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> OwnNginx:
    """An nginx that is never started."""
    folder = tmp_path_factory.mktemp("nginx")
    certificate(folder, "example.org")
    return OwnNginx(folder, http="variables_hash_max_size 8192; server_names_hash_max_size 4096;")


@cache
def plan_for(socket: str) -> Plan:
    """The plan of a configuration with one of the sockets."""
    return plan(*SOCKETS[socket], "--module", "app", "--harakiri", "30")


def rendered(
    own: OwnNginx, name: str, socket: str, facts: DjangoFacts | None, wish: dict[str, Any], nginx: Nginx
) -> str:
    """The file of one site."""
    files = {"PEM": str(own.folder / "site.pem"), "KEY": str(own.folder / "site.key")}
    wish = {key: files.get(value, value) if isinstance(value, str) else value for key, value in wish.items()}
    made = Wish(server_names=(f"{name}.example.org", f"*.{name}.example.org"), **wish)
    return render(make(plan_for(socket), facts, made, nginx, name=name), nginx)


@cache
def installed(own: OwnNginx) -> Nginx:
    """What it tells of itself."""
    return own.facts


def cleared(own: OwnNginx) -> OwnNginx:
    """Without the sites of an earlier test."""
    for path in (own.etc / "sites-enabled").iterdir():
        path.unlink()
    return own


def test_nginx_takes_the_whole_matrix_and_no_rule_finds_anything(nginx: OwnNginx) -> None:
    own, number = cleared(nginx), count()
    own.site("status", render_status(own))
    for socket, facts, wish in product(SOCKETS, FACTS.values(), WISHES.values()):
        name = f"s{next(number)}"
        own.site(name, rendered(own, name, socket, facts, {"status_port": None, **wish}, installed(own)))
    assert own.test() == ""
    configuration = read_nginx(str(own.main_file))
    assert configuration.is_readable and len(servers(configuration)) > len(SOCKETS) * len(FACTS) * len(WISHES)
    assert {each.to.protocol for each in passings(configuration)} == {"http", "uwsgi"}
    assert [str(each) for each in judge(configuration, ("/srv/shop",)) if each.code != "nginx-root-user"] == []


def render_status(own: OwnNginx) -> str:
    """One site with a status page, and one that drops what is unknown."""
    return rendered(
        own, "status", "http-unix", None, {"drops_unknown": True, "certificate": "PEM", "key": "KEY"}, own.facts
    )


@pytest.mark.parametrize("version", VERSIONS, ids=str)
@pytest.mark.parametrize("wish", WISHES)
def test_files_for_other_versions_are_read_and_judged(nginx: OwnNginx, version: tuple[int, ...], wish: str) -> None:
    own = cleared(nginx)
    for socket in SOCKETS:
        facts = replace(installed(own), version=version)
        own.site(socket, rendered(own, socket, socket, FACTS["hashed"], {"drops_unknown": True, **WISHES[wish]}, facts))
    configuration = read_nginx(str(own.main_file))
    assert configuration.is_readable
    assert [str(each) for each in judge(configuration, ("/srv/shop",)) if each.code != "nginx-root-user"] == []


ODD_LETTERS = st.sampled_from("""ab/$;{}"'\\#~^=@*()[]<>|&% \t.:,+-_éß漢🐍\udcff""")
ODD = st.text(ODD_LETTERS | st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


def odd_site(own: OwnNginx, number: int, folder: str, url: str, host: str, socket: str) -> Site | str:
    """Write a site with these odd parts; why there is none."""
    facts = django(
        static_root=f"/srv/files/{folder}",
        static_url=f"/{url}/",
        media_root=f"/srv/media{folder}",
        allowed_hosts=(host, f"s{number}.example.org"),
    )
    the_plan = plan_for("http-unix")
    listener = replace(the_plan.listeners[0], host=f"/run/{socket}"[:100])
    wish = Wish(acme_folder=f"/a/{folder}", status_port=None)
    try:
        made = make(replace(the_plan, listeners=(listener,)), facts, wish, installed(own), name=f"{socket}{number}")
    except NoSite as error:
        return error.note.cure
    # Two sites of one name would be a mistake of the test's own.
    made = replace(
        made, names=(f"s{number}.example.org", *(f"s{number}-{name}" for name in made.names if name[0] != "."))
    )
    own.site(f"odd{number:02}", render(made, installed(own)))
    return made


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # A smaller example would take minutes: each one starts nginx.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(st.lists(st.tuples(ODD, ODD, ODD, ODD), min_size=8, max_size=8))
def test_whatever_paths_and_names_hold_nginx_takes_the_file(
    nginx: OwnNginx, parts: list[tuple[str, str, str, str]]
) -> None:
    own = cleared(nginx)
    made = [odd_site(own, number, *each) for number, each in enumerate(parts)]
    assert all(made), "who gets no site is told what to do"
    assert own.test() == ""
    configuration = read_nginx(str(own.main_file))
    sites = [each for each in made if not isinstance(each, str)]
    found = servers(configuration)
    # Each is one server, and its folders are those that were meant: nothing broke out of its word.
    assert [server.names for server in found] == [tuple(map(str.lower, site.names)) for site in sites]
    for site, server in zip(sites, found, strict=True):
        aliases = [location.scope.text("alias") for location in server.locations() if location.scope.value("alias")]
        folders = [each.folder.encode("utf-8", "surrogateescape").decode("utf-8", "replace") for each in site.files]
        assert aliases == [each.replace("$", f"${{{site.variable}_dollar}}") for each in folders]


@pytest.mark.parametrize("host", ["a.org; return 200", "a.org {", "a\nb", "a.org #", '"', "a$b", "~.*", "*", "a b"])
def test_a_name_that_is_none_never_reaches_the_file(nginx: OwnNginx, host: str) -> None:
    with pytest.raises(NoSite):
        make(plan(*SOCKETS["http-unix"], "--module", "app"), None, Wish(server_names=(host,)), nginx.facts, name="x")


@pytest.mark.parametrize("odd", ["\0", "\n", "\r", "\x7f"])
def test_control_characters_are_refused(nginx: OwnNginx, odd: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        words.quoted(f"a{odd}b")
    made = make(plan_for("http-unix"), django(static_root=f"/srv/{odd}"), Wish(), installed(nginx), name="x")
    assert [each.kind for each in made.files] == ["media"] and "control character" in str(made.notes[0])
    for wish in (Wish(acme_folder=f"/a{odd}"), Wish(certificate=f"/a{odd}", key="/b")):
        with pytest.raises(NoSite):
            make(plan_for("http-unix"), None, wish, installed(nginx), name="x")
    the_plan = plan_for("http-unix")
    listener = replace(the_plan.listeners[0], host=f"/run/{odd}")
    with pytest.raises(NoSite, match="control character"):
        make(replace(the_plan, listeners=(listener,)), None, Wish(), installed(nginx), name="x")
