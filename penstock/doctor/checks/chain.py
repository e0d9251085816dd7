"""The chain, tried: a request through nginx, and the same at the socket behind it. It tells which hop fails."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.doctor.checks.nginx import reloads
from penstock.doctor.diagnosis import Diagnosis, Evidence, Mend
from penstock.doctor.facts import Asked, Facts, NginxFacts, Response, Route
from penstock.plan.findings import Row

TITLE = "The chain"
ROWS: tuple[Row, ...] = (
    Row(
        "chain-no-nginx",
        "error",
        "",
        "nobody answers where nginx should listen",
        "start or reload nginx: it listens where its files say only after that",
    ),
    Row(
        "chain-not-passed",
        "error",
        "",
        "nginx answers 502, 503 or 504, and the socket behind it answers",
        "the error log of nginx says why; its last lines are shown",
    ),
    Row(
        "chain-other-answer",
        "error",
        "",
        "nginx answers by itself, and the request did not come to the instance",
        "reload nginx, and see which server block and location answer",
    ),
    Row(
        "chain-app-fails",
        "error",
        "",
        "the application itself fails: it answers 500 or not at all",
        "the log of the instance has the traceback",
    ),
    Row(
        "chain-host-refused",
        "error",
        "",
        "the application answers 400 for the site's own name, as Django does for a host that is not allowed",
        "add the name to ALLOWED_HOSTS",
    ),
)
_SEE_LOG = "see the log of the instance, which has the traceback; statistics show what threads are busy with"
_PHRASES = (
    (
        "too big header",
        "{module}_buffer_size 32k; and {module}_buffers 8 32k; beside {module}_pass, then nginx -s reload",
    ),
    ("timed out", "see what the application waits for; {module}_read_timeout says how long nginx does"),
    ("prematurely closed", "see the log of the instance: a worker ended in the middle of the request"),
)
"""What nginx's log says, and what is to be done about it."""
_GATEWAY = frozenset({502, 503, 504})


def check(facts: Facts) -> Iterator[Diagnosis]:
    """Judge each way."""
    nginx = facts.nginx
    if facts.asked is not None:
        yield from _asked(facts.asked)
    if nginx is None:
        return
    for route in nginx.routes:
        found = _judge(facts, nginx, route)
        if found is not None:
            yield found


def hops(route: Route) -> str:
    """Say in one line how far a request comes: `client -> nginx 127.0.0.1:80 -> /run/app.sock -> app: 200`."""
    target = route.passing.to.target
    if not route.via.is_connected:
        return f"client -> nginx {route.address}: {route.via.error}"
    if not route.direct.is_connected:
        return f"client -> nginx {route.address} -> {target}: {route.direct.error}"
    if not route.direct.status:
        return f"client -> nginx {route.address} -> {target} -> app: {route.direct.error}"
    if route.via.status in _GATEWAY and route.direct.status not in _GATEWAY:
        return f"client -> nginx {route.address} -x- {target}: nginx answers {route.via}, the app {route.direct}"
    if is_other(route):
        return f"client -> nginx {route.address} -x- {target}: nginx answers {route.via} by itself"
    return f"client -> nginx {route.address} -> {target} -> app: {route.via}"


def hop(asked: Asked) -> str:
    """The same where no nginx is on the way."""
    return f"client -> {asked.address} -> app: {asked.response}"


def ways(facts: Facts) -> list[str]:
    """One line for each way that was tried."""
    tried = [hops(route) for route in facts.nginx.routes] if facts.nginx is not None else []
    return [*tried, *([hop(facts.asked)] if facts.asked is not None else [])]


def _asked(one: Asked) -> Iterator[Diagnosis]:
    answer = one.response
    if not answer.is_connected or (answer.status and answer.status not in (500, 501)):
        return
    said = f"answers {answer.status}" if answer.status else f"does not answer: {answer.error}"
    cause = f"the application {said} for http://{one.host}/"
    seen = (Evidence(one.origin, one.address), Evidence(one.address, f"a request from here: {answer}"))
    yield Diagnosis("chain-app-fails", "error", cause, seen, _SEE_LOG)


def is_other(route: Route) -> bool:
    """Whether nginx answered something by itself that the application did not say."""
    via, direct = route.via, route.direct
    if not via.status or not direct.status or route.was_reached:
        return False
    return via.status != direct.status or (route.was_reached is False and via.body != direct.body)


def _judge(facts: Facts, nginx: NginxFacts, route: Route) -> Diagnosis | None:
    via, direct = route.via, route.direct
    seen = [Evidence(route.place, f"{route.url} passes to {route.passing.to.target}"), *_answers(route)]
    if not via.is_connected:
        cause = f"nobody answers at {route.address}, where nginx should listen for {route.name}: {via.error}"
        cure = "nginx -t, then start or reload it: it listens where its files say only after that"
        return Diagnosis(
            "chain-no-nginx",
            "error",
            cause,
            tuple(seen),
            cure,
            (" && ".join(" ".join(each) for each in reloads(nginx)),),
        )
    if not direct.is_connected:
        # Said where sockets are looked at.
        return None
    if direct.status in (500, 501) or not direct.status:
        said = f"answers {direct.status}" if direct.status else f"does not answer: {direct.error}"
        cause = f"the application {said} for {route.url}"
        return Diagnosis("chain-app-fails", "error", cause, tuple(seen), _SEE_LOG)
    if via.status in _GATEWAY and direct.status not in _GATEWAY:
        logged = [line.partition(", client: ")[0] for line in nginx.log_lines[-2:]]
        lines = [Evidence(nginx.error_log, line[:200]) for line in dict.fromkeys(logged)]
        cause = f"nginx answers {via.status} for {route.url}, and the socket behind it answers {direct}"
        module = route.passing.directive.name.removesuffix("_pass")
        known = next((cure for phrase, cure in _PHRASES if logged and phrase in logged[-1]), "")
        cure = known.format(module=module) or f"see the error log of nginx: {nginx.error_log}"
        return Diagnosis("chain-not-passed", "error", cause, (*seen, *lines), cure)
    if is_other(route):
        cause = f"nginx answers {via} for {route.url} by itself: the request does not come to this instance"
        cure = "reload nginx if its files were changed since; else see which server block and location answer"
        words = reloads(nginx)
        command = " && ".join(" ".join(each) for each in words)
        return Diagnosis("chain-other-answer", "error", cause, tuple(seen), cure, (command,), Mend(commands=words))
    if via.status == 400 and direct.status == 400:
        cause = f"the application refuses the name {route.name} (400), as Django does for hosts that are not allowed"
        return Diagnosis("chain-host-refused", "error", cause, tuple(seen), f"ALLOWED_HOSTS = [{route.name!r}, ...]")
    return None


def _answers(route: Route) -> list[Evidence]:
    def told(response: Response) -> str:
        return f"{response} after {response.seconds * 1000:.0f} ms" if response.status else str(response)

    return [
        Evidence(route.address, f"through nginx: {told(route.via)}"),
        Evidence(route.passing.to.target, f"the socket itself: {told(route.direct)}"),
    ]
