"""Django, held against what is in front of it and around it. The judgements are `django`'s; here is what they need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from penstock.deploy.nginx.servers import Passing, server_of
from penstock.doctor.checks import django
from penstock.doctor.checks.django import Served
from penstock.doctor.diagnosis import Diagnosis
from penstock.doctor.facts import Facts
from penstock.plan.findings import Row
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
    return Served(
        server_names=tuple(dict.fromkeys(names)),
        is_https=any(server.is_tls for server in servers) if servers else None,
        tells_scheme=all(map(_tells_scheme, mine)) if mine else None,
        has_proxy=True if mine else None,
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


def _tells_scheme(one: Passing) -> bool:
    """Whether nginx says there by which scheme a visitor came."""
    if one.to.protocol == "uwsgi":
        return bool(
            {"HTTPS", "REQUEST_SCHEME", "UWSGI_SCHEME"} & {each.text for each in one.scope.values("uwsgi_param")}
        )
    return "x-forwarded-proto" in {each.text.lower() for each in one.scope.values("proxy_set_header")}
