"""The sockets of the plan: what is listened on, and how long the kernel's queue may be."""

from __future__ import annotations

from penstock.config.settings import Setting
from penstock.plan.addresses import Address, AddressError, is_bare_word, parse_address
from penstock.plan.context import Context
from penstock.plan.types import ListenerPlan, Protocol, SocketTuning

DEFAULT_BACKLOG = 1024
"""uWSGI has 100, nginx 511, gunicorn 2048. Connections wait here only while every worker is busy, so this bounds how
late an answer can come; what is above it is better refused."""
STATS_BACKLOG = 100
MOST_LISTENERS = 240
"""A generation gets all of them in one message, and Linux lets one carry 253 descriptors (unix(7), SCM_RIGHTS)."""


def listeners(context: Context) -> tuple[ListenerPlan, ...]:
    """What is listened on: the addresses of `http`, `http-socket` and `socket`, in this order."""
    spoken: Protocol = "uwsgi" if context.said.text("protocol") == "uwsgi" else "http"
    wanted: list[tuple[Protocol, Setting]] = [
        *(("http", setting) for setting in context.said.every("http", "http-socket")),
        *((spoken, setting) for setting in context.said.every("socket")),
    ]
    backlog = _backlog(context)
    taken: dict[Address, Setting] = {}
    listeners: list[ListenerPlan] = []
    wanted = _with_shared(context, wanted)
    for protocol, setting in wanted:
        address = _address(context, setting, needs_port=setting.option.name not in ("socket", "shared-socket"))
        if address is None:
            continue
        if address in taken and (address.port or address.family in ("unix", "abstract")):
            first = taken[address].origin
            context.error("same-address", f"{setting.value} is already served ({first})", setting.origin, "remove one")
        taken[address] = setting
        listeners.append(_listener(context, protocol, setting, address, backlog))
    if len(listeners) > MOST_LISTENERS:
        message = f"{len(listeners)} addresses to serve on; one instance takes {MOST_LISTENERS}"
        context.error("too-many-addresses", message, wanted[MOST_LISTENERS][1].origin, "start a second instance")
    return tuple(listeners)


def _with_shared(context: Context, wanted: list[tuple[Protocol, Setting]]) -> list[tuple[Protocol, Setting]]:
    """Put the addresses of `shared-socket` where others refer to them as `=0`, `=1`, ..."""
    shared = context.said.every("shared-socket")
    used: set[int] = set()
    filled: list[tuple[Protocol, Setting]] = []
    for protocol, setting in wanted:
        text = str(setting.value).strip()
        if not text.startswith("="):
            filled.append((protocol, setting))
            continue
        number = text[1:].strip()
        index = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else -1
        if 0 <= index < len(shared):
            used.add(index)
            filled.append((protocol, shared[index]))
            continue
        message = f"{setting.option.name} = {text}: there is no shared socket of this number"
        cure = "they are counted from 0: shared-socket = :8000 and then http = =0; or write the address here"
        context.error("no-shared-socket", message, setting.origin, cure)
    for index, setting in enumerate(shared):
        if index not in used:
            message = f"shared-socket = {setting.value}: nothing is served on it"
            cure = f"add http = ={index} (or socket), or remove it"
            context.warn("unused-shared-socket", message, setting.origin, cure)
    return filled


def _tuning(context: Context) -> SocketTuning:
    said = context.said

    def number(name: str) -> int:
        return said.number(name) if said.given(name) else 0

    return SocketTuning(
        keepalive=said.flag("so-keepalive"),
        reuse_port=said.flag("reuse-port"),
        freebind=said.flag("freebind"),
        fast_open=number("tcp-fastopen"),
        send_buffer_bytes=number("socket-sndbuf"),
        receive_buffer_bytes=number("socket-rcvbuf"),
    )


def _listener(context: Context, protocol: Protocol, setting: Setting, address: Address, backlog: int) -> ListenerPlan:
    is_unix = address.family == "unix"
    return ListenerPlan(
        protocol=protocol,
        name=str(setting.value),
        family=address.family,
        host=address.host,
        port=address.port,
        backlog=backlog,
        mode=context.said.number("chmod-socket") if is_unix and context.said.given("chmod-socket") else None,
        owner=context.said.text("chown-socket") if is_unix else None,
        origin=str(setting.origin),
        tuning=_tuning(context) if address.family in ("inet", "inet6") else SocketTuning(),
    )


def _address(context: Context, setting: Setting, needs_port: bool = False) -> Address | None:
    """Read an address; with `needs_port` a word that may as well be a host is not taken for a path."""
    text = str(setting.value)
    try:
        if is_bare_word(text):
            if needs_port:
                raise AddressError("no port", f"did you mean {text}:8000? A unix socket is written ./{text}")
            message = f"{setting.option.name} = {text}: this is a unix socket in {context.chdir}"
            context.warn(
                "bare-word-address", message, setting.origin, f"write ./{text}, or {text}:8000 if a host is meant"
            )
        address = parse_address(text, context.chdir)
        if address.family == "unix" and context.said.flag("abstract-socket"):
            return parse_address("@" + text.strip(), context.chdir)
        return address
    except AddressError as error:
        message = f"{setting.option.name} = {setting.value}: {error}"
        context.error("bad-address", message, setting.origin, error.cure)
        return None


def _backlog(context: Context) -> int:
    most = context.machine.somaxconn
    if not context.said.given("listen"):
        return min(most, DEFAULT_BACKLOG)
    wanted = context.said.number("listen")
    if wanted > most:
        context.warn(
            "backlog-lowered",
            f"listen = {wanted}: the system allows {most}, so the backlog is {most}",
            context.said.origin("listen"),
            f"raise it with sysctl -w net.core.somaxconn={wanted}",
        )
    return min(most, wanted)


def own(context: Context, name: str, others: tuple[ListenerPlan, ...]) -> ListenerPlan | None:
    """A socket that the master itself answers, `stats` or `admin`, which can not be one of `others` too."""
    said = context.said.every(name)
    address = _address(context, said[-1]) if said else None
    if address is None:
        return None
    made = _listener(context, "http", said[-1], address, STATS_BACKLOG)
    for one in others if made.port or made.family in ("unix", "abstract") else ():
        if (one.family, one.host, one.port) == (made.family, made.host, made.port):
            message = f"{name} = {made.name}: something else is served there ({one.origin})"
            context.error("same-address", message, said[-1].origin, f"choose another port or path for {name}")
    return made
