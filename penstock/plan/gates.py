"""What new code has to pass before it serves: the requests of `warmup` and `health-check`, read and checked."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from penstock.config.settings import Setting
from penstock.plan.context import Context
from penstock.plan.process_types import GatesPlan, ProbePlan

SAFE = "/?#[]@!$&'()*+,;=%:-._~"
"""What may stand in a request target as it is (RFC 3986)."""


def gates(context: Context) -> GatesPlan:
    """Everything that is done between the fork of a worker and its first request."""
    said = context.said
    return GatesPlan(
        warmups=_probes(context, "warmup"),
        warmup_timeout_s=float(said.number("warmup-timeout")),
        checks=_probes(context, "health-check"),
        check_timeout_s=float(said.number("health-check-timeout")),
        check_retries=said.number("health-check-retries"),
        statuses=tuple(_range(word) for word in (said.text("health-check-status") or "").split(",")),
        reload_timeout_s=float(said.number("reload-timeout")),
    )


def _range(word: str) -> tuple[int, int]:
    first, _, last = word.partition("-")
    return int(first), int(last or first)


def _probes(context: Context, name: str) -> tuple[ProbePlan, ...]:
    found = [_probe(context, each) for each in context.said.every(name)]
    return tuple(probe for probe in found if probe is not None)


def _probe(context: Context, setting: Setting) -> ProbePlan | None:
    """Read `/path`, `HOST/path` or `https://HOST/path`."""
    text = str(setting.value).strip()
    problem, scheme, host, target = "", "", "", text
    if not text.startswith("/"):
        has_scheme = text.lower().startswith(("http://", "https://"))
        try:
            parts = urlsplit(text if has_scheme else f"http://{text}")
            host, _ = parts.netloc, parts.port
        except ValueError as error:
            problem = f"it is no URL ({error})"
        else:
            scheme = parts.scheme if has_scheme else ""
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            if not host or "@" in host or ("://" in text and not has_scheme):
                problem = "only http and https are known, and no user names"
            elif not has_scheme and "/" not in text:
                problem = "it is neither a path nor a host with a path"
    if not problem and not (text.isprintable() and " " not in text and host.isascii()):
        problem = "it has blanks or characters that no URL has"
    if problem:
        message = f"{setting.option.name} = {text}: {problem}"
        cure = "write a path as in /status/, or with its host as in example.org/status/"
        context.error("bad-probe", message, setting.origin, cure)
        return None
    return ProbePlan(quote(target.partition("#")[0], SAFE), host, scheme, str(setting.origin))
