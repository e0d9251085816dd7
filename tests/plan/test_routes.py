"""Rules: what they are taken apart into, and that none is left out in silence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from penstock.config.deviations import Deviation
from penstock.options.routing import OPTIONS, PREFIXES, SUBJECTS
from penstock.options.table import BY_NAME
from penstock.plan.route_deviations import ROUTE_DEVIATIONS
from penstock.plan.routes import ACTIONS, CONDITIONS, ELSEWHERE, FUNCTIONS, template
from penstock.plan.types import Plan, RoutesPlan, RulePlan, from_json_value, to_json_value
from tests.plan.test_resolve import SERVE, plan, refusal


def rules(*argv: str) -> RoutesPlan:
    return plan(*argv).engine.routes


def rule(*argv: str) -> RulePlan:
    (only,) = rules(*argv).request
    return only


def test_without_rules_there_are_none() -> None:
    assert rules() == RoutesPlan((), (), ())


def test_a_rule() -> None:
    made = rule("--route", "^/old/(.*) redirect:https://${HTTP_HOST}/new/$1")
    assert (made.condition, made.constant, made.is_negated) == ("regexp", "^/old/(.*)", False)
    assert made.operands == ((("var", "PATH_INFO"),),)
    location = (("text", "https://"), ("var", "HTTP_HOST"), ("text", "/new/"), ("group", "1"))
    assert (made.action, made.arguments) == ("redirect", (location,))
    assert made.place == "--route: route"


def test_every_form_of_a_rule() -> None:
    made = rules(
        *("--route-host", "a return:404", "--route-uri", "a return:404", "--route-qs", "a return:404"),
        *("--route-referer", "a return:404", "--route-user-agent", "a return:404"),
        *("--route-remote-addr", "a return:404", "--route-remote-user", "a return:404"),
        *("--route-run", "log:x", "--route-if", "equal:a;b log:x", "--route-if-not", "empty:${A} log:x"),
    )
    subjects = [one.operands[0][0][1] for one in made.request[:7]]
    wanted = "HTTP_HOST REQUEST_URI QUERY_STRING HTTP_REFERER HTTP_USER_AGENT REMOTE_ADDR REMOTE_USER"
    assert subjects == wanted.split()
    assert [(one.condition, one.is_negated) for one in made.request[7:]] == [
        ("", False),
        ("equal", False),
        ("empty", True),
    ]


def test_the_order_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text(
        "[uwsgi]\nroute-run = log:1\nroute = a log:2\nroute-run = log:3\nroute-if = empty:a log:4\nroute = b log:5\n"
    )
    made = plan("--ini", "a.ini", cwd=tmp_path).engine.routes.request
    assert [one.arguments[0][0][1] for one in made] == ["1", "2", "3", "4", "5"]
    assert made[3].place == "a.ini:5: route-if"


def test_stages_are_lists_of_their_own() -> None:
    made = rules(
        "--route-run", "log:1", "--response-route-run", "log:2", "--final-route-run", "log:3",
        "--response-route-status", "^5 addheader:A: b", "--final-route-status", "404 donotlog:",
    )  # fmt: skip
    assert [len(stage) for stage in (made.request, made.response, made.last)] == [1, 2, 2]
    assert made.response[1].operands == ((("uwsgi", "status"),),)


def test_jumps_are_numbers_of_rules() -> None:
    made = rules(
        "--route", "a goto:end", "--route-run", "log:1", "--route-label", "end", "--route-label", "end",
        "--route-run", "log:2", "--route-run", "goto:tail", "--route-label", "tail",
    )  # fmt: skip
    assert [one.target for one in made.request] == [2, 0, 0, 4]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain", (("text", "plain"),)),
        ("$1", (("group", "1"),)),
        ("$10", (("group", "1"), ("text", "0"))),
        ("a$0b${X}c", (("text", "a"), ("group", "0"), ("text", "b"), ("var", "X"), ("text", "c"))),
        ("$", (("text", "$"),)),
        ("$$", (("text", "$$"),)),
        ("cost: $x", (("text", "cost: $x"),)),
        ("${cookie[sid]}", (("cookie", "sid"),)),
        ("${httptime[]}${httptime[60]}", (("httptime", ""), ("httptime", "60"))),
        ("${time[unix]}", (("time", "unix"),)),
        ("${uwsgi[wid]}", (("uwsgi", "wid"),)),
        ("é$1", (("text", "é"), ("group", "1"))),
        ("$²", (("text", "$²"),)),
    ],
)
def test_texts(text: str, parts: object) -> None:
    assert template(text) == parts


@pytest.mark.parametrize(
    ("name", "action", "arguments"),
    [
        ("continue:", "end", ()),
        ("last:", "end", ()),
        ("return:404", "return", ("404 Not Found", "Not Found")),
        ("return:404 Nope", "return", ("404 Nope", "Not Found")),
        ("break-with-status:410", "return", ("410 Gone", "Gone")),
        ("return:299", "return", ("299 Unknown", "Unknown")),
        ("break:403 Forbidden", "break", ("403 Forbidden", "")),
        ("break:", "drop", ()),
        ("addheader:X-A: b: c", "addheader", ("X-A", "b: c")),
        ("remheader:X-A", "delheader", ("X-A",)),
        ("addvar:A=b=c", "set", ("A", "b=c")),
        ("setpathinfo:/a", "set", ("PATH_INFO", "/a")),
        ("setscriptname:/a", "set", ("SCRIPT_NAME", "/a")),
        ("setmethod:PUT", "set", ("REQUEST_METHOD", "PUT")),
        ("setscheme:https", "set", ("UWSGI_SCHEME", "https")),
        ("setuser:joe", "set", ("REMOTE_USER", "joe")),
        ("setremoteaddr:1.2.3.4", "set", ("REMOTE_ADDR", "1.2.3.4")),
        ("seturi:/a", "set", ("REQUEST_URI", "/a")),
        ("setdocroot:/a", "set", ("DOCUMENT_ROOT", "/a")),
        ("rewrite:/a", "rewrite", ("/a",)),
        ("rewrite-last:/a", "rewrite-last", ("/a",)),
        ("redirect-301:/a", "redirect-permanent", ("/a",)),
        ("redirect-302:/a", "redirect", ("/a",)),
        ("static:/a/b.txt", "static", ("/a/b.txt",)),
        ("basicauth:My Realm,joe:pass,word:x", "basicauth", ("My Realm", "joe:pass,word:x")),
        ("donotlog:", "donotlog", ()),
        ("donotoffload:", "nothing", ()),
        ("fixpathinfo:", "fixpathinfo", ()),
        ("log: x", "log", (" x",)),
    ],
)
def test_actions(name: str, action: str, arguments: tuple[str, ...]) -> None:
    made = rule("--route-run", name)
    assert made.action == action
    assert tuple("".join(text for _, text in one) for one in made.arguments) == arguments


@pytest.mark.parametrize(
    ("text", "name", "operands", "constant"),
    [
        ("contain:a;b", "contains", 2, ""),
        ("==:a;b", "equal", 2, ""),
        ("eq:${QUERY_STRING};a;b", "equal", 2, ""),
        (">=:${X};1", "ishigherequal", 2, ""),
        ("exists:/a${PATH_INFO}", "exists", 1, ""),
        ("re:${X};a;(b)$", "regexp", 1, "a;(b)$"),
        ("ipv4in:${REMOTE_ADDR};10.1.2.3/8", "ipv4in", 1, "10.0.0.0/8"),
        ("ipv6in:${REMOTE_ADDR};::1", "ipv6in", 1, "::1/128"),
    ],
)
def test_conditions(text: str, name: str, operands: int, constant: str) -> None:
    made = rule("--route-if", f"{text} log:x")
    assert (made.condition, len(made.operands), made.constant) == (name, operands, constant)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("route", "^/a basicauht:Realm,joe:hunter2"),
        ("route", "^/a basicauth:Realm,joe:${hunter2"),
        ("route", "^/a basicauth:Realm,joe:${nothing[hunter2]}"),
        ("route", '^/a basicauth:A "Realm",joe:hunter2'),
        ("route", "^/abasicauth:Realm,joe:hunter2"),
        ("route", "^/( basicauth:Realm,joe:hunter2"),
        ("route-if", "equal:a basicauth:Realm,joe:hunter2"),
        ("response-route", "^/a basicauth:Realm,joe:hunter2"),
        ("route", "^/a basicauth Realm,joe:hunter2"),
        ("route-run", "basicauth:Realm,:hunter2"),
    ],
)
def test_no_message_shows_a_password(option: str, text: str) -> None:
    told = str(refusal(f"--{option}", text))
    assert option in told and "hunter2" not in told


@pytest.mark.parametrize(
    ("option", "text", "what", "cure"),
    [
        ("route", "^/a", "there is no action", "with a blank"),
        ("route", "^/a foo", "there is no action foo", "docs/guides/routing.md"),
        ("route", "^/a retrun:404", "did you mean return?", ""),
        ("route", "^/a return", "return has no colon", "write return:"),
        ("route-run", "http:127.0.0.1:80", "http is not supported, and the rule can not be left out", "nginx"),
        ("route-run", "basicauth:Realm,/etc/htpasswd", "a file of passwords is not supported yet", "auth_basic"),
        ("route-run", "basicauth:Realm", "needs a user and a password", "USER:PASSWORD"),
        ("route-run", "basicauth:Realm,joe:", "needs a user and a password", ""),
        ("route-run", "basicauth:Realm,:pw", "needs a user and a password", ""),
        ("route-run", 'basicauth:My "Realm",joe:pw', "can not stand in a header", ""),
        ("route-run", "basicauth:Realm,${A}:pw", "can not hold variables", ""),
        ("route-run", "cache:key=x", "cache is not supported", "nginx"),
        ("route-run", "harakiri:soon", "harakiri needs a number of seconds", "harakiri:SECONDS"),
        ("route-run", "harakiri:${X}", "harakiri needs a number of seconds", ""),
        ("route-run", "return:999", "'999' is no status", "404 Not Found"),
        ("route-run", "return:100", "is no status", ""),
        ("route-run", "return:", "is no status", ""),
        ("route-run", "return:${X}", "can not hold variables", ""),
        ("route-run", "break:403 é", "is no status", ""),
        ("route-run", "addheader:Nonsense", "needs a name and a value", "addheader:NAME: VALUE"),
        ("route-run", "addheader:X Y: z", "is no name of a header", ""),
        ("route-run", "addheader:Content-Length: 5", "the server's to set", ""),
        ("route-run", "delheader:transfer-encoding", "the server's to set", ""),
        ("route-run", "addvar:NOEQUALS", "needs a name and a value", ""),
        ("route-run", "addvar:wsgi.input=x", "the server's own", ""),
        ("route-run", "setscheme:ftp", "is no scheme", ""),
        ("route-run", "setmethod:A B", "is no method", ""),
        ("route-run", "redirect:", "needs an address", ""),
        ("route-run", "rewrite:", "needs a path", ""),
        ("route-run", "goto:", "needs a label", ""),
        ("route-run", "goto:${X}", "can not hold variables", ""),
        ("route-run", "goto:nowhere", "nowhere is no label", "route-label = nowhere"),
        ("route-run", "static:$1", "begin with a directory", "static:/srv/files/$1"),
        ("route-run", "static:/$1", "begin with a directory", ""),
        ("route-run", "static:files/$1", "begin with a directory", ""),
        ("route-run", "static:/srv/../$1", "has a .. in it", ""),
        ("route-run", "static:", "begin with a directory", ""),
        ("route-run", "log:${X", "has no closing brace", "${NAME}"),
        ("route-run", "log:${}", "names no variable", ""),
        ("route-run", "log:${cookie[a}", "has no closing bracket", ""),
        ("route-run", "log:${nothing[a]}", "there is no ${nothing[...]}", "cookie"),
        ("route-run", "log:${time[local]}", "time knows no 'local'", "unix"),
        ("route-run", "log:${httptime[soon]}", "no number of seconds", ""),
        ("route", "^/( return:404", "no regular expression", ""),
        ("route-if", "nosuch:a;b return:404", "there is no condition nosuch", ""),
        ("route-if", "equals:a;b return:404", "did you mean equal?", ""),
        ("route-if", "equal return:404", "there is no condition equal", ""),
        ("route-if", "equal:a return:404", "equal compares two things", "equal:A;B"),
        ("route-if", "regexp:${A};( return:404", "no regular expression", ""),
        ("route-if", "ipv4in:${A};::1 return:404", "no such range", "10.0.0.0/8"),
        ("route-if", "ipv6in:${A};nonsense return:404", "no such range", "2001:db8::/32"),
        ("response-route-run", "return:404", "can not be carried out at this time", "addheader"),
        ("response-route-run", "redirect:/x", "can not be carried out at this time", ""),
        ("response-route-run", "break:403", "the response is there already", ""),
        ("final-route-run", "addheader:A: b", "can not be carried out at this time", "donotlog"),
    ],
)
def test_a_rule_that_can_not_be_carried_out_is_an_error(option: str, text: str, what: str, cure: str) -> None:
    error = str(refusal(*SERVE, f"--{option}", text))
    assert error.startswith(f"--{option}: {option} = ")
    assert what in error and cure in error


def test_a_jump_goes_forward_only() -> None:
    error = str(refusal(*SERVE, "--route-label", "start", "--route-run", "log:x", "--route-run", "goto:start"))
    assert "start stands before it, and rules go forward only" in error
    assert "is no label" in str(refusal(*SERVE, "--route-label", "a", "--response-route-run", "goto:a"))


def test_every_wrong_rule_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_text("[uwsgi]\nroute = ( return:404\nroute = a nosuch:\nroute-if = x:y z:\n")
    error = refusal(*SERVE, "--ini", "a.ini", cwd=tmp_path)
    assert [str(finding.origin) for finding in error.findings] == ["a.ini:2", "a.ini:3", "a.ini:4"]
    assert [finding.code for finding in error.findings] == ["bad-pattern", "bad-rule", "bad-rule"]


def test_error_routes_are_refused_before() -> None:
    with pytest.raises(Exception, match="error-route-status is not supported yet and can not be left out"):
        plan("--error-route-status", "404 redirect:/x")


def test_braces_in_rules_are_no_slips() -> None:
    made = plan("--route-run", "log:${HTTP_HOST}", "--route-if", "empty:${HTTP_X} log:x")
    assert not [note for note in made.notes if "$(" in note]


def test_files_of_rules_have_types() -> None:
    assert plan("--route", "a static:/srv/$1").engine.static.mime_types == "css text/css\n"
    assert plan("--route", "a return:404").engine.static.mime_types == ""


def test_rules_travel_as_json() -> None:
    made = plan("--route", "^/(a) redirect:/$1", "--response-route-run", "log:x", "--final-route-run", "donotlog:")
    assert from_json_value(Plan, json.loads(json.dumps(to_json_value(made)))) == made


def test_every_option_makes_rules() -> None:
    for stage, prefix in PREFIXES.items():
        for form in (*SUBJECTS, "route-if", "route-if-not", "route-run"):
            name = prefix + form
            if name == "route-status":
                assert name not in BY_NAME
                continue
            text = "log:x" if form == "route-run" else "empty:a log:x" if "-if" in form else "a log:x"
            assert len(getattr(rules(f"--{name}", text), stage)) == 1, name
    assert len(OPTIONS) == 12 + 13 + 13


def test_no_action_is_both_there_and_elsewhere() -> None:
    names = [name for first, action in ACTIONS.items() for name in (first, *action.aliases)]
    assert sorted(names) == sorted(set(names)) and not set(names) & set(ELSEWHERE)


def test_the_guide_has_everything() -> None:
    guide = (Path(__file__).parent.parent.parent / "docs" / "guides" / "routing.md").read_text()
    for name in [*ACTIONS, *(alias for action in ACTIONS.values() for alias in action.aliases)]:
        assert f"`{name}`" in guide, name
    for name, (_, more) in CONDITIONS.items():
        assert all(f"`{one}`" in guide for one in (name, *more)), name
    for name in FUNCTIONS:
        assert f"`${{{name}[" in guide, name
    for option in OPTIONS:
        assert f"`{option.name.removeprefix('response-').removeprefix('final-')}`" in guide, option.name
    for row in ROUTE_DEVIATIONS:
        assert f"`{row.id}`" in guide, row.id


@pytest.mark.parametrize("row", ROUTE_DEVIATIONS, ids=lambda row: row.id)
def test_a_deviation_has_its_case(row: Deviation) -> None:
    case = Path(__file__).parent.parent / "cases" / "routing" / f"{row.case}.json"
    assert row.id in json.loads(case.read_text())["differs"].values()
