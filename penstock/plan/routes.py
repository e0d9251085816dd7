"""The rules of `route` and its kin: parsed and checked here, carried out by the engine (`crates/engine/src/routing`).

A rule is `WHEN ACTION:ARGUMENT`. A rule that can not be carried out as it is written is an error, never left out: it
may be there to keep somebody away. The tables below are all that rules know; the guide and the tests are held to them.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import cast

from penstock.config.settings import Setting
from penstock.options.routing import PREFIXES, SUBJECTS, Stage
from penstock.plan import patterns
from penstock.plan.context import Context
from penstock.plan.types import RoutesPlan, RulePlan, Template
from penstock.values import dataclass, replace

EVERY: frozenset[Stage] = frozenset({"request", "response", "last"})
HEAD: frozenset[Stage] = frozenset({"request", "response"})
REQUEST: frozenset[Stage] = frozenset({"request"})

GUIDE = "docs/guides/routing.md lists what there is"
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "trailer"})


class RuleError(Exception):
    """What is wrong with a rule, and its cure."""

    def __init__(self, what: str, cure: str = GUIDE) -> None:
        super().__init__(what)
        self.what = what
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Made:
    """What an action's argument becomes."""

    action: str
    """The engine's name for it."""
    arguments: tuple[Template, ...] = ()
    label: str = ""
    """Of `goto`: where it leads."""


# -- texts with variables ----------------------------------------------------------------------------------------------

FUNCTIONS: dict[str, str] = {
    "base64": "the variable NAME in base64: `${base64[NAME]}`",
    "cookie": "the value of a cookie: `${cookie[NAME]}`",
    "hex": "the bytes of the variable NAME in hexadecimal: `${hex[NAME]}`",
    "httptime": "a date of HTTP, now or N seconds from now: `${httptime[N]}`",
    "qs": "a value of the query string, as it was sent: `${qs[NAME]}`",
    "time": "seconds since 1970, or microseconds: `${time[unix]}`, `${time[micros]}`",
    "uwsgi": "of the worker: `${uwsgi[wid]}`, `${uwsgi[pid]}`; a random UUID: `${uwsgi[uuid]}`; "
    "the status of the response: `${uwsgi[status]}`",
}
"""What `${name[argument]}` may be."""

_WORDS: dict[str, tuple[str, ...]] = {"time": ("unix", "micros"), "uwsgi": ("wid", "pid", "uuid", "status")}


def template(text: str) -> Template:
    """Take a text apart into what stands still and what depends on the request. Raises RuleError."""
    parts: list[tuple[str, str]] = []
    plain = ""
    position = 0
    while position < len(text):
        mark = text.find("$", position)
        if mark < 0:
            break
        plain += text[position:mark]
        following = text[mark + 1 : mark + 2]
        if following == "{":
            end = text.find("}", mark)
            if end < 0:
                raise RuleError(f"{text[mark:]} has no closing brace", "write ${NAME}")
            part = _variable(text[mark + 2 : end])
            position = end + 1
        elif following.isascii() and following.isdigit():
            part = ("group", following)
            position = mark + 2
        else:
            plain += "$"
            position = mark + 1
            continue
        if plain:
            parts.append(("text", plain))
            plain = ""
        parts.append(part)
    plain += text[position:]
    if plain:
        parts.append(("text", plain))
    return tuple(parts)


def _variable(name: str) -> tuple[str, str]:
    function, bracket, rest = name.partition("[")
    if not bracket:
        if not name:
            raise RuleError("${} names no variable", "write ${NAME}")
        return ("var", name)
    argument, closing, after = rest.rpartition("]")
    if not closing or after:
        raise RuleError("${" + name + "} has no closing bracket", "write ${" + function + "[NAME]}")
    if function not in FUNCTIONS:
        raise RuleError(f"there is no ${{{function}[...]}}", f"there are {', '.join(FUNCTIONS)}")
    words = _WORDS.get(function)
    if words and argument not in words:
        raise RuleError(f"{function} knows no {argument!r}", f"it knows {', '.join(words)}")
    if function == "httptime" and argument and not (argument.isascii() and argument.isdigit() and len(argument) < 10):
        raise RuleError(f"{argument!r} is no number of seconds", "write ${httptime[3600]}")
    return (function, argument)


def constant(text: str, what: str) -> str:
    """A text without variables. Raises RuleError."""
    if any(kind != "text" for kind, _ in template(text)):
        raise RuleError(f"{what} can not hold variables", "write it out")
    return text


def fixed(text: str) -> Template:
    """A text as it stands."""
    return (("text", text),)


# -- actions -----------------------------------------------------------------------------------------------------------


def _no_argument(action: str) -> Callable[[str], Made]:
    return lambda _: Made(action)


def _set(name: str) -> Callable[[str], Made]:
    return lambda argument: Made("set", (fixed(name), template(argument)))


def _scheme(argument: str) -> Made:
    if argument not in ("http", "https"):
        raise RuleError(f"{argument!r} is no scheme", "write setscheme:https or setscheme:http")
    return _set("UWSGI_SCHEME")(argument)


def _method(argument: str) -> Made:
    if not _TOKEN.fullmatch(argument):
        raise RuleError(f"{argument!r} is no method", "write setmethod:GET")
    return _set("REQUEST_METHOD")(argument)


def _addvar(argument: str) -> Made:
    name, equals, value = argument.partition("=")
    if not equals or not name:
        raise RuleError("addvar needs a name and a value", "write addvar:NAME=VALUE")
    if name.startswith(("wsgi.", "uwsgi.")):
        raise RuleError(f"{name} is the server's own", "choose another name")
    return _set(name)(value)


def _header_name(name: str) -> Template:
    if not _TOKEN.fullmatch(name):
        raise RuleError(f"{name!r} is no name of a header", "a name is made of letters, digits and -")
    if name.lower() in _OWN_HEADERS:
        raise RuleError(f"{name} is the server's to set, or the next response would be misread", "remove the rule")
    return fixed(name)


def _addheader(argument: str) -> Made:
    name, colon, value = argument.partition(":")
    if not colon:
        raise RuleError("addheader needs a name and a value", "write addheader:NAME: VALUE")
    return Made("addheader", (_header_name(name), template(value.strip())))


def _delheader(argument: str) -> Made:
    return Made("delheader", (_header_name(argument.strip()),))


def _redirect(action: str) -> Callable[[str], Made]:
    def make(argument: str) -> Made:
        if not argument:
            raise RuleError(f"{action} needs an address", f"write {action}:https://example.org/")
        return Made(action, (template(argument),))

    return make


def _status(argument: str) -> tuple[str, str]:
    """The status line and the phrase that belongs to the number."""
    constant(argument, "a status")
    found = re.fullmatch(r"([2-5][0-9][0-9])(?: +([\x20-\x7e]*))?", argument.strip())
    if found is None:
        raise RuleError(f"{argument!r} is no status", "write 404, or 404 Not Found")
    phrase = HTTPStatus(int(found[1])).phrase if int(found[1]) in HTTPStatus._value2member_map_ else "Unknown"
    return f"{found[1]} {found[2] or phrase}", phrase


def _return(argument: str) -> Made:
    status, phrase = _status(argument)
    return Made("return", (fixed(status), fixed(phrase)))


def _break(argument: str) -> Made:
    if not argument.strip():
        return Made("drop")
    return Made("break", (fixed(_status(argument)[0]), fixed("")))


def _harakiri(argument: str) -> Made:
    if not re.fullmatch(r"[0-9]{1,9}", argument.strip()):
        raise RuleError("harakiri needs a number of seconds", "write harakiri:SECONDS, and 0 for no limit")
    return Made("harakiri", (fixed(argument.strip()),))


def _goto(argument: str) -> Made:
    if not argument:
        raise RuleError("goto needs a label", "write goto:NAME, and route-label = NAME further down")
    return Made("goto", label=constant(argument, "a label"))


def _static(argument: str) -> Made:
    path = template(argument)
    kind, beginning = path[0] if path else ("text", "")
    is_one_file = all(kind == "text" for kind, _ in path)
    if kind != "text" or not beginning.startswith("/") or (not is_one_file and beginning.rfind("/") < 1):
        what = "the path has to begin with a directory that it can not lead out of"
        raise RuleError(what, "write for example static:/srv/files/$1")
    if "/../" in f"{beginning}/":
        raise RuleError("the path has a .. in it", "write it without")
    return Made("static", (path,))


def _rewrite(action: str) -> Callable[[str], Made]:
    def make(argument: str) -> Made:
        if not argument:
            raise RuleError(f"{action} needs a path", f"write {action}:/path")
        return Made(action, (template(argument),))

    return make


def _log(argument: str) -> Made:
    return Made("log", (template(argument),))


def _basicauth(argument: str) -> Made:
    try:
        constant(argument, "basicauth")
    except RuleError:
        # What is wrong in it may be the password, which is not to be shown.
        raise RuleError("basicauth can not hold variables", "write it out, without $ before { or a digit") from None
    realm, comma, credentials = argument.partition(",")
    user, colon, password = credentials.partition(":")
    if comma and not colon:
        what = "basicauth with a file of passwords is not supported yet"
        raise RuleError(what, "write basicauth:REALM,USER:PASSWORD, or let nginx ask (auth_basic_user_file)")
    if not user or not password:
        raise RuleError("basicauth needs a user and a password", "write basicauth:REALM,USER:PASSWORD")
    if not re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]*", realm):
        raise RuleError(f"the realm {realm!r} can not stand in a header", "use letters, digits and blanks")
    return Made("basicauth", (fixed(realm), fixed(credentials)))


@dataclass(frozen=True, slots=True)
class Action:
    """One action of rules."""

    meaning: str
    """For the guide; a clause."""
    make: Callable[[str], Made]
    stages: frozenset[Stage] = REQUEST
    aliases: tuple[str, ...] = ()


ACTIONS: dict[str, Action] = {
    "addheader": Action("adds a header to the response, whoever gives it: `addheader:NAME: VALUE`", _addheader, HEAD),
    "addvar": Action("gives the application a variable: `addvar:NAME=VALUE`", _addvar),
    "basicauth": Action(
        "asks for a name and a password, answers 401 without them, and sets REMOTE_USER: "
        "`basicauth:REALM,USER:PASSWORD`",
        _basicauth,
    ),
    "break": Action(
        "answers with a status and no body, and ends the connection: `break:403 Forbidden`; without a status no answer "
        "is given, and in rules about responses and finished requests the rules end",
        _break,
        EVERY,
    ),
    "continue": Action("ends the rules; the request goes to the application", _no_argument("end"), EVERY, ("last",)),
    "delheader": Action("takes a header out of the response: `delheader:NAME`", _delheader, HEAD, ("remheader",)),
    "donotlog": Action("leaves the request line out of the log", _no_argument("donotlog"), EVERY),
    "donotoffload": Action("changes nothing: no thread is occupied by sending", _no_argument("nothing")),
    "fixpathinfo": Action("takes SCRIPT_NAME off the beginning of PATH_INFO", _no_argument("fixpathinfo")),
    "goto": Action("goes on behind the label, which has to stand further down: `goto:NAME`", _goto, EVERY),
    "harakiri": Action(
        "gives the request a time limit of its own in place of `harakiri`, 0 for none: `harakiri:300`", _harakiri
    ),
    "log": Action("writes a line to the log: `log:TEXT`", _log, EVERY),
    "redirect": Action(
        "answers 302 with a Location: `redirect:https://example.org/$1`",
        _redirect("redirect"),
        aliases=("redirect-302",),
    ),
    "redirect-permanent": Action(
        "answers 301 with a Location", _redirect("redirect-permanent"), aliases=("redirect-301",)
    ),
    "return": Action(
        "answers with a status and its phrase as the body: `return:404`", _return, aliases=("break-with-status",)
    ),
    "rewrite": Action(
        "sets PATH_INFO, and puts what follows a ? before the query string: `rewrite:/new/$1?page=$2`",
        _rewrite("rewrite"),
    ),
    "rewrite-last": Action("as rewrite, and ends the rules", _rewrite("rewrite-last")),
    "setdocroot": Action("sets DOCUMENT_ROOT", _set("DOCUMENT_ROOT")),
    "setmethod": Action("sets REQUEST_METHOD for the application", _method),
    "setpathinfo": Action("sets PATH_INFO: `setpathinfo:/new/$1`", _set("PATH_INFO")),
    "setremoteaddr": Action("sets REMOTE_ADDR for the application", _set("REMOTE_ADDR")),
    "setscheme": Action("sets wsgi.url_scheme: `setscheme:https`", _scheme),
    "setscriptname": Action("sets SCRIPT_NAME", _set("SCRIPT_NAME")),
    "seturi": Action("sets REQUEST_URI for the application", _set("REQUEST_URI")),
    "setuser": Action("sets REMOTE_USER", _set("REMOTE_USER")),
    "static": Action(
        "answers with a file beneath the directory that the path begins with, 404 if there is none: "
        "`static:/srv/files/$1`",
        _static,
    ),
}
"""Everything that a rule can do."""

_BY_NAME: dict[str, Action] = {name: action for first, action in ACTIONS.items() for name in (first, *action.aliases)}

ELSEWHERE: dict[str, str] = {
    **dict.fromkeys(("basicauth-next", "rpc", "call", "hash"), "decide it in the application"),
    **dict.fromkeys(("http", "httpdumb", "proxyhttp", "uwsgi", "proxyuwsgi"), "let nginx pass such requests on"),
    **dict.fromkeys(("cache", "cachestore", "memcached", "redis"), "cache in the application, or in nginx"),
    **dict.fromkeys(("file", "sendfile", "fastfile", "static-next"), "use static, which answers 404 without a file"),
    **dict.fromkeys(("gzip", "expires"), "let nginx do it, or a middleware of the application"),
    "chunked": "remove the rule: a response without a length is chunked anyway",
    "clearheaders": "use return with a status",
    "send": "answer in the application",
}
"""What to do instead of actions of uWSGI that are not supported."""


# -- conditions --------------------------------------------------------------------------------------------------------

CONDITIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "contains": ("A has B in it", ("contain",)),
    "empty": ("the text is empty", ()),
    "endswith": ("A ends with B", ()),
    "equal": ("A is B", ("isequal", "eq", "==")),
    "exists": ("there is such a file or directory", ()),
    "ipv4in": ("the IPv4 address is in the range: `ipv4in:${REMOTE_ADDR};10.0.0.0/8`", ()),
    "ipv6in": ("the IPv6 address is in the range", ()),
    "isdir": ("the path is a directory", ()),
    "isexec": ("the path may be executed", ()),
    "isfile": ("the path is a regular file", ()),
    "ishigher": ("the number A is greater than B", (">",)),
    "ishigherequal": ("the number A is not less than B", (">=",)),
    "islink": ("the path is a symbolic link", ()),
    "islower": ("the number A is less than B", ("<",)),
    "islowerequal": ("the number A is not greater than B", ("<=",)),
    "regexp": ("the pattern matches: `regexp:${HTTP_COOKIE};PATTERN`, whose groups are `$1` and so on", ("re",)),
    "startswith": ("A starts with B", ()),
}
"""What `route-if` may ask: the meaning, and other names of it. A and B are written `A;B`."""

_CONDITION_NAMES = {name: first for first, (_, more) in CONDITIONS.items() for name in (first, *more)}
_ALONE = frozenset({"empty", "exists", "isdir", "isexec", "isfile", "islink"})


@dataclass(frozen=True, slots=True)
class When:
    """When a rule is meant."""

    condition: str = ""
    operands: tuple[Template, ...] = ()
    constant: str = ""


def _condition(text: str) -> When:
    name, colon, argument = text.partition(":")
    condition = _CONDITION_NAMES.get(name)
    if condition is None or not colon:
        raise RuleError(f"there is no condition {name}{_nearest(name, _CONDITION_NAMES)}")
    if condition in _ALONE:
        return When(condition, (template(argument),))
    left, semicolon, right = argument.partition(";")
    if not semicolon:
        raise RuleError(f"{name} compares two things", f"write {name}:A;B")
    if condition == "regexp":
        return When(condition, (template(left),), right)
    if condition in ("ipv4in", "ipv6in"):
        return When(condition, (template(left),), _network(condition, right))
    return When(condition, (template(left), template(right)))


def _network(condition: str, text: str) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        network = None
    if network is None or f"ipv{network.version}in" != condition:
        example = "10.0.0.0/8" if condition == "ipv4in" else "2001:db8::/32"
        raise RuleError(f"{text!r} is no such range of addresses", f"write for example {example}")
    return str(network)


def _nearest(name: str, names: Mapping[str, object]) -> str:
    found = difflib.get_close_matches(name, list(names), 1)
    return f"; did you mean {found[0]}?" if found else ""


# -- rules -------------------------------------------------------------------------------------------------------------


def routes(context: Context) -> RoutesPlan:
    """The rules of all stages; what is wrong with them is among the errors of the context."""
    made = {stage: _stage(context, stage) for stage in PREFIXES}
    return RoutesPlan(request=made["request"], response=made["response"], last=made["last"])


def _variables(context: Context) -> list[RulePlan]:
    """Rules that give each request its variables (`http-var`), before all others."""
    found = []
    for setting in context.said.every("http-var"):
        name, _, value = str(setting.value).partition("=")
        arguments: tuple[Template, ...] = ((("text", name),), (("text", value),))
        place = f"{setting.origin}: http-var"
        found.append(RulePlan(place, "", False, (), "", "set", arguments, 0))
    return found


def serves_files(plan: RoutesPlan) -> bool:
    """Whether a rule answers with files."""
    return any(rule.action == "static" for rule in plan.request)


def _stage(context: Context, stage: Stage) -> tuple[RulePlan, ...]:
    prefix = PREFIXES[stage]
    forms = [*SUBJECTS, "route-if", "route-if-not", "route-label", "route-run"]
    names = [prefix + form for form in forms if form != "route-status" or stage != "request"]
    rules = _variables(context) if stage == "request" else []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str, Setting]] = []
    for setting in context.said.in_order(*names):
        form = setting.option.name.removeprefix(prefix)
        text = str(setting.value).strip()
        if form == "route-label":
            # The first of a name counts, as in uWSGI.
            labels.setdefault(text, len(rules))
            continue
        try:
            when, made = _rule(stage, form, text)
        except RuleError as error:
            message = f"{setting.option.name} = {_shown(text)}: {error.what}"
            context.error("bad-rule", message, setting.origin, error.cure)
            continue
        if when.condition == "regexp" and not patterns.check(context, setting, when.constant, _shown(text)):
            continue
        if made.label:
            jumps.append((len(rules), made.label, setting))
        rules.append(
            RulePlan(
                place=f"{setting.origin}: {setting.option.name}",
                condition=when.condition,
                is_negated=form == "route-if-not",
                operands=when.operands,
                constant=when.constant,
                action=made.action,
                arguments=made.arguments,
                target=0,
            )
        )
    for place, label, setting in jumps:
        target = labels.get(label, 0)
        if target <= place:
            what = "stands before it, and rules go forward only" if label in labels else "is no label"
            message = f"{setting.option.name} = {setting.value}: {label} {what}"
            cure = f"write {prefix}route-label = {label} further down"
            context.error("bad-rule", message, setting.origin, cure)
        rules[place] = replace(rules[place], target=target)
    return tuple(rules)


def _shown(text: str) -> str:
    """A rule as messages quote it: a log or a terminal is no place for the password of a rule, misspelt or not."""
    return re.sub(r"(?i)((?:basi|auth)[\w-]*[\s:]).+", r"\1...", text)


def _rule(stage: Stage, form: str, text: str) -> tuple[When, Made]:
    if form == "route-run":
        return When(), _action(stage, text)
    left, blank, right = text.partition(" ")
    if not blank:
        raise RuleError("there is no action", "write PATTERN ACTION:ARGUMENT, with a blank between them")
    made = _action(stage, right.strip())
    if form in ("route-if", "route-if-not"):
        return _condition(left), made
    variable = SUBJECTS[form][0]
    subject = ("var", variable) if variable else ("uwsgi", "status")
    return When("regexp", (cast(Template, (subject,)),), left), made


def _action(stage: Stage, text: str) -> Made:
    name, colon, argument = text.partition(":")
    action = _BY_NAME.get(name)
    if action is None:
        if name in ELSEWHERE:
            raise RuleError(f"the action {name} is not supported, and the rule can not be left out", ELSEWHERE[name])
        raise RuleError(f"there is no action {name}{_nearest(name, _BY_NAME)}")
    if not colon:
        raise RuleError(f"{name} has no colon", f"write {name}:")
    if stage not in action.stages:
        fitting = ", ".join(name for name, one in ACTIONS.items() if stage in one.stages)
        raise RuleError(f"{name} can not be carried out at this time", f"here there are {fitting}")
    made = action.make(argument.strip() if name != "log" else argument)
    if stage == "request":
        return made
    if made.action == "break":
        raise RuleError("the response is there already", "write break: without a status to end the rules")
    return Made("end") if made.action == "drop" else made
