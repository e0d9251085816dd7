"""Inherited sockets in the plan: which address is there already, and what else is served.

An address that is configured takes the inherited socket of the same address instead of binding it. What is left is
served too, as uWSGI does; of what Penstock had stored itself (`STORED_PREFIX`), what is left is given back.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from penstock.plan.context import Context
from penstock.plan.types import InheritedSocket, ListenerPlan, Protocol
from penstock.values import replace

STORED_PREFIX = "penstock-"
"""How the names begin that Penstock stores sockets under; what follows is the address."""

SALVAGED = f"{STORED_PREFIX}salvaged-"
"""The same, of sockets that are all that is left of an upgrade that went wrong; nobody else has them."""


def with_inherited(
    context: Context, listeners: Sequence[ListenerPlan], *own: ListenerPlan | None
) -> tuple[tuple[ListenerPlan, ...], tuple[ListenerPlan | None, ...], tuple[InheritedSocket, ...]]:
    """Take over what was bound for this process: the listeners, the master's own sockets, and what nobody uses."""
    free = list(context.machine.inherited)
    for one in free:
        if one.family is None:
            who = f"descriptor {one.fd} ({one.name or 'no name'})"
            message = f"{who}, passed at the start, is no listening stream socket"
            context.warn("inherited-unusable", message, None, "use ListenStream= and Accept=no in the socket unit")
    wanted = [_taken(free, plan, is_same) for plan in listeners]
    taken = tuple(one and _taken(free, one, is_same) for one in own)
    # The others first: what is left may be what the kernel once chose for port 0.
    wanted = [_taken(free, plan, _may_be) if plan.inherited is None else plan for plan in wanted]
    usual: Protocol = "uwsgi" if context.said.text("protocol") == "uwsgi" else "http"
    for one in list(free):
        if one.family is not None and not one.name.startswith(STORED_PREFIX):
            free.remove(one)
            wanted.append(_additional(one, protocol_of(one, listeners, usual)))
    return tuple(wanted), taken, tuple(free)


def _may_be(one: InheritedSocket, plan: ListenerPlan) -> bool:
    """Whether a socket that was stored can be what a plan asks for with port 0."""
    return not plan.port and one.name.startswith(STORED_PREFIX) and is_same(one, replace(plan, port=one.port))


def _taken(
    free: list[InheritedSocket], plan: ListenerPlan, fits: Callable[[InheritedSocket, ListenerPlan], bool]
) -> ListenerPlan:
    same = next((one for one in free if fits(one, plan)), None)
    if same is None:
        return plan
    free.remove(same)
    return replace(plan, inherited=same)


def _additional(one: InheritedSocket, protocol: Protocol) -> ListenerPlan:
    assert one.family is not None, "the caller has seen to it"
    return ListenerPlan(
        protocol=protocol,
        name=name_of(one),
        family=one.family,
        host=one.host,
        port=one.port,
        backlog=0,
        mode=None,
        owner=None,
        origin=f"LISTEN_FDS {one.name}".rstrip(),
        inherited=one,
    )


def is_same(one: InheritedSocket, plan: ListenerPlan) -> bool:
    """Whether an inherited socket is what a plan asks for."""
    if plan.family in ("unix", "abstract"):
        return (one.family, one.host) == (plan.family, plan.host.removeprefix("@"))
    if not plan.port or plan.port != one.port or one.family not in ("inet", "inet6"):
        return False
    wildcard = one.host in ("0.0.0.0", "::")
    if plan.host in ("", "0.0.0.0", "::"):
        # `ListenStream=8000` is [::]:8000 for both families, and `:8000` every address of IPv4.
        return wildcard and (one.family == plan.family or (one.takes_ipv4 and plan.family == "inet"))
    return one.family == plan.family and one.host in _numeric(plan)


def _numeric(plan: ListenerPlan) -> set[str]:
    family = socket.AF_INET6 if plan.family == "inet6" else socket.AF_INET
    try:
        return {str(each[4][0]) for each in socket.getaddrinfo(plan.host, plan.port, family, socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return set()


def name_of(one: InheritedSocket) -> str:
    """Write the address as a user would."""
    match one.family:
        case "unix":
            return one.host
        case "abstract":
            return f"@{one.host}"
        case "inet6":
            return f"[{one.host}]:{one.port}"
        case _:
            return f"{one.host}:{one.port}"


def protocol_of(one: InheritedSocket, served: Sequence[ListenerPlan], usual: Protocol) -> Protocol:
    """Decide what is spoken on a socket that no option names: its name says it, or one of the same port."""
    named: dict[str, Protocol] = {"http": "http", "uwsgi": "uwsgi"}
    if one.name in named:
        return named[one.name]
    return next((plan.protocol for plan in served if plan.port and plan.port == one.port), usual)
