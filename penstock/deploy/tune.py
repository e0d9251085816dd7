"""What the kernel and the limits need to be for a configuration: present value, wanted value, reason, file. Pure.

Nothing is wanted lower than it is, and what is good is left alone. Where a container's kernel is somebody else's, each
need says how its runtime is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from penstock.deploy import service as about
from penstock.deploy.artifact import Artifact
from penstock.deploy.service import Service
from penstock.values import dataclass, replace

State = Literal["good", "raise", "by-hand"]
"""As it should be; what `--apply` sets; what only a person can change, here or outside of the container."""

NGINX_BACKLOG = 511
"""nginx's own, where its `listen` says nothing."""
WIDE_PORTS = (10240, 65535)
"""Ports for connections that begin here, where each request makes one: twice as many as the kernel's own range has."""
DGRAM_QUEUE = 512
"""Lines that wait for syslog; older kernels take 10, and then each line of the log waits for the one before."""
_SAFE = frozenset({"net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports"})
"""Of those below, what Kubernetes lets a pod set without being asked (its documentation on sysctls)."""
_OF_HOST = ("fs.", "vm.", "kernel.", "net.core.rmem_max", "net.core.wmem_max")
"""Not a container's own: the host's value counts."""


@dataclass(frozen=True, slots=True)
class Boot:
    """What a file sets at boot."""

    value: str
    place: str
    """FILE:LINE."""
    is_after_ours: bool
    """It is read later than the file that would be written."""


@dataclass(frozen=True, slots=True)
class WebServer:
    """The limits of an nginx in front."""

    connections: int
    """`worker_connections`."""
    open_files: int
    """What its workers may have open."""
    place: str
    """Where that was said, or read."""
    is_said: bool
    """By `worker_rlimit_nofile`, which nothing outside of nginx's own file changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What is there now."""

    sysctls: Mapping[str, str]
    """Name -> value; a kernel that has none of a name knows it not."""
    boot: Mapping[str, Boot]
    open_files: int
    """What the instance may have open, or a service of this machine."""
    open_files_place: str
    """Where that was read."""
    has_systemd: bool
    web_server: WebServer | None
    container: str
    """Of which kind this is; empty outside of one."""
    can_set: bool
    """Whether the kernel's values can be written here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One value."""

    key: str
    """`net.core.somaxconn`, `nofile`, `nofile of nginx`."""
    present: str
    wanted: str
    state: State
    reason: str
    """One clause."""
    file: str
    """What would be written; empty where nothing is."""
    line: str = ""
    """The line of that file that says it."""
    cure: str = ""
    """What a person does, where `--apply` can not."""
    outside: Mapping[str, str] | None = None
    """How a container's runtime is told: `docker`, `kubernetes`."""

    @property
    def is_sysctl(self) -> bool:
        """Whether the kernel itself keeps it."""
        return "." in self.key

    def as_json_value(self) -> dict[str, Any]:
        """For programs."""
        names = ("key", "present", "wanted", "state", "reason", "file", "cure")
        return {**{name: getattr(self, name) for name in names}, "outside": dict(self.outside or {})}


NAMES = (
    "net.core.somaxconn", "net.ipv4.tcp_max_syn_backlog", "fs.nr_open", "fs.file-max", "net.core.wmem_max",
    "net.core.rmem_max", "net.unix.max_dgram_qlen", "net.ipv4.tcp_fastopen", "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_reserved_ports",
)  # fmt: skip
"""Every value of the kernel that may be asked for."""


def sysctl_file(name: str) -> str:
    """Where the kernel's values for an instance are kept."""
    return f"/etc/sysctl.d/60-penstock-{name}.conf"


def needs(service: Service, host: Host) -> tuple[Need, ...]:
    """All values that matter to the configuration, good ones too."""
    made = [*_sysctls(service, host), *_limits(service, host)]
    if host.container and not host.can_set:
        made = [_outside(need) for need in made]
    return tuple(made)


def artifacts(found: Iterable[Need], service: Service) -> tuple[Artifact, ...]:
    """The files for what is to be raised."""
    all_needs = tuple(found)
    texts: dict[str, list[str]] = {need.file: [] for need in all_needs if need.state == "raise" and need.file}
    for need in all_needs:
        # What is good because such a file says it has to stay in that.
        if need.file in texts and need.state in ("raise", "good"):
            texts[need.file] += [f"# {need.reason}", need.line] if need.is_sysctl else [need.line]
    head = f"# Made by: penstock tune ({service.name}); `penstock tune --revert` takes it away\n"
    made = []
    for path, lines in texts.items():
        section = "[Service]\n" if ".service.d/" in path else ""
        made.append(Artifact(path, head + section + "\n".join(lines) + "\n", why="values for the configuration"))
    return tuple(made)


# -- the kernel --------------------------------------------------------------------------------------------------------


def _sysctls(service: Service, host: Host) -> Iterator[Need]:
    for key, wanted, reason in (*_numbers(service, host), *_port_numbers(service)):
        if key in host.sysctls:
            yield _sysctl(service, host, key, _raised(key, host.sysctls[key], wanted), reason)


def _numbers(service: Service, host: Host) -> Iterator[tuple[str, str, str]]:
    """(name, the least value, why) of what is a number."""
    plan = service.plan
    backlog = max((one.backlog for one in plan.listeners), default=0)
    front = NGINX_BACKLOG if host.web_server is not None else 0
    yield (
        "net.core.somaxconn",
        str(max(backlog, front)),
        "connections that may wait to be accepted (listen)",
    )
    queue = max([one.backlog for one in plan.listeners if about.is_public(one)] + [front])
    if queue:
        yield "net.ipv4.tcp_max_syn_backlog", str(queue), "connections that are being made, as many as may wait then"
    files = about.open_files(plan)
    yield "fs.nr_open", str(files), "the most files that a process may be allowed to open"
    total = files + about.processes(plan) * 256 + (host.web_server.open_files if host.web_server else 0)
    yield "fs.file-max", str(total), "open files of the whole machine"
    tuning = [one.tuning for one in plan.listeners]
    for key, size, option in (
        ("net.core.wmem_max", max((one.send_buffer_bytes for one in tuning), default=0), "socket-sndbuf"),
        ("net.core.rmem_max", max((one.receive_buffer_bytes for one in tuning), default=0), "socket-rcvbuf"),
    ):
        if size:
            yield key, str(size), f"largest buffer of a socket ({option})"
    streams = (plan.log.server, plan.log.requests)
    if any(one.kind == "syslog" or (one.kind == "socket" and one.path) for each in streams for one in each.loggers):
        yield "net.unix.max_dgram_qlen", str(DGRAM_QUEUE), "lines of the log that wait for who takes them"
    if any(one.fast_open for one in tuning):
        present = about.number(host.sysctls.get("net.ipv4.tcp_fastopen", "0")) or 0
        yield "net.ipv4.tcp_fastopen", str(present | 2), "TCP Fast Open of listeners (tcp-fastopen)"


def _port_numbers(service: Service) -> Iterator[tuple[str, str, str]]:
    """(name, value, why) of what matters where requests come over TCP on this machine."""
    tcp = [one for one in service.plan.listeners if one.family in ("inet", "inet6")]
    behind = [one for one in tcp if not about.is_public(one)]
    if behind:
        text = f"the proxy connects to {behind[0].name} from a port of its own each time; a unix socket needs none"
        yield "net.ipv4.ip_local_port_range", " ".join(map(str, WIDE_PORTS)), text
        yield "net.ipv4.tcp_tw_reuse", "2", "ports of connections on this machine that have just ended are used again"
    ports = sorted({one.port for one in tcp if one.port >= 1024})
    if ports:
        text = "ports that the instance listens on, which no connection from here may take while it is away"
        yield "net.ipv4.ip_local_reserved_ports", ",".join(map(str, ports)), text


def _raised(key: str, present: str, wanted: str) -> str:
    """What a value becomes: never less than it is."""
    if key == "net.ipv4.ip_local_port_range":
        pair = _pair(present)
        low, high = map(int, wanted.split())
        return f"{min(pair[0], low)} {max(pair[1], high)}" if pair else wanted
    if key == "net.ipv4.ip_local_reserved_ports":
        missing = [port for port in wanted.split(",") if not _is_among(int(port), present)]
        return ",".join([*([present] if present.strip() else []), *missing])
    if key == "net.ipv4.tcp_tw_reuse":
        return wanted if present.strip() == "0" else present
    number = about.number(present)
    return wanted if number is None else str(max(number, int(wanted)))


def _pair(text: str) -> tuple[int, int] | None:
    numbers = [about.number(word) for word in text.split()]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0], numbers[1]


def _is_among(port: int, ranges: str) -> bool:
    """Whether a port is in a list as 8080,9000-9010."""
    for part in ranges.replace(" ", "").split(","):
        first, dash, last = part.partition("-")
        low, high = about.number(first), about.number(last if dash else first)
        if low is not None and high is not None and low <= port <= high:
            return True
    return False


def _same(one: str, other: str) -> bool:
    return one.split() == other.split()


def _sysctl(service: Service, host: Host, key: str, wanted: str, reason: str) -> Need:
    present = " ".join(host.sysctls[key].split())
    file = sysctl_file(service.name)
    made = Need(
        key=key, present=present, wanted=wanted, state="good", reason=reason, file=file, line=f"{key} = {wanted}"
    )
    boot = host.boot.get(key)
    falls = boot is not None and not _same(_raised(key, boot.value, wanted), boot.value)
    if boot is not None and falls and boot.is_after_ours:
        cure = f"{boot.place} sets {boot.value} at the next start: write {wanted} there"
        return replace(made, state="by-hand", cure=cure)
    if falls or not _same(present, wanted):
        return replace(made, state="raise")
    return replace(made, file=boot.place.rpartition(":")[0] if boot is not None else "")


# -- limits of processes -----------------------------------------------------------------------------------------------


def _limits(service: Service, host: Host) -> Iterator[Need]:
    wanted = about.open_files(service.plan)
    yield _nofile(
        "nofile",
        host.open_files,
        wanted,
        f"files of one process: connections, bodies and responses on their way (now by {host.open_files_place})",
        f"/etc/systemd/system/{service.name}.service.d/60-penstock.conf"
        if host.has_systemd
        else f"/etc/security/limits.d/60-penstock-{service.name}.conf",
        service.user or "root",
    )
    server = host.web_server
    if server is None:
        return
    wanted = max(2 * server.connections, 1024)
    text = f"two for each of nginx's worker_connections, {server.connections} (now by {server.place})"
    if server.open_files < wanted and (server.is_said or not host.has_systemd):
        cure = f"worker_rlimit_nofile {wanted}; " + (f"at {server.place}" if server.is_said else "in nginx's main file")
        yield Need(
            key="nofile of nginx", present=str(server.open_files), wanted=str(wanted), state="by-hand", reason=text,
            file="", cure=cure,
        )  # fmt: skip
        return
    file = f"/etc/systemd/system/nginx.service.d/60-penstock-{service.name}.conf"
    yield _nofile("nofile of nginx", server.open_files, wanted, text, file, "")


def _nofile(key: str, present: int, wanted: int, reason: str, file: str, user: str) -> Need:
    line = f"LimitNOFILE={wanted}"
    if "limits.d" in file:
        line = f"{user} soft nofile {wanted}\n{user} hard nofile {wanted}"
    is_good = present >= wanted
    return Need(
        key=key, present=str(present), wanted=str(max(present, wanted)), state="good" if is_good else "raise",
        reason=reason, file="" if is_good else file, line=line,
    )  # fmt: skip


# -- containers --------------------------------------------------------------------------------------------------------


def _outside(need: Need) -> Need:
    """The same need where only who runs the container can meet it."""
    if need.state == "good":
        return need
    if not need.is_sysctl:
        told = {
            "docker": f"docker run --ulimit nofile={need.wanted}:{need.wanted}",
            "kubernetes": "no field of a pod: the limit of the container runtime (LimitNOFILE of containerd)",
        }
    elif need.key.startswith(_OF_HOST):
        told = {"docker": f"on the host: sysctl -w {need.key}={_quoted(need.wanted)}"}
        told["kubernetes"] = told["docker"].replace("host", "node")
    else:
        said = f'securityContext.sysctls of the pod: {{name: {need.key}, value: "{need.wanted}"}}'
        unsafe = "" if need.key in _SAFE else f" (the kubelet has to allow it: --allowed-unsafe-sysctls={need.key})"
        told = {"docker": f"docker run --sysctl {need.key}={_quoted(need.wanted)}", "kubernetes": said + unsafe}
    cure = "set it outside of the container"
    return replace(need, state="by-hand", file="", line="", cure=cure, outside=told)


def _quoted(value: str) -> str:
    return f'"{value}"' if " " in value else value
