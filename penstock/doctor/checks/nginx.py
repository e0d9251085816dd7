"""nginx: whether it passes requests here, in the right protocol, with what the application has to know, and in time."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.deploy.nginx.servers import Passing, server_for, server_of
from penstock.deploy.nginx.site import SPARE_S, USUAL_READ_TIMEOUT_S
from penstock.doctor.diagnosis import Diagnosis, Evidence, Mend
from penstock.doctor.facts import Facts, NginxFacts, SocketFact, StaticFact
from penstock.plan.findings import Row
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts

TITLE = "nginx"
ROWS: tuple[Row, ...] = (
    Row(
        "nginx-selinux",
        "error",
        "",
        "SELinux denies nginx what it needs",
        "setsebool -P httpd_can_network_connect 1 for TCP, restorecon or semanage fcontext for files and sockets",
    ),
    Row("nginx-broken", "error", "", "nginx does not take its files: it can not be reloaded or started", "nginx -t"),
    Row(
        "nginx-not-running",
        "error",
        "",
        "nginx does not run, and has a site for this instance",
        "systemctl start nginx",
    ),
    Row(
        "nginx-elsewhere",
        "error",
        "socket",
        "nginx passes requests to an address where nobody listens, and this instance listens at another one",
        "write the same address at both",
    ),
    Row(
        "nginx-private-tmp",
        "error",
        "socket",
        "nginx has a /tmp of its own (PrivateTmp) and does not see the socket in this one",
        "a socket below /run: RuntimeDirectory= of the unit makes a place",
    ),
    Row(
        "nginx-site-not-read",
        "error",
        "",
        "there is a site for this instance, and nginx does not read it",
        "link it into sites-enabled and reload nginx",
    ),
    Row(
        "nginx-port-taken",
        "error",
        "",
        "another program listens on the port of the site: nginx can not, and visitors come to that one",
        "stop it, or choose another port",
    ),
    Row(
        "nginx-other-server",
        "error",
        "",
        "requests for the site's name are answered by another server block",
        "a name of its own in server_name; default_server where no name is meant",
    ),
    Row(
        "upload-limits",
        "warning",
        "limit-post",
        "the limits of request bodies contradict each other, or are nginx's 1 MiB: uploads end in 413",
        "the same size at client_max_body_size and limit-post",
    ),
    Row(
        "client-address-lost",
        "warning",
        "trusted-proxies",
        "REMOTE_ADDR is that of nginx: limits by address and audit logs are wrong",
        "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for, from an address in trusted-proxies",
    ),
    Row(
        "nginx-files-few",
        "warning",
        "",
        "nginx may open fewer files than its connections need, which are two for each request that is passed on",
        "worker_rlimit_nofile, at least twice worker_connections",
    ),
    Row(
        "static-not-found",
        "error",
        "",
        "nginx answers 404 for static files or uploads that are there: it looks for them elsewhere",
        "alias with the directory, both with a slash at their end",
    ),
    Row(
        "static-forbidden",
        "error",
        "",
        "nginx's user may not read static files or uploads: visitors have a 403",
        "let others enter the directories and read the files, or move them, for instance to /var/www",
    ),
)
_MIB = 1 << 20
_DEFAULT_BODY = 1 << 20
_LOOPBACK = ("127.0.0.0/8", "127.0.0.1/32", "127.0.0.1")


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Look at nginx, as far as it is about this instance."""
    nginx, plan = facts.nginx, facts.plan
    if nginx is None:
        return
    yield from _selinux(facts)
    if nginx.broken:
        lines = [line for line in nginx.broken.splitlines() if "[emerg]" in line] or nginx.broken.splitlines()
        cause = f"nginx does not take its files: {lines[0].partition('] ')[2] or lines[0]}"
        cure = "correct it, then nginx -t and nginx -s reload"
        yield Diagnosis("nginx-broken", "error", cause, (Evidence("nginx -t", lines[0]),), cure)
    if plan is None:
        return
    if not nginx.mine:
        yield from _elsewhere(facts, nginx)
        return
    if not nginx.pid and not facts.is_elsewhere:
        seen = tuple(Evidence(one.to.place, str(one.directive)) for one in nginx.mine[:2])
        yield Diagnosis(
            "nginx-not-running", "error", "nginx does not run", seen, "start it", ("systemctl start nginx",)
        )
    yield from _protocols(facts, nginx)
    yield from _private_tmp(facts, nginx)
    yield from _ports(nginx)
    yield from _names(nginx)
    yield from _uploads(facts, nginx, plan)
    yield from _patience(facts, nginx, plan)
    yield from _addresses(facts, nginx, plan)
    yield from _files(nginx)
    yield from _statics(facts, nginx)


def reloads(nginx: NginxFacts) -> tuple[tuple[str, ...], ...]:
    """The commands that have nginx read its files anew, if it takes them."""
    which = () if nginx.main_file == "/etc/nginx/nginx.conf" else ("-c", nginx.main_file)
    return ("nginx", *which, "-t"), ("nginx", *which, "-s", "reload")


def _typed(nginx: NginxFacts) -> str:
    """The same as it is typed."""
    return " && ".join(" ".join(words) for words in reloads(nginx))


def _selinux(facts: Facts) -> Iterator[Diagnosis]:
    if not facts.host.selinux_enforces or not facts.host.avc:
        return
    last = facts.host.avc[-1]
    is_tcp = "tclass=tcp_socket" in last
    command = "setsebool -P httpd_can_network_connect 1" if is_tcp else f"restorecon -Rv {facts.chdir}"
    cure = "allow it; ausearch -m avc -c nginx | audit2why tells more"
    seen = (Evidence("audit log", last[-200:]),)
    yield Diagnosis("nginx-selinux", "error", "SELinux denies nginx what it needs", seen, cure, (command,))


# -- whether it comes here ---------------------------------------------------------------------------------------------


def _elsewhere(facts: Facts, nginx: NginxFacts) -> Iterator[Diagnosis]:
    ours = [one for one in facts.sockets if one.origin and one.protocol in ("http", "uwsgi")]
    for one in nginx.unread[:1]:
        cause = f"the site {one.path} passes to this instance, and nginx does not read it"
        seen = (Evidence(f"{one.path}:{one.line}", one.text), Evidence(nginx.main_file, "does not include it"))
        name = one.path.rpartition("/")[2]
        enabled = one.path.replace("/sites-available/", "/sites-enabled/")
        commands = (f"ln -s {one.path} {enabled}",) if enabled != one.path else ()
        cure = "link it, then nginx -t and nginx -s reload" if commands else f"include {name} in {nginx.main_file}"
        yield Diagnosis("nginx-site-not-read", "error", cause, seen, cure, (*commands, _typed(nginx)))
    if nginx.dead and ours and not nginx.unread:
        first = nginx.dead[0]
        meant = next((one for one in ours if one.protocol == first.to.protocol), ours[0])
        cause = f"nginx passes to {first.to.target}, where nobody listens; this instance serves {meant.address}"
        signs = [Evidence(first.to.place, str(first.directive)), *(Evidence(one.origin, one.address) for one in ours)]
        cure = f"write {_directive(meant)} there, then nginx -t and nginx -s reload"
        yield Diagnosis("nginx-elsewhere", "error", cause, tuple(signs), cure)


def _directive(one: SocketFact) -> str:
    target = f"unix:{one.address}" if one.family == "unix" else one.address
    return f"uwsgi_pass {target};" if one.protocol == "uwsgi" else f"proxy_pass http://{target};"


def _protocols(facts: Facts, nginx: NginxFacts) -> Iterator[Diagnosis]:
    for passing in nginx.mine:
        one = _socket(facts, passing)
        if one is None:
            continue
        speaks = one.speaks or one.protocol
        if speaks == passing.to.protocol:
            continue
        seen = (
            Evidence(passing.to.place, str(passing.directive)),
            Evidence(one.origin, f"{one.address} speaks {speaks}" + (", as it was tried" if one.speaks else "")),
        )
        target = f"unix:{one.address}" if one.family == "unix" else one.address
        if speaks == "uwsgi":
            cause = f"nginx sends HTTP (proxy_pass) to {one.address}, which speaks uwsgi: visitors have a 502"
            cure = f"write uwsgi_pass {target}; and include uwsgi_params; there, or http in place of socket here"
            yield Diagnosis("nginx-speaks-http", "error", cause, seen, cure)
        else:
            cause = f"nginx speaks uwsgi (uwsgi_pass) to {one.address}, which serves HTTP: visitors have a 502"
            cure = f"write proxy_pass http://{target}; there, or socket in place of http here"
            yield Diagnosis("nginx-speaks-uwsgi", "error", cause, seen, cure)
        return


def _socket(facts: Facts, passing: Passing) -> SocketFact | None:
    return next((one for one in facts.sockets if one.origin and passing.to.reaches(one.plain)), None)


def _private_tmp(facts: Facts, nginx: NginxFacts) -> Iterator[Diagnosis]:
    for one in facts.sockets:
        is_meant = any(passing.to.reaches(one.plain) for passing in nginx.mine)
        if is_meant and one.seen_by_nginx is False and one.presence == "accepts":
            cause = f"nginx does not see {one.address}: it has a {_top(one.address)} of its own (PrivateTmp=)"
            seen = (
                Evidence(one.origin, one.address),
                Evidence(f"/proc/{nginx.pid}/root{one.address}", "there is no such file"),
            )
            cure = "put the socket below /run (RuntimeDirectory= of the unit makes a place), at both sides"
            yield Diagnosis("nginx-private-tmp", "error", cause, seen, cure)


def _top(path: str) -> str:
    return "/" + path.split("/")[1]


def _ports(nginx: NginxFacts) -> Iterator[Diagnosis]:
    listens = [listen for one in nginx.mine if (server := server_of(one)) is not None for listen in server.listens]
    for port, who in nginx.holders:
        said = [one.directive for one in listens if one.port == port and one.directive is not None]
        cause = f"port {port} of the site belongs to {who}, and not to nginx"
        seen = tuple(Evidence(str(one.origin), str(one)) for one in dict.fromkeys(said))
        yield Diagnosis("nginx-port-taken", "error", cause, seen, f"stop {who}, or listen on another port")


def _names(nginx: NginxFacts) -> Iterator[Diagnosis]:
    taken = {port for port, _ in nginx.holders}
    for route in nginx.routes:
        if route.port in taken:
            continue
        host, _, port = route.address.rpartition(":")
        if not port.isdigit():
            continue
        chosen = server_for(nginx.configuration, route.name, int(port), host.strip("[]"))
        if chosen is None or str(chosen.scope.here.origin) == route.place:
            continue
        cause = f"{route.url} is answered by another server block than the one that passes to this instance"
        seen = (
            Evidence(route.place, f"passes to {route.passing.to.target}"),
            Evidence(str(chosen.scope.here.origin), f"answers: server_name {' '.join(chosen.names) or 'none'}"),
            Evidence(route.address, f"answered {route.via}"),
        )
        cure = "give them different names in server_name, or remove the other one (sites-enabled/default), and reload"
        yield Diagnosis("nginx-other-server", "error", cause, seen, cure, (_typed(nginx),))


# -- what comes through ------------------------------------------------------------------------------------------------


def _uploads(facts: Facts, nginx: NginxFacts, plan: Plan) -> Iterator[Diagnosis]:
    ours = plan.engine.body_limit_bytes
    django = facts.django if isinstance(facts.django, DjangoFacts) else None
    for passing in nginx.mine:
        said = passing.scope.value("client_max_body_size")
        limit = passing.scope.size("client_max_body_size")
        if limit is None:
            continue
        takes_files = bool(django is not None and django.media_root)
        wanted = max(ours, (django.data_upload_max_memory_size or 0) if django is not None else 0)
        if limit and limit < wanted:
            cause = f"nginx refuses bodies above {_size(limit)} with 413, and behind it {_size(wanted)} are taken"
        elif limit and said is None and takes_files:
            cause = "nginx takes bodies up to its default of 1 MiB: larger uploads end in 413"
        elif ours and (limit == 0 or limit > ours):
            cause = (
                f"nginx takes bodies of {_size(limit) if limit else 'any size'}, and passes on what ends in 413 here"
            )
        else:
            continue
        place = str(said.origin) if said is not None else passing.to.place
        value = f"client_max_body_size {said.text if said is not None else '1m, the default'}"
        post = _size(ours) if ours else "none"
        seen = [Evidence(place, value), Evidence(facts.place_of("limit-post"), f"limit-post: {post}")]
        if django is not None:
            data = django.data_upload_max_memory_size
            memory = django.file_upload_max_memory_size
            seen.append(
                Evidence(django.settings_file, f"DATA_UPLOAD_MAX_MEMORY_SIZE = {data}: forms without their files")
            )
            seen.append(Evidence("", f"FILE_UPLOAD_MAX_MEMORY_SIZE = {memory}: above it files go to disk; no limit"))
        target = _size_word(max(wanted, 10 * _MIB) if limit and (limit < wanted or not ours) else ours)
        cure = f"client_max_body_size {target}; in the server block, and limit-post = the same in bytes"
        yield Diagnosis("upload-limits", "warning", cause, tuple(seen), cure)
        return


def _size(count: int) -> str:
    return f"{count / _MIB:g} MiB" if count >= _MIB else f"{count / 1024:g} KiB" if count >= 1024 else f"{count} bytes"


def _size_word(count: int) -> str:
    return f"{-(-count // _MIB)}m"


def _patience(facts: Facts, nginx: NginxFacts, plan: Plan) -> Iterator[Diagnosis]:
    harakiri = plan.engine.harakiri.limit_s
    for passing in nginx.mine:
        module = "uwsgi" if passing.to.protocol == "uwsgi" else "proxy"
        name = f"{module}_read_timeout"
        seconds = passing.scope.seconds(name)
        if seconds is None or (harakiri and seconds > harakiri):
            continue
        said = passing.scope.value(name)
        seen = (
            Evidence(str(said.origin) if said is not None else passing.to.place, f"{name} {seconds:g}s"
                     + ("" if said is not None else ", the default")),
            Evidence(facts.place_of("harakiri"), f"harakiri = {harakiri}{'' if harakiri else ', no limit'}"),
            Evidence("", f"the order has to be: database < harakiri < {name} < the visitor's patience"),
        )  # fmt: skip
        cause = f"nginx answers 504 after {seconds:g} seconds, and a worker goes on for nobody until "
        if harakiri:
            cause += f"{harakiri}"
            cure = f"{name} {harakiri + 5}s; in nginx, or harakiri below {seconds:g}"
        else:
            cause += "the application ends by itself: there is no limit"
            # The distance that `penstock nginx` keeps, where there is room for it.
            below = max(int(seconds) - SPARE_S, int(seconds) // 2)
            cure = f"harakiri = {below}"
            if not below:
                cure = f"harakiri = {USUAL_READ_TIMEOUT_S - SPARE_S}, and {name} {USUAL_READ_TIMEOUT_S}s; in nginx"
        # Without a limit nothing is wrong as long as no request takes so long.
        yield Diagnosis("nginx-gives-up-first", "warning" if harakiri else "note", cause, seen, cure)
        return


def _addresses(facts: Facts, nginx: NginxFacts, plan: Plan) -> Iterator[Diagnosis]:
    for passing in nginx.mine:
        if passing.to.protocol == "uwsgi":
            said = {each.text for each in passing.scope.values("uwsgi_param")}
            if said and "REMOTE_ADDR" not in said:
                cause = "nginx does not send REMOTE_ADDR, and the application does not learn who asks"
                seen = (Evidence(passing.to.place, str(passing.directive)),)
                cure = "include uwsgi_params; beside it, or uwsgi_param REMOTE_ADDR $remote_addr;"
                yield Diagnosis("client-address-lost", "warning", cause, seen, cure)
                return
            continue
        named = {each.text.lower(): each for each in passing.scope.values("proxy_set_header")}
        if not named.keys() & {"x-forwarded-for", "forwarded", "x-real-ip"}:
            cause = "nginx does not say who asks: REMOTE_ADDR is nginx's own address, in logs and for limits"
            seen = (Evidence(passing.to.place, f"{passing.directive}, without X-Forwarded-For"),)
            cure = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; beside it"
            yield Diagnosis("client-address-lost", "warning", cause, seen, cure)
            return
        trusted = plan.engine.trusted_proxies
        needs = ("unix",) if passing.to.target.startswith("/") else _LOOPBACK
        is_here = passing.to.target.startswith(("/", "127.", "localhost"))
        if is_here and not set(needs) & set(trusted):
            cause = "nginx says who asks, and is not trusted: REMOTE_ADDR is nginx's own address"
            said_by = Evidence(facts.place_of("trusted-proxies"), f"trusts {', '.join(trusted) or 'nobody'}")
            signs = (Evidence(passing.to.place, str(passing.directive)), said_by)
            cure = f"trusted-proxies = {needs[0] if needs[0] == 'unix' else '127.0.0.1'} in the configuration"
            yield Diagnosis("client-address-lost", "warning", cause, signs, cure)
            return


def _files(nginx: NginxFacts) -> Iterator[Diagnosis]:
    main = nginx.configuration.main
    events = main.first("events")
    said = events.first("worker_connections") if events is not None else None
    connections = int(said.text) if said is not None and said.text.isdigit() else 512
    limit = main.first("worker_rlimit_nofile")
    most = int(limit.text) if limit is not None and limit.text.isdigit() else nginx.open_files
    if most and most < 2 * connections:
        place = str(limit.origin) if limit is not None else f"/proc/{nginx.pid}/limits"
        seen = (
            Evidence(str(said.origin) if said is not None else nginx.main_file, f"worker_connections {connections}"),
            Evidence(place, f"{most} open files"),
        )
        cause = f"nginx may open {most} files, and {connections} connections need {2 * connections}"
        cure = f"worker_rlimit_nofile {max(4 * connections, 65535)}; at the top of {nginx.main_file}"
        yield Diagnosis("nginx-files-few", "warning", cause, seen, cure)


# -- static files ------------------------------------------------------------------------------------------------------


def _statics(facts: Facts, nginx: NginxFacts) -> Iterator[Diagnosis]:
    for one in nginx.statics:
        if one.closed is not None:
            yield _forbidden(one, nginx)
        elif one.looked and not one.exists:
            cause = f"{one.url} is a 404: nginx looks for {one.looked}, which is not there"
            seen = [Evidence(one.place, f"leads to {one.looked}")]
            if one.file:
                seen.append(Evidence(one.what, one.file))
            if one.response.status:
                seen.append(Evidence(nginx.user_place, f"nginx answered {one.response} for {one.url}"))
            place = one.file[: len(one.file) - len(_tail(one))] if one.file else "DIRECTORY/"
            cure = f"location {_head(one)} {{ alias {place}; }}, both with a slash at their end; then nginx -s reload"
            if not one.file:
                cure = "make it (Django: manage.py collectstatic), or correct the path"
            yield Diagnosis("static-not-found", "error", cause, tuple(seen), cure)
        elif one.file and not one.looked and one.response.status in (403, 404):
            cause = f"{one.url} is a {one.response.status}: nginx passes it on, and nobody serves {one.file}"
            seen = [Evidence(one.place, "passes it on"), Evidence(one.what, one.file)]
            place = one.file[: len(one.file) - len(_tail(one))]
            cure = f"location {_head(one)} {{ alias {place}; }} in nginx, or static-map = {_head(one)}={place} here"
            yield Diagnosis("static-not-found", "error", cause, tuple(seen), cure)


def _head(one: StaticFact) -> str:
    """The beginning of the URL that stands for the folder."""
    return one.url[: len(one.url) - len(_tail(one))]


def _tail(one: StaticFact) -> str:
    """What URL and file have in common at their end."""
    url, file = one.url.split("/"), one.file.split("/")
    count = 0
    while count < min(len(url), len(file)) - 1 and url[-1 - count] == file[-1 - count]:
        count += 1
    # The first part of the URL names the folder, even where that is called the same.
    count = min(count, len(url) - 2)
    return "/".join(url[len(url) - count :])


def _forbidden(one: StaticFact, nginx: NginxFacts) -> Diagnosis:
    closed = one.closed
    path = closed.path if closed is not None else one.looked
    verb = "read" if path == one.looked else "enter"
    cause = f"{one.url} is a 403: nginx ({nginx.user}) may not {verb} {path}"
    seen = [Evidence(one.place, f"leads to {one.looked}"), Evidence(path, str(closed))]
    if one.response.status:
        seen.append(Evidence("", f"nginx answered {one.response}"))
    command = f"chmod o+r {path}" if verb == "read" else f"setfacl -m u:{nginx.user}:x {path}"
    # It is meant for everybody; a directory may hold more than that.
    mend = Mend(commands=(("chmod", "o+r", path),)) if verb == "read" else None
    cure = "let it, or move the files to where everybody may go, as /var/www or /srv"
    return Diagnosis("static-forbidden", "error", cause, tuple(seen), cure, (command,), mend)
