"""What the files of a project say about its containers: Dockerfile, compose files, manifests of Kubernetes.

Every value with its line. A file that is no YAML, or none of these, is passed over.
"""

from __future__ import annotations

import glob
import json
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.doctor.facts import Container, Probe
from penstock.plan.modules import read_source
from penstock.values import dataclass

_DOCKERFILES = (
    "Dockerfile",
    "Dockerfile.*",
    "*.Dockerfile",
    "Containerfile",
    "docker/Dockerfile*",
    "deploy/Dockerfile*",
)
_COMPOSE = ("compose.y*ml", "compose.*.y*ml", "docker-compose.y*ml", "docker-compose.*.y*ml", "deploy/*compose*.y*ml")
_KUBERNETES = ("*.y*ml", "k8s/*.y*ml", "kubernetes/*.y*ml", "deploy/*.y*ml", "manifests/*.y*ml", "deploy/*/*.y*ml")
_SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "ksh"})
_SERVERS = frozenset({"penstock", "uwsgi"})
_LARGEST = 1 << 18
_MOST_FILES = 60
_DEEPEST = 20
_MOST_NODES = 20_000
GRACE_OF_DOCKER_S = 10.0
GRACE_OF_KUBERNETES_S = 30.0


def containers(folder: str) -> tuple[Container, ...]:
    """Everything that is said about containers in a project."""
    found: list[Container] = []
    for path in _paths(folder, _DOCKERFILES):
        found += _dockerfile(path)
    compose = list(_paths(folder, _COMPOSE))
    for path in compose:
        for document in _documents(path):
            found += _compose(path, document)
    for path in _paths(folder, _KUBERNETES):
        if path not in compose:
            for document in _documents(path):
                found += _kubernetes(path, document)
    return tuple(found)


def _paths(folder: str, patterns: Sequence[str]) -> Iterator[str]:
    seen: dict[str, None] = {}
    for pattern in patterns:
        for path in sorted(glob.glob(os.path.join(glob.escape(folder), pattern))):
            if os.path.isfile(path):
                seen[path] = None
    return iter(list(seen)[:_MOST_FILES])


# -- commands ----------------------------------------------------------------------------------------------------------


def stays_a_shell(words: Sequence[str]) -> bool:
    """Whether a command is a shell that goes on beside what it starts: a text without `exec` at its end."""
    if not words or os.path.basename(words[0]) not in _SHELLS:
        return False
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        flag = rest.pop(0)
        if "c" in flag and rest:
            return _last_command(rest[0])[:1] != ["exec"]
    return False


def _last_command(text: str) -> list[str]:
    last = re.split(r"&&|\|\||;|\n", text.strip().rstrip(";"))[-1]
    return _split(last)


def runs_server(words: Sequence[str]) -> bool:
    """Whether a command starts this server, itself or by a shell."""
    every = [word for each in words for word in _split(each)]
    return any(os.path.basename(word) in _SERVERS for word in every)


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


# -- Dockerfile --------------------------------------------------------------------------------------------------------


def _dockerfile(path: str) -> Iterator[Container]:
    text = (read_source(path) or b"")[:_LARGEST].decode("utf-8", "replace")
    entrypoint: tuple[list[str], int, str] | None = None
    command: tuple[list[str], int, str] | None = None
    health: Probe | None = None
    for line, word, rest in _instructions(text):
        if word == "FROM":
            # Only the last stage becomes the image.
            entrypoint = command = health = None
        elif word == "ENTRYPOINT":
            entrypoint = (_command(rest), line, rest)
        elif word == "CMD":
            command = (_command(rest), line, rest)
        elif word == "HEALTHCHECK":
            health = _asked(f"{path}:{line}", rest)
    said = entrypoint or command
    if said is None:
        return
    words = [*(entrypoint[0] if entrypoint else ()), *(command[0] if command else ())]
    runs = runs_server(words)
    yield Container(
        kind="dockerfile",
        place=f"{path}:{said[1]}",
        command=said[2],
        is_shell=runs and stays_a_shell(said[0] if entrypoint else words),
        runs_penstock=runs,
        liveness=health,
    )


def _command(text: str) -> list[str]:
    """The words of the JSON form; the other form is a shell's."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list):
            return [str(word) for word in words]
    return ["/bin/sh", "-c", text]


def _instructions(text: str) -> Iterator[tuple[int, str, str]]:
    carried, began = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        plain = line.strip()
        if plain.startswith("#") or (not plain and not carried):
            continue
        if not carried:
            began = number
        if plain.endswith("\\"):
            carried += plain[:-1] + " "
            continue
        word, _, rest = (carried + plain).partition(" ")
        carried = ""
        yield began, word.upper(), rest.strip()


def _asked(place: str, text: str) -> Probe | None:
    """A URL in the command of a health check."""
    match = re.search(r"https?://[^\s/:'\"|]+(?::(\d{1,5}))?(/[^\s'\"|)]*)?", text)
    if match is None:
        return None
    return Probe(place, match[0], int(match[1] or 80), match[2] or "/")


# -- YAML --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a YAML file, and its line."""

    plain: Any
    """Text, or a dictionary or list of these."""
    line: int

    def get(self, *path: str) -> Value:
        """The value at a path of keys; an empty text where there is none."""
        found = self
        for key in path:
            inner = found.plain.get(key) if isinstance(found.plain, dict) else None
            if inner is None:
                return Value("", found.line)
            found = inner
        return found

    @property
    def text(self) -> str:
        """The text; empty for anything else."""
        return self.plain if isinstance(self.plain, str) else ""

    @property
    def items(self) -> list[Value]:
        """The values of a list."""
        return self.plain if isinstance(self.plain, list) else []

    @property
    def words(self) -> list[str]:
        """A command: a list, or a text."""
        return [one.text for one in self.items] or _split(self.text)

    @property
    def fields(self) -> Mapping[str, Value]:
        """The values of a mapping."""
        return self.plain if isinstance(self.plain, dict) else {}


def _documents(path: str) -> Iterator[Value]:
    # Few commands read YAML.
    import yaml

    text = (read_source(path) or b"")[:_LARGEST].decode("utf-8", "replace")
    left = iter(range(_MOST_NODES))
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            if node is not None:
                yield _value(node, left, 0)
    except (yaml.YAMLError, ValueError, RecursionError):
        return


def _value(node: Any, left: Iterator[int], depth: int) -> Value:
    """Make a value of a node. Aliases of aliases grow without bound: ValueError when `left` has no more."""
    line = int(node.start_mark.line) + 1
    if next(left, None) is None:
        raise ValueError("more values than anybody writes")
    if depth > _DEEPEST:
        return Value("", line)
    if node.id == "mapping":
        pairs = [(str(key.value), value) for key, value in node.value if key.id == "scalar"]
        return Value({key: _value(value, left, depth + 1) for key, value in pairs}, line)
    if node.id == "sequence":
        return Value([_value(each, left, depth + 1) for each in node.value], line)
    return Value(str(node.value), line)


def _compose(path: str, document: Value) -> Iterator[Container]:
    for name, service in document.get("services").fields.items():
        command, entrypoint = service.get("command"), service.get("entrypoint")
        words = [*entrypoint.words, *command.words]
        # A text is split into words here, and not given to a shell.
        grace = service.get("stop_grace_period")
        test = service.get("healthcheck", "test")
        said = command if command.words else service
        yield Container(
            kind="compose",
            place=f"{path}:{said.line}",
            name=name,
            command=" ".join(words),
            is_shell=stays_a_shell(words) and runs_server(words),
            # What has no command of its own runs the image's.
            runs_penstock=runs_server(words) if words else bool(service.get("build").plain),
            grace_s=_duration(grace.text) if grace.text else GRACE_OF_DOCKER_S,
            grace_place=f"{path}:{grace.line}" if grace.text else f"{path}:{service.line}",
            liveness=_asked(f"{path}:{test.line}", " ".join(test.words)) if test.plain else None,
        )


def _duration(text: str) -> float | None:
    parts = re.findall(r"([0-9.]+)(us|ms|s|m|h)", text)
    scale = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    try:
        return sum(float(number) * scale[unit] for number, unit in parts) if parts else float(text)
    except ValueError:
        return None


def _kubernetes(path: str, document: Value) -> Iterator[Container]:
    kind = document.get("kind").text
    if kind == "List":
        for each in document.get("items").items:
            yield from _kubernetes(path, each)
        return
    pod = document.get("spec") if kind == "Pod" else document.get("spec", "template", "spec")
    grace = pod.get("terminationGracePeriodSeconds")
    for container in pod.get("containers").items:
        words = [*container.get("command").words, *container.get("args").words]
        ports = {one.get("name").text: one.get("containerPort").text for one in container.get("ports").items}
        yield Container(
            kind="kubernetes",
            place=f"{path}:{container.line}",
            name=container.get("name").text,
            command=" ".join(words),
            is_shell=stays_a_shell(words) and runs_server(words),
            runs_penstock=runs_server(words) or not words,
            grace_s=_number(grace.text, GRACE_OF_KUBERNETES_S),
            grace_place=f"{path}:{(grace if grace.text else pod).line}",
            liveness=_http_probe(path, container.get("livenessProbe"), ports),
            readiness=_http_probe(path, container.get("readinessProbe"), ports),
        )


def _http_probe(path: str, probe: Value, ports: Mapping[str, str]) -> Probe | None:
    asked = probe.get("httpGet")
    if not asked.fields:
        return None
    port = asked.get("port").text
    where = asked.get("path").text or "/"
    return Probe(f"{path}:{asked.line}", f"httpGet :{port}{where}", int(_number(ports.get(port, port), 0)), where)


def _number(text: str, default: float) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else default
