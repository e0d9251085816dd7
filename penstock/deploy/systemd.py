"""Units for systemd: the service, its socket if one is wanted, and timers. Pure: a Service in, artifacts out.

A directive is written only where the version of systemd knows it (`SINCE`). The sandbox is as tight as the instance's
own plan allows: what it writes to is writable, what lies under /home is readable, a privileged port is the one right
that is kept. `systemd-analyze security` says what that comes to; the tests hold it below 3.0, and let a real systemd
run it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from penstock.deploy import service as about
from penstock.deploy.artifact import Artifact, link
from penstock.deploy.service import NotPossible, Remark, Service, Writable
from penstock.plan.types import ListenerPlan
from penstock.values import dataclass, replace

FOLDER = "/etc/systemd/system"
OLDEST = 235
"""The first version that makes StateDirectory= and its like (2017)."""
LATEST_KNOWN = 258
WATCHDOG_S = 30
"""Sent twice in that time, while the master's loop turns and a worker is ready."""
RESTART_S = 2
START_LIMIT = (10, 300)
"""Starts in so many seconds, after which systemd gives up: what fails ten times in a row within five minutes is not
mended by an eleventh time. An import that lasts half a minute before it fails never gets there."""
SINCE = {
    "Type=notify-reload": 253,
    "RestartSteps": 254,
    "RestartMaxDelaySec": 254,
    "OOMPolicy": 243,
    "ProtectClock": 245,
    "ProtectHostname": 242,
    "ProtectKernelLogs": 244,
    "ProtectProc": 247,
    "RestrictSUIDSGID": 242,
    "FDSTORE": 254,
}
"""Directive (or what else) -> the version of systemd that brought it. What is older than OLDEST is not listed."""

_BASES = {
    "/run": "RuntimeDirectory",
    "/var/lib": "StateDirectory",
    "/var/log": "LogsDirectory",
    "/var/cache": "CacheDirectory",
}
_SPACE_FOR_OTHERS = 8
"""Descriptors in the store beside the listeners of today: a reload may bring others."""


@dataclass(frozen=True, slots=True)
class Units:
    """The files, and what to know about them."""

    artifacts: tuple[Artifact, ...]
    remarks: tuple[Remark, ...]
    enabled: tuple[str, ...]
    """Units that start at boot."""


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that is done again and again."""

    name: str
    calendar: str
    """As in systemd.time(7)."""
    command: tuple[str, ...]
    """A program by its absolute path, or a management command of the project."""


def units(service: Service, version: int, *, with_socket: bool = False, timers: Sequence[Timer] = ()) -> Units:
    """Write the units for systemd `version`.

    Raises:
        NotPossible: there are none that would work.
    """
    if version < OLDEST:
        raise NotPossible(f"systemd {version} is older than {OLDEST}", "use `penstock sysv` there")
    return _Writer(service, version, with_socket, timers).units()


class _Writer:
    def __init__(self, service: Service, version: int, with_socket: bool, timers: Sequence[Timer]) -> None:
        self.service = service
        self.plan = service.plan
        self.version = version
        self.timers = timers
        self.remarks: list[Remark] = []
        self.of_unit = [one for one in self.plan.listeners if self._can_be_in_unit(one)] if with_socket else []
        self.with_socket = with_socket
        self.own_group = service.group or (service.web_group if about.needs_web_group(service) else "")
        self._places()

    def units(self) -> Units:
        self._check()
        name = self.service.name
        artifacts = [self._artifact(f"{name}.service", self._service(), "starts, watches and stops the instance")]
        enabled = [f"{name}.service"]
        if self.with_socket:
            artifacts.append(self._artifact(f"{name}.socket", self._socket(), "binds the addresses before the service"))
            enabled.insert(0, f"{name}.socket")
        for timer in self.timers:
            title = f"{name}-{timer.name}"
            artifacts.append(self._artifact(f"{title}.service", self._job(timer), f"does {timer.name} once"))
            artifacts.append(self._artifact(f"{title}.timer", self._timer(timer), f"says when {timer.name} is done"))
            enabled.append(f"{title}.timer")
        return Units(tuple(artifacts), tuple(dict.fromkeys(self.remarks)), tuple(enabled))

    def _artifact(self, name: str, lines: Iterable[str], why: str) -> Artifact:
        by = self.service.origin or "penstock systemd"
        head = [
            f"# Made for systemd {self.version} by: {about.printable(by)}",
            f"# Changes of your own: systemctl edit {name}",
            "",
        ]
        return Artifact(f"{FOLDER}/{name}", "\n".join([*head, *lines]).rstrip("\n") + "\n", why=why)

    def knows(self, what: str) -> bool:
        """Whether the systemd that this is for has it."""
        return self.version >= SINCE.get(what, 0)

    # -- what is to be said ----------------------------------------------------------------------------------------

    def remark(self, text: str, cure: str = "") -> None:
        self.remarks.append(Remark(text, cure))

    def _check(self) -> None:
        plan, service = self.plan, self.service
        if plan.daemonize is not None:
            raise NotPossible(
                f"daemonize = {plan.daemonize}: the instance would leave its service, which then counts as ended",
                f"replace it by logto = {plan.daemonize}, or remove it: the journal keeps the log",
            )
        if not plan.listeners and not self.with_socket:
            self.remark("the configuration names no address", "add one, as http-socket = /run/NAME/NAME.sock")
        harakiri_s = plan.engine.harakiri.limit_s
        if harakiri_s > plan.drain_timeout_s:
            self.remark(
                f"requests may last {harakiri_s} seconds (harakiri), and a stop waits for {plan.drain_timeout_s:g}",
                f"worker-reload-mercy = {harakiri_s + 5} lets them end",
            )
        if not service.user and not service.needs_root:
            self.remark("the service runs as root", "name a user: --user NAME, or uid = NAME in the configuration")
        if service.needs_root:
            self.remark("the configuration needs root to start, so that the sandbox keeps the rights for that")
        for path in about.unix_paths(plan):
            if about.is_within(path, ("/tmp", "/var/tmp")):
                self.remark(
                    f"the socket {path} lies where everybody may write, and where services with a private /tmp do not"
                    " see it; this unit has none (PrivateTmp=no)",
                    f"move it to /run/{service.name}/",
                )
            elif (
                os.path.dirname(about.normal(path)) == "/run" and not service.needs_root and not self._is_of_unit(path)
            ):
                self.remark(
                    f"only root may make {path}",
                    f"move it to /run/{service.name}/{os.path.basename(path)}, or add --socket",
                )
        if not self.with_socket:
            self._check_web_server()

    def _check_web_server(self) -> None:
        service = self.service
        for one in about.shut_out(replace(service, group=self.own_group)):
            self.remark(
                f"the web server's group {service.web_group} can not connect to {one.host}",
                f"chmod-socket = 660 and chown-socket = :{service.web_group}",
            )
        for one in self.plan.listeners:
            if one.is_unix and one.mode is None and one.inherited is None:
                self.remark(
                    f"{one.name} has the permissions that UMask= leaves it", "chmod-socket = 660 says them in one place"
                )
        owner = next((one.owner for one in self.plan.listeners if (one.owner or "").partition(":")[0]), None)
        if owner is not None and not service.needs_root and owner.partition(":")[0] != service.user:
            user, _, group = owner.partition(":")
            self.remark(
                f"chown-socket = {owner}: only root can give a socket to {user}",
                f"chown-socket = :{group or service.web_group or user} is enough for the web server, or add --socket",
            )

    # -- places ----------------------------------------------------------------------------------------------------

    def _places(self) -> None:
        """Sort what is written to into directories that systemd makes, and paths that have to be there."""
        self.directories: dict[str, list[str]] = {}
        self.paths: list[Writable] = []
        for one in about.written(self.service):
            if self._is_of_unit(one.path) or self._made_by_systemd(one):
                continue
            self.paths.append(one)
        # What lies in another one needs no line of its own.
        folders = sorted({about.normal(one.directory) for one in self.paths})
        self.writable = [each for each in folders if not about.is_within(each, [o for o in folders if o != each])]

    def _made_by_systemd(self, one: Writable) -> bool:
        folder = about.normal(one.directory)
        for base, directive in _BASES.items():
            if not folder.startswith(f"{base}/"):
                continue
            inside = folder.removeprefix(f"{base}/")
            first = inside.partition("/")[0]
            if first in about.FOREIGN or ":" in inside:
                self.remark(f"{one.what} {one.path} lies in the directory of something else", "choose one of its own")
                return False
            # A directory that is there already changes hands, so only what is surely this service's.
            if base != "/run" and not self._is_own(first):
                return False
            names = self.directories.setdefault(directive, [])
            if inside not in names:
                names.append(inside)
            return True
        return False

    def _is_own(self, name: str) -> bool:
        service = self.service
        own = {service.name, service.user, os.path.basename(service.folder), os.path.basename(self.plan.app.chdir)}
        return name in own - {""}

    def _is_of_unit(self, path: str) -> bool:
        return any(one.is_unix and one.host == path for one in self.of_unit)

    def _can_be_in_unit(self, one: ListenerPlan) -> bool:
        if one.family in ("inet", "inet6") and not one.port:
            self.remark(f"{one.name}: a port that the kernel chooses can not be in a socket unit", "name a port")
            return False
        if one.family in ("inet", "inet6") and re.search(r"[^0-9.:a-fA-F]", one.host.partition("%")[0]):
            self.remark(f"{one.name}: a socket unit takes addresses, no host names", "write the address")
            return False
        if one.tuning.fast_open:
            self.remark(f"{one.name}: socket units know no tcp-fastopen", "it is not set then")
        return True

    # -- the service -----------------------------------------------------------------------------------------------

    def _service(self) -> Iterator[str]:
        yield from self._unit_section()
        yield "[Service]"
        yield from self._life()
        yield from self._identity()
        yield from self._resources()
        yield from self._made_directories()
        yield from self._sandbox()
        yield ""
        yield "[Install]"
        yield "WantedBy=multi-user.target"
        if self.with_socket:
            yield f"Also={self.service.name}.socket"

    def _unit_section(self) -> Iterator[str]:
        waits = ["network.target", *self.service.after]
        bound = [one.host for one in self.plan.listeners if one.family in ("inet", "inet6")]
        needs_network = any(
            host not in ("", "0.0.0.0", "::", "localhost", "::1") for host in bound if host[:4] != "127."
        )
        yield "[Unit]"
        yield f"Description={specifiers(self.service.name)} (Penstock)"
        if needs_network and not self.with_socket:
            yield "# An address of one interface is there only when that is up."
            yield "Wants=network-online.target"
            waits[0] = "network-online.target"
        yield f"After={' '.join(waits)}"
        if self.with_socket:
            yield f"Requires={self.service.name}.socket"
        yield f"StartLimitBurst={START_LIMIT[0]}"
        yield f"StartLimitIntervalSec={START_LIMIT[1]}"
        yield ""

    def _life(self) -> Iterator[str]:
        service, plan = self.service, self.plan
        if self.knows("Type=notify-reload"):
            yield "Type=notify-reload"
        else:
            yield "Type=notify"
        yield "NotifyAccess=main"
        yield f"ExecStart={command_line(service.command)}"
        if not self.knows("Type=notify-reload"):
            yield "# Returns when the new code serves; if it does not, the old code goes on and the reload has failed."
            yield f"ExecReload={command_line(self._program())} reload --pid $MAINPID"
        yield f"WorkingDirectory={specifiers(service.folder)}"
        yield f"WatchdogSec={WATCHDOG_S}"
        yield f"Restart={'always' if plan.exit_on_reload else 'on-failure'}"
        yield f"RestartSec={RESTART_S}"
        if self.knows("RestartSteps"):
            yield "RestartSteps=5"
            yield "RestartMaxDelaySec=60"
        if plan.term == "reload":
            yield "# SIGTERM reloads here (die-on-term = false)."
            yield "KillSignal=SIGINT"
        yield "# The master ends its workers itself, when their requests are over."
        yield "KillMode=mixed"
        more = self._more_of_stop()
        yield f"# Requests have {plan.drain_timeout_s:g} s (worker-reload-mercy){more}; what takes longer hangs."
        yield f"TimeoutStopSec={about.stop_s(plan)}"
        if self.knows("OOMPolicy"):
            yield "# A worker that the kernel kills for want of memory is replaced; the others go on."
            yield "OOMPolicy=continue"

    def _program(self) -> list[str]:
        """What runs Penstock, without what it is told to do."""
        command = self.service.command
        return list(command[:3]) if command[1:3] == ("-m", "penstock") else list(command[:1])

    def _more_of_stop(self) -> str:
        plan = self.plan
        more = f", after {plan.drain_delay_s:g} s in which nothing changes (drain-delay)" if plan.drain_delay_s else ""
        return more + (f", attached programs {plan.programs.mercy_s:g} s more" if plan.programs.each else "")

    def _identity(self) -> Iterator[str]:
        service = self.service
        if service.needs_root or not service.user:
            return
        yield ""
        yield f"User={service.user}"
        if self.own_group:
            yield f"Group={self.own_group}"
        more = [*self.plan.groups.more]
        more += [group for one in self.plan.listeners if (group := (one.owner or "").partition(":")[2])]
        more = [group for group in dict.fromkeys(more) if group not in (self.own_group, "")]
        if more:
            yield f"SupplementaryGroups={' '.join(more)}"
        if any(one.is_unix and one.mode is None for one in self.plan.listeners) and not self.with_socket:
            yield "# Sockets have no permissions of their own (chmod-socket): the group may connect."
            yield "UMask=0007"
        elif self.plan.umask is None and self.own_group and self.own_group == service.web_group:
            # Elsewhere the web server reads media files as anybody does.
            yield "UMask=0027"

    def _resources(self) -> Iterator[str]:
        yield ""
        yield f"LimitNOFILE={about.open_files(self.plan)}"
        if self.plan.limits.nice is not None and self.plan.limits.nice < 0:
            yield f"Nice={self.plan.limits.nice}"
        own = len(self.plan.listeners) - len(self.of_unit)
        if own:
            yield "# Listening sockets outlive a restart: who connects meanwhile waits."
            yield f"FileDescriptorStoreMax={own + _SPACE_FOR_OTHERS}"
            if not self.knows("FDSTORE"):
                yield f"Environment=FDSTORE={own + _SPACE_FOR_OTHERS}"

    def _made_directories(self) -> Iterator[str]:
        in_run = any(about.is_within(one.host, ("/run",)) for one in self.plan.listeners if one.is_unix)
        if self.directories:
            yield ""
        for directive in _BASES.values():
            names = self.directories.get(directive)
            if not names:
                continue
            yield f"{directive}={' '.join(quoted(name) for name in sorted(names))}"
            if directive == "RuntimeDirectory" and in_run:
                # The socket's name must be there when its descriptor comes back.
                yield f"RuntimeDirectoryPreserve={'yes' if self.of_unit else 'restart'}"

    # -- the sandbox -----------------------------------------------------------------------------------------------

    def _sandbox(self) -> Iterator[str]:
        service, plan = self.service, self.plan
        places = about.read(service) + [one.path for one in about.written(service)]
        under_home = any(about.is_within(path, ("/home", "/root", "/run/user")) for path in places)
        under_tmp = any(about.is_within(path, ("/tmp", "/var/tmp")) for path in [*places, *about.unix_paths(plan)])
        yield ""
        yield "# What it can not do, even if somebody makes the application do it."
        yield "NoNewPrivileges=yes"
        yield "ProtectSystem=strict"
        # A /tmp of its own is writable, the machine's is not; the control socket is there where nothing else was made.
        writable = [*self.writable, *(["/tmp"] if under_tmp and "/tmp" not in self.writable else [])]
        if self.writable:
            yield "# Written to by " + ", ".join(dict.fromkeys(about.printable(one.what) for one in self.paths)) + "."
        if writable:
            yield f"ReadWritePaths={' '.join(quoted('-' + path) for path in writable)}"
        yield f"ProtectHome={'read-only' if under_home else 'yes'}"
        yield f"PrivateTmp={'no' if under_tmp else 'yes'}"
        yield "PrivateDevices=yes"
        for name in ("ProtectKernelTunables", "ProtectKernelModules", "ProtectKernelLogs", "ProtectControlGroups",
                     "ProtectClock", "ProtectHostname"):  # fmt: skip
            if self.knows(name):
                yield f"{name}=yes"
        if self.knows("ProtectProc"):
            yield "ProtectProc=invisible"
        rights = self._rights()
        yield f"CapabilityBoundingSet={' '.join(rights)}"
        if rights and not service.needs_root:
            yield f"AmbientCapabilities={' '.join(rights)}"
        for name in ("RestrictSUIDSGID", "RestrictRealtime", "RestrictNamespaces", "LockPersonality"):
            if self.knows(name):
                yield f"{name}=yes"
        yield "# Netlink: resolvers ask it which addresses there are."
        yield "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK"
        yield "SystemCallArchitectures=native"
        yield "SystemCallFilter=@system-service"
        if not service.needs_root:
            yield "SystemCallFilter=~@privileged"
            # Without rights it gives files to the user's own groups only, which sockets and uploads may need.
            yield "SystemCallFilter=@chown"
        yield "SystemCallErrorNumber=EPERM"

    def _rights(self) -> list[str]:
        needed = ["CAP_NET_BIND_SERVICE"] if any(0 < one.port < 1024 for one in about.sockets(self.plan)) else []
        if self.service.needs_root or not self.service.user:
            needed += ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID"]
        return needed

    # -- beside the service ----------------------------------------------------------------------------------------

    def _socket(self) -> Iterator[str]:
        service = self.service
        if not self.of_unit:
            raise NotPossible(
                "no address of the configuration can be in a socket unit",
                "name one with a path or a port, or no --socket",
            )
        yield "[Unit]"
        yield f"Description={specifiers(service.name)}'s sockets"
        yield ""
        yield "[Socket]"
        for one in self.of_unit:
            yield f"ListenStream={specifiers(_stream(one))}"
        yield f"Backlog={max(one.backlog for one in self.of_unit)}"
        unix = [one for one in self.of_unit if one.is_unix]
        if unix:
            owner = next((one.owner for one in unix if one.owner), "") or ""
            user, _, group = owner.partition(":")
            mode = next((one.mode for one in unix if one.mode is not None), 0o660)
            yield f"SocketMode={mode:04o}"
            if user or service.user:
                yield f"SocketUser={user or service.user}"
            if group or service.web_group or self.own_group:
                yield f"SocketGroup={group or service.web_group or self.own_group}"
            if not any(about.is_within(one.host, ("/tmp", "/var/tmp")) for one in unix):
                yield "RemoveOnStop=yes"
        tuning = [one.tuning for one in self.of_unit]
        if any(one.keepalive for one in tuning):
            yield "KeepAlive=yes"
        if any(one.reuse_port for one in tuning):
            yield "ReusePort=yes"
        if any(one.freebind for one in tuning):
            yield "FreeBind=yes"
        for name, size in (
            ("SendBuffer", max(one.send_buffer_bytes for one in tuning)),
            ("ReceiveBuffer", max(one.receive_buffer_bytes for one in tuning)),
        ):
            if size:
                yield f"{name}={size}"
        yield ""
        yield "[Install]"
        yield "WantedBy=sockets.target"

    def _job(self, timer: Timer) -> Iterator[str]:
        service = self.service
        yield "[Unit]"
        yield f"Description={specifiers(service.name)}: {specifiers(timer.name)}"
        yield f"After={' '.join(['network.target', *service.after])}"
        yield ""
        yield "[Service]"
        yield "Type=oneshot"
        yield f"ExecStart={command_line(self._job_command(timer))}"
        yield f"WorkingDirectory={specifiers(service.folder)}"
        yield from self._identity()
        # The directories of the service are the service's: a job must not take them away with it.
        state = [name for name in ("StateDirectory", "LogsDirectory", "CacheDirectory") if name in self.directories]
        for name in state:
            yield f"{name}={' '.join(quoted(each) for each in sorted(self.directories[name]))}"
        yield from self._sandbox()

    def _job_command(self, timer: Timer) -> list[str]:
        service = self.service
        if timer.command[0].startswith("/"):
            return list(timer.command)
        if not service.manage:
            raise NotPossible(
                f"--timer {timer.name}: {timer.command[0]} is no absolute path, and the project has no manage.py",
                "name the program by its path",
            )
        # In the surroundings of the application: its interpreter, its variables, its directory.
        arguments = " ".join(timer.command)
        return [*service.command, "--pyrun", service.manage, "--pyargv", arguments]

    def _timer(self, timer: Timer) -> Iterator[str]:
        yield "[Unit]"
        yield f"Description={specifiers(self.service.name)}: when {specifiers(timer.name)} is done"
        yield ""
        yield "[Timer]"
        yield f"OnCalendar={timer.calendar}"
        yield "# What was missed while the machine was off is done when it is on again."
        yield "Persistent=yes"
        yield ""
        yield "[Install]"
        yield "WantedBy=timers.target"


def enabling(made: Units) -> list[Artifact]:
    """The links that `systemctl enable` makes, for a root where it can not be run."""
    links = []
    texts = {os.path.basename(one.path): one.text for one in made.artifacts}
    for name in made.enabled:
        target = next(re.finditer(r"^WantedBy=(\S+)$", texts[name], re.M))[1]
        links.append(link(f"{FOLDER}/{target}.wants/{name}", f"{FOLDER}/{name}", "starts it at boot"))
    return links


def _stream(one: ListenerPlan) -> str:
    match one.family:
        case "unix":
            return one.host
        case "abstract":
            return f"@{one.host}"
        case "inet6":
            return f"[{one.host or '::'}]:{one.port}"
        case _:
            return f"{one.host or '0.0.0.0'}:{one.port}"


# -- how systemd reads -------------------------------------------------------------------------------------------------


def specifiers(text: str) -> str:
    """Text as it stands, for a value without words: `%` is the only letter with a meaning."""
    _refuse_control(text)
    return text.replace("%", "%%")


def quoted(word: str) -> str:
    """One word of a list of words."""
    _refuse_control(word)
    plain = word.replace("%", "%%")
    if re.fullmatch(r"[\w./:=@,+%~-]+", plain, re.ASCII):
        return plain
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'


def command_line(words: Sequence[str]) -> str:
    """A command for ExecStart=, where `$` begins a variable as well. Raises NotPossible."""
    first, *rest = words
    if "$" in first:
        # systemd replaces variables in arguments only, and so undoes `$$` only there.
        return " ".join([quoted(first), *(quoted(word).replace("$", "$$") for word in rest)])
    return " ".join(quoted(word).replace("$", "$$") for word in words)


def _refuse_control(text: str) -> None:
    if not text.isprintable():
        raise NotPossible(f"{text!r} can not stand in a unit", "choose a name of letters that can be printed")


# -- timers as they are asked for --------------------------------------------------------------------------------------

_WORDS = ["minutely", "hourly", "daily", "monthly", "weekly", "yearly", "annually", "quarterly", "semiannually"]
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)(?:day|sday|nesday|rsday|urday)?"
_DAYS = rf"{_DAY}(?:(?:\.\.|,){_DAY})*"
_PART = r"[0-9*/.,]+"
_DATE = rf"(?:{_PART}-)?{_PART}[-~]{_PART}"
_TIME = rf"{_PART}:{_PART}(?::{_PART})?"
_ZONE = r"(?:UTC|[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)"
_CALENDAR = re.compile(
    rf"(?:{_DAYS}(?: {_DATE})?(?: {_TIME})?|{_DATE}(?: {_TIME})?|{_TIME}|{'|'.join(_WORDS)})(?: {_ZONE})?", re.I
)


def timer_of(text: str) -> Timer:
    """Read `NAME=CALENDAR:COMMAND`; the calendar may have colons itself: the longest one counts.

    >>> timer_of("clearsessions=daily:clearsessions").command
    ('clearsessions',)
    >>> timer_of("report=Mon..Fri 06:30:report --short").calendar
    'Mon..Fri 06:30'

    Raises:
        NotPossible: it can not be read.
    """
    import shlex

    cure = "write NAME=CALENDAR:COMMAND, as clearsessions=daily:clearsessions or report=Mon..Fri 06:30:report"
    name, _, rest = text.partition("=")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise NotPossible(f"--timer {text}: {name or 'nothing'!r} is no name of small letters, digits and dashes", cure)
    for end in reversed([match.start() for match in re.finditer(":", rest)]):
        calendar, command = rest[:end].strip(), rest[end + 1 :].strip()
        if _CALENDAR.fullmatch(calendar) and command:
            try:
                words = tuple(shlex.split(command))
            except ValueError as error:
                raise NotPossible(f"--timer {text}: {error}", cure) from error
            if os.path.basename(words[0]) == "manage.py":
                words = words[1:]
            if words:
                return Timer(name, calendar, words)
    raise NotPossible(f"--timer {text}: there is no calendar with a command behind it", cure)
