"""`penstock export KIND [CONFIG | FOLDER]`: what an image, a compose file, a cluster or a platform needs to run it.

Nothing is built, sent or asked of anybody; files are printed, or written where nothing is in the way.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence

from penstock.commands import configuration
from penstock.commands.terminal import plain
from penstock.commands.whole_file import write_whole
from penstock.config.environment import PREFIXES
from penstock.config.files import reason
from penstock.config.findings import Finding
from penstock.config.load import read
from penstock.config.settings import Settings
from penstock.deploy.artifact import Artifact
from penstock.deploy.export.service import MEANINGLESS, Service, Wishes, describe
from penstock.options.option import is_proxy_list
from penstock.options.secrets import without_secrets
from penstock.plan.machine import Machine
from penstock.plan.resolve import attempt
from penstock.plan.types import Plan
from penstock.project.django_facts import DjangoFacts, Unanswered, ask
from penstock.project.found import NoProject, find
from penstock.project.sources import SETTINGS_VARIABLE
from penstock.values import dataclass, replace

SUMMARY = "write files for containers and clusters"
USAGE = "KIND [CONFIG | FOLDER] [--output DIR]"
TEXT = """\
usage: penstock export KIND [CONFIG | FOLDER]

  dockerfile    Dockerfile, .dockerignore, container.ini: a small image, not root, that needs no writable file system
  compose       the same, with compose.yaml and nginx in front
  kubernetes    kubernetes.yaml: Deployment, Service, Ingress, autoscaler, budget, migration; the image is dockerfile's
  nomad         NAME.nomad.hcl: a job for the docker driver
  heroku        Procfile, app.json, .python-version, container.ini

CONFIG is a configuration (penstock.ini), whose options are carried over as far as they mean anything there; FOLDER is a
project, and its penstock.ini counts if it has one. Without either, the project is looked for here.

  --output DIR, -o     write the files there (usually the project's folder); otherwise they are printed
  --force              replace files that are there
  --image NAME         of the image, as registry.example.org/shop:1.4 (else NAME:1)
  --host NAME          that clients use (else the first of Django's ALLOWED_HOSTS)
  --replicas N         how many containers at least (else 2)
  --port N             for clients, in the container (else 8000)
  --admin-port N       for probes (else 9000)
  --trusted-proxies A  who may speak for clients (else private addresses)
  --autoscale WHAT     saturation, cpu or none (else saturation)
  --settings MODULE    Django's settings
  --penstock WHAT      what pip installs in the image (else wheels/penstock-*.whl, which `make wheel` makes)

Exit status: 0, or 1 when nothing was written.
"""

OK = 0
FAILED = 1
_VALUES = ("--output", "--image", "--host", "--replicas", "--port", "--admin-port", "--trusted-proxies", "--autoscale",
           "--settings", "--penstock")  # fmt: skip
_OF_THIS_MACHINE = frozenset({*MEANINGLESS, "home", "spool-dir"})
"""Options that this machine need not be able to fulfil."""


class _Slip(Exception):
    """It can not be done: why, and what to do."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What was asked for."""

    kind: str
    target: str
    said: dict[str, str]
    force: bool


def run(arguments: Sequence[str]) -> int:
    """Print or write the files, and tell what to know; 1 when nothing was written."""
    if "--help" in arguments or "-h" in arguments:
        sys.stdout.write(TEXT)
        return OK
    try:
        request = _parse(list(arguments))
        service, notes = _service(request)
        artifacts = _generator(request.kind)(service)
        if "--output" in request.said:
            _tell(_write(artifacts, request.said["--output"], replaces=request.force))
        else:
            _print(artifacts)
    except NoProject as none:
        return _fail(none.reason, *(f"  looked for {line}" for line in none.looked), f"  fix: {none.cure}")
    except _Slip as slip:
        return _fail(str(slip))
    _tell(f"note: {plain(without_secrets(each))}" for each in (*notes, *service.notes, *_next(request, service)))
    return OK


def _generator(kind: str) -> Callable[[Service], list[Artifact]]:
    # Each imports what it needs, and only that.
    if kind == "dockerfile":
        from penstock.deploy.export.image import image

        return image
    if kind == "compose":
        from penstock.deploy.export.compose import compose

        return compose
    if kind == "kubernetes":
        from penstock.deploy.export.kubernetes import kubernetes

        return kubernetes
    if kind == "nomad":
        from penstock.deploy.export.nomad import nomad

        return nomad
    from penstock.deploy.export.heroku import heroku

    return heroku


# -- what was asked for ------------------------------------------------------------------------------------------------

KINDS = ("dockerfile", "compose", "kubernetes", "nomad", "heroku")


def _parse(words: list[str]) -> _Request:
    said: dict[str, str] = {}
    plain_words: list[str] = []
    force = False
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        name = "--output" if name == "-o" else name
        if word == "--force":
            force = True
        elif name in _VALUES:
            if not equals and not words:
                raise _Slip(f"{name} needs a value; penstock export --help tells which")
            said[name] = value if equals else words.pop(0)
        elif word.startswith("-"):
            raise _Slip(f"there is no option {name}; penstock export --help lists them")
        else:
            plain_words.append(word)
    kind = plain_words.pop(0) if plain_words else ""
    if kind not in KINDS:
        what = f"nothing is known of {kind!r}" if kind else "what for"
        raise _Slip(f"{what}: penstock export {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if len(plain_words) > 1:
        raise _Slip(f"one project at a time; {', '.join(plain_words)} were named")
    return _Request(kind, plain_words[0] if plain_words else ".", said, force)


def _wishes(said: dict[str, str]) -> Wishes:
    def number(name: str, usual: int, most: int) -> int:
        text = said.get(name, str(usual))
        if not (text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= most):
            raise _Slip(f"{name} is a number from 1 to {most}, not {text!r}")
        return int(text)

    def word(name: str, characters: str) -> str:
        text = said.get(name, "")
        if not all(letter.isascii() and (letter.isalnum() or letter in characters) for letter in text):
            raise _Slip(f"{name} can not be {text!r}: letters, digits and {' '.join(characters)}")
        return text

    autoscale = said.get("--autoscale", "saturation")
    if autoscale not in ("saturation", "cpu", "none"):
        raise _Slip(f"--autoscale is saturation, cpu or none, not {autoscale!r}")
    proxies = said.get("--trusted-proxies", "")
    if wrong := is_proxy_list(proxies):
        raise _Slip(f"--trusted-proxies: {wrong}")
    port, admin_port = number("--port", 8000, 65535), number("--admin-port", 9000, 65535)
    if port == admin_port:
        raise _Slip(f"--port and --admin-port are both {port}: probes have a port of their own")
    wishes = Wishes(
        image=word("--image", "._-/:@"),
        host=word("--host", ".-").lower(),
        replicas=number("--replicas", 2, 1000),
        http_port=port,
        admin_port=admin_port,
        trusted_proxies=proxies.replace(",", " "),
        autoscale=autoscale,  # type: ignore[arg-type]
    )
    what = word("--penstock", "._-/:@=<>~!+*,[]&?#%")
    return replace(wishes, penstock=what) if what else wishes


# -- what is known -----------------------------------------------------------------------------------------------------


def _service(request: _Request) -> tuple[Service, tuple[str, ...]]:
    wishes = _wishes(request.said)
    machine = Machine.here()
    config = _config_of(request.target)
    settings, plan = _configuration(config, machine) if config else (None, None)
    environ = dict(os.environ)
    module = request.said.get("--settings") or _settings_module(settings)
    if module:
        environ[SETTINGS_VARIABLE] = module
    folder = os.path.dirname(os.path.abspath(config)) if config else request.target
    if plan is not None and not _is_within(plan.app.chdir, folder):
        folder = plan.app.chdir
    project = find(folder, environ, settings=module or None, machine=machine)
    answer = ask(project, environ=environ) if project.is_django else None
    notes: tuple[str, ...] = ()
    if isinstance(answer, Unanswered):
        notes = (f"Django did not come up, so that its static files and hosts are not known: {answer}",)
    facts = answer if isinstance(answer, DjangoFacts) else None
    return describe(project, facts, plan, settings, wishes), notes


def _config_of(target: str) -> str:
    """The configuration that is meant; empty for a project that has none."""
    if not os.path.isdir(target):
        if not os.path.exists(target):
            raise _Slip(f"there is no {target}: name a configuration or a project's folder")
        return target
    names = ("penstock.ini", "penstock.toml", "penstock.yaml", "penstock.json")
    return next((path for name in names if os.path.isfile(path := os.path.join(target, name))), "")


def _configuration(path: str, machine: Machine) -> tuple[Settings, Plan | None]:
    sources = configuration.sources([path])
    if sources is None:
        raise _Slip(f"{path} says nothing")
    # What the environment is to say here it may say there: $(NAME) stays as it is, where nothing has to be known now.
    settings = read(replace(sources, environ={}))
    if any(finding.level == "error" for finding in settings.findings):
        others = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
        settings = read(replace(sources, environ=others))
    _refuse(settings.findings)
    kept = {name: values for name, values in settings.settings.items() if name not in _OF_THIS_MACHINE}
    plan, findings = attempt(replace(settings, settings=kept), replace(machine, euid=0))
    if plan is None:
        _refuse(findings)
    return settings, plan


def _refuse(findings: Sequence[Finding]) -> None:
    errors = [without_secrets(str(finding)) for finding in findings if finding.level == "error"]
    if errors:
        raise _Slip("\n[penstock] ".join(errors))


def _settings_module(settings: Settings | None) -> str:
    for text in reversed(settings.texts("env") if settings is not None else ()):
        name, _, value = text.partition("=")
        if name == SETTINGS_VARIABLE:
            return value
    return ""


def _is_within(path: str, folder: str) -> bool:
    return os.path.abspath(path) == os.path.abspath(folder) or os.path.abspath(path).startswith(
        os.path.abspath(folder).rstrip("/") + "/"
    )


# -- what comes out ----------------------------------------------------------------------------------------------------


def _print(artifacts: Sequence[Artifact]) -> None:
    for artifact in artifacts:
        if len(artifacts) > 1:
            sys.stdout.write(f"==> {artifact.path.lstrip('/')} <==\n")
        sys.stdout.write(artifact.text)
        if len(artifacts) > 1 and artifact is not artifacts[-1]:
            sys.stdout.write("\n")
    sys.stdout.flush()


def _write(artifacts: Sequence[Artifact], folder: str, *, replaces: bool) -> Iterator[str]:
    """Write all of them, or none where one is in the way."""
    places = [os.path.join(folder, artifact.path.lstrip("/")) for artifact in artifacts]
    taken = [
        place
        for place, artifact in zip(places, artifacts, strict=True)
        if os.path.lexists(place) and not _is_same(place, artifact)
    ]
    if taken and not replaces:
        raise _Slip(f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} there already; --force replaces")
    lines = []
    for place, artifact in zip(places, artifacts, strict=True):
        if _is_same(place, artifact):
            lines.append(f"{plain(place)} is as it should be")
            continue
        try:
            os.makedirs(folder, exist_ok=True)
            write_whole(place, artifact.text.encode("utf-8", "surrogateescape"), replaces=os.path.lexists(place))
        except OSError as error:
            raise _Slip(f"{place} can not be written: {reason(error)}") from None
        lines.append(f"wrote {plain(place)}: {artifact.why}")
    return iter(lines)


def _is_same(place: str, artifact: Artifact) -> bool:
    try:
        with open(place, "rb") as file:
            return file.read() == artifact.text.encode("utf-8", "surrogateescape")
    except OSError:
        return False


def _next(request: _Request, service: Service) -> Iterator[str]:
    """What is to be done that this can not do."""
    if request.kind in ("dockerfile", "compose") and service.wishes.penstock.endswith(".whl"):
        yield (
            f"the image takes Penstock from {service.wishes.penstock} of the build context: put its wheel for Python"
            f" {service.python_version} there (`make wheel` in its sources), or say --penstock; what an index calls"
            " penstock need not be this program"
        )
    if request.kind in ("kubernetes", "nomad"):
        yield f"the image {service.image} is not made by this: penstock export dockerfile, docker build, docker push"
    if request.kind == "kubernetes":
        yield f"secrets that the settings read from the environment: kubectl create secret generic {service.name}-env"
        if service.wishes.autoscale == "saturation":
            yield "the autoscaler needs the metric penstock_saturation in the cluster; --autoscale cpu needs nothing"
    if request.kind == "heroku":
        yield "requirements.txt has to name Penstock's wheel, or a place that it is installed from"
    for line, why in service.left_out:
        yield f"not taken over: {line} ({why})"


def _fail(*messages: str) -> int:
    _tell([*(f"[penstock] {message}" for message in messages), "[penstock] nothing was written"])
    return FAILED


def _tell(lines: Iterator[str] | Sequence[str]) -> None:
    for line in lines:
        print(line.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
