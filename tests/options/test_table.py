"""The table keeps its own promises; a row that breaks one is named in the failure."""

from __future__ import annotations

import pytest

from penstock.config.convert import convert
from penstock.config.findings import Origin
from penstock.options.known import FOREIGN_WORDS, known_names
from penstock.options.option import METAVARS, Option
from penstock.options.table import BY_NAME, BY_SHORT, OPTIONS, SECTIONS, find

each_option = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def test_no_name_stands_twice() -> None:
    names = [name for option in OPTIONS for name in option.names]
    assert sorted(names) == sorted(set(names))
    letters = [option.short for option in OPTIONS if option.short]
    assert sorted(letters) == sorted(set(letters))
    assert len(BY_NAME) == len(names) and len(BY_SHORT) == len(letters)


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_a_section_is_sorted(section: object) -> None:
    names = [option.name for option in section.options]  # type: ignore[attr-defined]
    assert names == sorted(names)


@each_option
def test_names_are_written_as_uwsgi_writes_them(option: Option) -> None:
    for name in option.names:
        assert name == name.lower() and name.strip("-") == name
        assert "_" not in name or name == "start_response-nodelay"
    assert list(option.aliases) == sorted(option.aliases)
    assert len(option.short) <= 1


@each_option
def test_help_is_one_clause(option: Option) -> None:
    assert option.help and "\n" not in option.help and not option.help.endswith(".")
    assert option.help[0].islower() or option.help.split()[0].isupper()


@each_option
def test_a_difference_from_uwsgi_is_explained(option: Option) -> None:
    assert bool(option.note) == (option.verdict in ("differs", "not-needed"))


@each_option
def test_names_are_uwsgis_unless_the_option_is_new(option: Option) -> None:
    for name in option.names:
        assert (name in known_names()) == (option.verdict != "new"), name


@each_option
def test_the_letter_is_uwsgis(option: Option) -> None:
    theirs = {known_names()[name].short for name in option.names if name in known_names()} - {""}
    assert theirs <= {option.short}


@each_option
def test_a_value_follows_where_it_does_in_uwsgi(option: Option) -> None:
    for name in option.names:
        # need-app is a flag, whose value may always be left out; so-send-timeout takes none in uWSGI by mistake.
        if name not in known_names() or option.name in ("need-app", "so-send-timeout"):
            continue
        assert known_names()[name].argument == option.argument, name


@each_option
def test_the_default_is_a_value_of_the_type(option: Option) -> None:
    if option.default is None:
        return
    if option.type == "flag":
        assert isinstance(option.default, bool)
    elif option.is_number:
        assert isinstance(option.default, int) and not isinstance(option.default, bool)
    else:
        assert isinstance(option.default, str)
    if option.check is not None:
        assert option.check(option.default) is None


@each_option
def test_every_type_can_be_converted_and_shown(option: Option) -> None:
    samples = {"flag": "true", "mode": "660", "umask": "022", "mapping": "/a=/b", "assignment": "A=B", "text": "holy"}
    text = samples.get(option.type, "4096" if option.is_number else "127.0.0.1")
    if option.name in ("protocol", "socket-protocol"):
        text = "http"
    if option.name == "threads":
        text = "4"
    if option.name == "health-check-status":
        text = "200-204, 301"
    if option.name == "harakiri-graceful-signal":
        text = "10"
    if option.name == "prio":
        text = "-5"
    if option.name == "trusted-headers":
        text = "forwarded"
    if option.name == "trusted-proxies":
        text = "10.0.0.0/8"
    if option.name.startswith("static-expires"):
        text = "text/css 3600"
    if option.name == "add-header":
        text = "X-A: b"
    if option.name == "reload-strategy":
        text = "chain"
    if option.name == "file-serve-mode":
        text = "nginx"
    value, findings = convert(option, option.name, text, Origin("default", ""))
    assert findings == []
    assert value is not None
    assert option.type in METAVARS


@each_option
def test_words_for_numbers_are_sorted_and_only_at_numbers(option: Option) -> None:
    words = [word for word, _ in option.words]
    assert words == [word.lower() for word in words]
    assert not words or option.is_number


def test_commands_and_directives_are_not_repeated_settings() -> None:
    for option in OPTIONS:
        if option.role == "command":
            assert option.default is None and not option.repeatable


def test_find_knows_aliases_and_compares_byte_for_byte() -> None:
    assert find("workers") is find("processes") is BY_NAME["processes"]
    assert find("Workers") is None
    assert find("http_socket") is None


def test_foreign_words_lead_to_options() -> None:
    for word, name in FOREIGN_WORDS.items():
        assert name in BY_NAME
        assert word not in BY_NAME and word not in known_names()


def test_known_names_are_sorted_and_many() -> None:
    names = list(known_names())
    assert names == sorted(names)
    assert len(names) > 1000
    assert known_names()["abstract-socket"].short == "a"


def test_what_the_tutorial_uses_is_there() -> None:
    names = """
        http http-socket socket uwsgi-socket chdir home virtualenv venv module wsgi wsgi-file callable pythonpath env
        master processes workers threads enable-threads listen socket-timeout die-on-term stats pidfile daemonize
        vacuum max-requests min-worker-lifetime touch-reload buffer-size need-app lazy-apps uid gid umask chmod-socket
        chown-socket harakiri static-map disable-logging logto strict ini reload stop connect-and-read help version set
        set-ph show-config
    """
    assert [name for name in names.split() if find(name) is None] == []
