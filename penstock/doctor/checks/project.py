"""Django, held against what is in front of it and around it. The judgements are `django`'s; here is what they need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from penstock.deploy.nginx.servers import Passing, Server, server_of
from penstock.doctor.checks import django
from penstock.doctor.checks.django import Served
from penstock.doctor.diagnosis import Diagnosis, Evidence
from penstock.doctor.facts import Facts
from penstock.options.advice import is_reachable
from penstock.plan.findings import Row
from penstock.plan.types import ListenerPlan
from penstock.project.django_facts import DjangoFacts
from penstock.values import replace

TITLE = django.TITLE
ROWS: tuple[Row, ...] = django.ROWS


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Judge the project, if it is Django's."""
    if facts.django is not None:
        yield from (_by_own_python(one, facts) for one in django.check(facts.django, served(facts)))


def served(facts: Facts) -> Served:
    """How the project is served, as far as it is known."""
    plan, nginx = facts.plan, facts.nginx
    if plan is None:
        return Served()
    mine = nginx.mine if nginx is not None else ()
    servers = [server for one in mine if (server := server_of(one)) is not None]
    names = [name for server in servers for name in server.names if name and name != "_" and name[0] not in "~"]
    project = facts.django
    asks = isinstance(project, DjangoFacts) and project.secure_proxy_ssl_header is not None
    return Served(
        server_names=tuple(dict.fromkeys(names)),
        is_https=_is_https(mine, servers, asks=asks),
        tells_scheme=all(map(_tells_scheme, mine)) if mine else None,
        exposed=next(filter(None, map(_exposed, plan.listeners)), None) if not mine else None,
        # Whoever is trusted is believed, and everybody is by `all`.
        drops_forwarded=plan.engine.drops_forwarded and "0.0.0.0/0" not in plan.engine.trusted_proxies,
        proxy_limit_bytes=next((size for one in mine if (size := one.scope.size("client_max_body_size"))), None),
        processes=plan.processes,
        threads=plan.engine.threads,
        limit_post_bytes=plan.engine.body_limit_bytes,
        person=facts.person,
    )


def _by_own_python(diagnosis: Diagnosis, facts: Facts) -> Diagnosis:
    """Have manage.py run by the interpreter that the configuration names: whoever types it may have another."""
    if facts.plan is None or not diagnosis.commands:
        return diagnosis
    own = f"&& {shlex.quote(facts.plan.app.interpreter)} manage.py "
    commands = tuple(each.replace("&& python manage.py ", own) for each in diagnosis.commands)
    return replace(diagnosis, commands=commands)


def _exposed(listener: ListenerPlan) -> Evidence | None:
    """Show a listener for HTTP that other machines reach; one at a private address may be a balancer's alone."""
    is_tcp = listener.family in ("inet", "inet6")
    if listener.protocol == "http" and is_tcp and is_reachable(f"[{listener.host}]:{listener.port}"):
        return Evidence(listener.origin, f"{listener.name}, where anybody comes in without a proxy")
    return None


def _is_https(mine: Sequence[Passing], servers: Sequence[Server], *, asks: bool) -> bool | None:
    """Whether visitors use https; None where only who stands in front of nginx knows.

    `asks`: Django looks at a header by itself.
    """
    if any(server.is_tls for server in servers):
        return True
    is_unknown = not servers or any(_may_be_behind_tls(one, asks=asks) for one in mine)
    return None if is_unknown else False


_OWN_SCHEME = frozenset({"$scheme", "$https", "http", "off", ""})
"""What nginx says of the connection to itself; anything else may be the word of who is in front of it."""


def _may_be_behind_tls(one: Passing, *, asks: bool) -> bool:
    """Whether nginx believes or passes on what somebody in front of it says."""
    server = server_of(one)
    listens = server.listens if server is not None else ()
    if one.scope.values("set_real_ip_from") or any("proxy_protocol" in each.flags for each in listens):
        return True
    told = _schemes(one)
    # nginx leaves headers of requests as they came, where it does not write them itself.
    comes_through = asks if one.to.protocol == "uwsgi" else True
    if _PASSED_ON[one.to.protocol] not in told and comes_through:
        return True
    return not set(told.values()) <= _OWN_SCHEME


_PASSED_ON = {"http": "x-forwarded-proto", "uwsgi": "http_x_forwarded_proto"}


def _schemes(one: Passing) -> dict[str, str]:
    """What nginx says there of the scheme, by lower-case names."""
    is_uwsgi = one.to.protocol == "uwsgi"
    names = {"https", "request_scheme", "uwsgi_scheme", _PASSED_ON["uwsgi"]} if is_uwsgi else {_PASSED_ON["http"]}
    said = one.scope.values("uwsgi_param" if is_uwsgi else "proxy_set_header")
    return {each.text.lower(): each.args[1] for each in said if each.text.lower() in names and len(each.args) > 1}


def _tells_scheme(one: Passing) -> bool:
    """Whether nginx says there by which scheme a visitor came."""
    # Over the uwsgi protocol the header alone tells only a Django that asks for it.
    return bool(_schemes(one).keys() - {_PASSED_ON["uwsgi"]})
