"""The codes of what the plan step finds: each has one row, and a test sees that none is used without."""

from __future__ import annotations

from penstock.config.findings import Level
from penstock.values import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One code."""

    code: str
    level: Level
    """The usual one; where a program can not be sure it says less."""
    about: str
    """The option that most often is at fault; empty where it may be any."""
    meaning: str
    fix: str


ROWS: tuple[Row, ...] = (
    # What every start looks at.
    Row("backlog-lowered", "warning", "listen", "listen is above what the kernel allows", "raise net.core.somaxconn"),
    Row("bad-address", "error", "", "an address can not be understood", "write HOST:PORT, :PORT or /path"),
    Row("bad-logger", "error", "logger", "the argument of a logger can not be used", "correct it as the message says"),
    Row("bad-pattern", "error", "", "a regular expression can not be used", "correct it at the place that is named"),
    Row("bad-probe", "error", "health-check", "a URL of warmup or health-check is none", "write /PATH or HOST/PATH"),
    Row(
        "bad-rule",
        "error",
        "route",
        "a rule of route or one of its kin can not be carried out as it is written",
        "correct it: docs/guides/routing.md lists actions and conditions",
    ),
    Row(
        "bare-word-address",
        "warning",
        "socket",
        "an address is a word that may be a host or the name of a unix socket",
        "write ./NAME for a unix socket, NAME:PORT for a host",
    ),
    Row(
        "auto-memory",
        "note",
        "processes",
        "`processes = auto` are fewer workers than CPUs, because the memory limit is too low for more",
        "raise the limit, or set a number",
    ),
    Row(
        "changes-nothing",
        "note",
        "",
        "an option that says more about another one stands without it",
        "add the other one, or remove it",
    ),
    Row(
        "cheaper-initial-range",
        "warning",
        "cheaper-initial",
        "the number of workers at the start is not between cheaper and processes",
        "set it to one that is",
    ),
    Row(
        "cheaper-too-high",
        "error",
        "cheaper",
        "the least number of workers is not below the most",
        "raise processes, or lower cheaper",
    ),
    Row(
        "first-app-answers",
        "warning",
        "mount",
        "the first mounted application answers what names none of them",
        "add manage-script-name = true to let the path choose",
    ),
    Row(
        "encoder-no-json",
        "warning",
        "log-encoder",
        "the text of a json encoder is no JSON",
        'write for example json {"time":${unix},"message":"${msg}"}',
    ),
    Row(
        "header-of-the-connection",
        "warning",
        "add-header",
        "a header that tells what becomes of the connection is the server's to set, and is not added",
        "remove it; http-keepalive = 0 closes every connection after its response",
    ),
    Row(
        "log-format-no-json",
        "warning",
        "log-format",
        "a format that looks like JSON makes lines that are none",
        "put quotes around each text and none around numbers, or use log-format = json",
    ),
    Row("log-format-too-long", "error", "log-format", "a format does not fit into a line", "leave something out"),
    Row(
        "logger-unsupported",
        "error",
        "logger",
        "a logger of uWSGI is not there",
        "use file, fd, stdio, syslog, rsyslog or socket",
    ),
    Row(
        "magic-in-date",
        "warning",
        "log-date",
        "a part of a date has become a path before it was read",
        "double the percent signs of a date in a configuration file",
    ),
    Row("master-always", "note", "master", "master = false changes nothing", "remove it"),
    Row("mounted-twice", "error", "mount", "two applications are mounted at one path", "remove one"),
    Row(
        "no-directory",
        "error",
        "",
        "a directory does not exist; below /run it is a warning, as systemd makes those",
        "create it, or correct the path",
    ),
    Row(
        "no-error-page",
        "warning",
        "error-page-404",
        "a page for errors does not exist",
        "create it, or correct the path; until then the answer is a line of text",
    ),
    Row("no-envdir", "error", "envdir", "a directory of variables can not be read", "create it, or correct the path"),
    Row("no-group", "error", "gid", "there is no such group", "create it, or name another"),
    Row(
        "no-interpreter",
        "error",
        "home",
        "the virtual environment has no Python that can be run",
        "make it again with python3 -m venv, or correct the path",
    ),
    Row(
        "no-mime-types",
        "warning",
        "mimefile",
        "a file of content types does not exist",
        "correct the path; types that are usual are known",
    ),
    Row("no-script", "error", "pyrun", "the script that is to be run is not there", "correct the path"),
    Row(
        "no-static-files",
        "warning",
        "static-map",
        "files are to be served from a place that does not exist",
        "create it (for Django: manage.py collectstatic), or correct the path",
    ),
    Row(
        "no-such-encoder", "error", "log-encoder", "there is no such encoder", "use prefix, suffix, nl, format or json"
    ),
    Row(
        "no-such-logger",
        "error",
        "logger",
        "there is no such logger",
        "use file, fd, stdio, syslog, rsyslog or socket",
    ),
    Row("no-such-algorithm", "warning", "cheaper-algo", "there is no such algorithm", "name one that there is"),
    Row("no-such-metric", "warning", "log-format", "a format has a metric that is not there", "remove it"),
    Row(
        "no-shared-socket",
        "error",
        "shared-socket",
        "an address is the number of a shared socket that is not there",
        "they are counted from 0; or write the address in its place",
    ),
    Row("bad-hook", "error", "hook-as-user", "what is to be done at some point can not be done", "mend the line"),
    Row("hook-not-needed", "note", "hook-master-start", "a hook sets what is the case here anyway", "remove the line"),
    Row(
        "inherited-unusable",
        "warning",
        "",
        "a descriptor that was passed at the start (socket activation) is no listening stream socket",
        "use ListenStream= and Accept=no in the socket unit",
    ),
    Row("bad-program", "error", "attach-daemon2", "a program beside the workers is not described", "mend the line"),
    Row("program-key", "warning", "attach-daemon2", "a key is known to uWSGI alone", "remove it"),
    Row("no-user", "error", "uid", "there is no such user", "create it, or name another"),
    Row(
        "nothing-static",
        "warning",
        "",
        "an option is about static files, and none are served",
        "name them: static-map = /static=/srv/app/static; or remove it",
    ),
    Row("not-root", "error", "uid", "only root can become another user", "start it as root"),
    Row("runs-as-root", "warning", "uid", "the instance runs as root", "add uid and gid"),
    Row("same-address", "error", "", "an address is given twice", "remove one"),
    Row(
        "shows-exceptions",
        "warning",
        "catch-exceptions",
        "clients see tracebacks with lines of the source",
        "remove it before others reach the instance",
    ),
    Row(
        "two-root-apps",
        "warning",
        "mount",
        "an application is mounted at / beside a module or wsgi-file, which answers there",
        "remove one of them",
    ),
    Row(
        "term-stops",
        "note",
        "die-on-term",
        "SIGTERM stops, where uWSGI reloads",
        "die-on-term = true says the same and silences this",
    ),
    Row(
        "unused-shared-socket",
        "warning",
        "shared-socket",
        "nothing is served on a shared socket",
        "add http = =N (or socket), or remove it",
    ),
    Row("too-many-addresses", "error", "", "more addresses than one instance takes", "start a second instance"),
    # What is looked at by who asks.
    Row(
        "app-syntax",
        "error",
        "module",
        "the application's file is no Python that its interpreter reads",
        "correct the line that is named",
    ),
    Row(
        "config-writable",
        "warning",
        "",
        "every user of this machine may change a file of the configuration",
        "chmod o-w FILE",
    ),
    Row(
        "daemonize-under-systemd",
        "warning",
        "daemonize",
        "the instance leaves the service that systemd watches, and its log the journal",
        "remove daemonize, and use Type=notify",
    ),
    Row("is-directory", "error", "", "a file is to be written where a directory is", "name a file in it"),
    Row(
        "many-workers",
        "note",
        "processes",
        "there are many more workers than CPUs that this machine lets us use",
        "processes = auto, and threads for requests that wait",
    ),
    Row(
        "nginx-gives-up-first",
        "warning",
        "harakiri",
        "nginx waits less long for a response than a request may run, which has no limit without harakiri",
        "raise uwsgi_read_timeout or proxy_read_timeout there, or set a lower harakiri",
    ),
    Row(
        "nginx-speaks-http",
        "error",
        "socket",
        "nginx on this machine sends HTTP (proxy_pass) to a socket that speaks uwsgi: visitors have a 502",
        "uwsgi_pass in nginx, with include uwsgi_params",
    ),
    Row(
        "nginx-speaks-uwsgi",
        "error",
        "http",
        "nginx on this machine speaks uwsgi (uwsgi_pass) to an address that serves HTTP: visitors have a 502",
        "proxy_pass in nginx, or socket in place of http here",
    ),
    Row(
        "log-variable-unknown",
        "note",
        "log-format",
        "a variable of log-format is none of the server's, so it is - unless the application sets it",
        "correct its name",
    ),
    Row("no-app-file", "error", "wsgi-file", "the file of the application does not exist", "correct the path"),
    Row(
        "no-callable",
        "error",
        "callable",
        "the application's file has no such name at its top level",
        "callable = NAME, or define it",
    ),
    Row(
        "no-module",
        "error",
        "module",
        "the module is nowhere in pythonpath, chdir and the environment",
        "correct the name, or chdir to the directory that its package is in",
    ),
    Row(
        "no-python-path",
        "warning",
        "pythonpath",
        "a directory of pythonpath does not exist",
        "create it, or correct the path",
    ),
    Row(
        "no-settings-module",
        "warning",
        "env",
        "DJANGO_SETTINGS_MODULE names a module that is nowhere",
        "correct the name, or chdir to the directory that its package is in",
    ),
    Row(
        "not-a-socket", "error", "", "there is a file in the place of a unix socket", "remove it, or name another path"
    ),
    Row(
        "not-reachable",
        "error",
        "",
        "the user of the instance may not enter a directory on the way to its files",
        "chmod o+x DIRECTORY, or move the project, for instance to /srv",
    ),
    Row(
        "not-writable",
        "error",
        "",
        "this user may not write where a file or socket is to be made",
        "allow it, or name another place",
    ),
    Row(
        "other-python",
        "error",
        "home",
        "the virtual environment is of a Python version that Penstock is not installed for",
        "install Penstock with that Python, or make the environment with another",
    ),
    Row(
        "secret-readable",
        "note",
        "env",
        "every user of this machine may read a secret in the configuration",
        "chmod o-r FILE, or use EnvironmentFile= of the unit",
    ),
    Row(
        "static-exposes-code",
        "warning",
        "static-map",
        "what is served as static files holds code or the configuration",
        "serve a directory that holds nothing else, as STATIC_ROOT of Django",
    ),
    Row(
        "term-reloads-under-systemd",
        "warning",
        "die-on-term",
        "systemd stops a service with SIGTERM, which reloads here, and kills it in the end",
        "remove die-on-term = false",
    ),
    Row(
        "thread-before-fork",
        "warning",
        "lazy-apps",
        "the application starts a thread while it is imported, which no worker will have",
        "start it in a function marked with uwsgidecorators.postfork, or add lazy-apps = true",
    ),
    Row(
        "venv-not-used",
        "note",
        "home",
        "there is a virtual environment beside the application, and home does not name it",
        "home = PATH",
    ),
)

CODES: dict[str, Row] = {row.code: row for row in ROWS}
