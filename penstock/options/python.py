"""Options of the Python that runs the application, and of what is imported beside it."""

from __future__ import annotations

from penstock.options.option import Option, Value, at_least, between, not_empty

TITLE = "Python"

MOST_LOCKS = 10_000


def is_alias(value: Value) -> str | None:
    """Accept NAME=MODULE with both sides given."""
    name, equals, module = str(value).partition("=")
    if not equals or not name or not module:
        return "must be written NAME=MODULE, for example settings=shop.settings or settings=/srv/shop/settings.py"
    return None


OPTIONS = (
    Option(
        name="catch-exceptions",
        type="flag",
        help="send the traceback of an exception to the client instead of a plain 500",
        verdict="differs",
        note="without the variables of the request, which hold cookies and passwords",
    ),
    Option(
        name="chdir2",
        type="path",
        metavar="DIR",
        check=not_empty,
        help="directory that the workers change to when the application is loaded",
    ),
    Option(
        name="envdir",
        aliases=("early-envdir",),
        type="path",
        metavar="DIR",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="set a variable for each file of a directory, or remove it where the file is empty",
    ),
    Option(
        name="force-cwd",
        type="path",
        metavar="DIR",
        tier=3,
        help="directory in which a reload starts",
        verdict="not-needed",
        note="a reload starts where the instance was started",
    ),
    Option(
        name="import",
        aliases=("py-import", "pyimport", "python-import"),
        type="text",
        metavar="MODULE|FILE",
        repeatable=True,
        check=not_empty,
        help="import this module when the application is loaded",
        verdict="differs",
        note="one that fails counts as an application that does not load",
    ),
    Option(
        name="lazy",
        type="flag",
        help="the same as lazy-apps",
        verdict="differs",
        note="a reload starts new workers beside the old ones, as every reload does",
    ),
    Option(
        name="locks",
        type="integer",
        default=0,
        tier=3,
        check=between(0, MOST_LOCKS, "which is more than any application needs"),
        help="how many locks the application has beside lock 0 (uwsgi.lock)",
    ),
    Option(
        name="no-server",
        type="flag",
        help="load the application and end with status 0, to test a configuration",
        verdict="differs",
        note="an application that does not load ends it with status 22, with need-app = false too",
    ),
    Option(
        name="no-site",
        type="flag",
        help="start the interpreter of the application without its module site",
    ),
    Option(
        name="optimize",
        short="O",
        type="integer",
        default=0,
        check=at_least(0),
        help="level of optimization: 1 leaves out assert, 2 docstrings too",
    ),
    Option(
        name="post-pymodule-alias",
        type="mapping",
        metavar="NAME=MODULE",
        repeatable=True,
        tier=3,
        check=is_alias,
        help="give a module, or the one in a file, a second name when the application is loaded",
    ),
    Option(
        name="py-call-uwsgi-fork-hooks",
        type="flag",
        tier=3,
        help="run what Python and its modules do before and after a fork",
        verdict="not-needed",
        note="they always run",
    ),
    Option(
        name="py-executable",
        aliases=("py-sys-executable",),
        type="path",
        metavar="FILE",
        check=not_empty,
        help="value of sys.executable; the interpreter of the application if it is not given",
    ),
    Option(
        name="py-programname",
        aliases=("py-program-name",),
        type="path",
        metavar="FILE",
        check=not_empty,
        help="value of sys.executable where py-executable is not given",
        verdict="differs",
        note="home says which Python runs the application",
    ),
    Option(
        name="py-tracebacker",
        type="path",
        metavar="PREFIX",
        check=not_empty,
        help="write the stacks of all threads of worker N to whoever connects to the unix socket PREFIXN",
    ),
    Option(
        name="pyargv",
        type="text",
        metavar="WORDS",
        help="words that stand in sys.argv behind its first, separated by blanks",
    ),
    Option(
        name="pymodule-alias",
        type="mapping",
        metavar="NAME=MODULE",
        repeatable=True,
        tier=3,
        check=is_alias,
        help="give a module, or the one in a file, a second name before the application is loaded",
    ),
    Option(
        name="reload-on-exception",
        type="flag",
        tier=3,
        help="replace a worker after each exception of the application",
        verdict="differs",
        note="the new worker is ready before the old one leaves",
    ),
    Option(
        name="reload-on-exception-repr",
        type="text",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="replace a worker after an exception that a traceback would end with like this (module.Type: text)",
    ),
    Option(
        name="reload-on-exception-type",
        type="text",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="replace a worker after an exception of this type (Type or module.Type)",
    ),
    Option(
        name="reload-on-exception-value",
        type="text",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="replace a worker after an exception with this text",
    ),
    Option(
        name="shared-import",
        aliases=("shared-py-import", "shared-pyimport", "shared-python-import"),
        type="text",
        metavar="MODULE|FILE",
        repeatable=True,
        check=not_empty,
        help="import this module before the application, once for all processes",
        verdict="differs",
        note="one that fails counts as an application that does not load",
    ),
    Option(
        name="start_response-nodelay",
        type="flag",
        tier=3,
        help="send the head of a response when start_response is called",
        verdict="not-needed",
        note="PEP 3333 wants it to leave with the first piece of the body, so that an error can still replace it",
    ),
    Option(
        name="unenv",
        type="text",
        metavar="NAME",
        repeatable=True,
        tier=3,
        check=not_empty,
        help="remove a variable from the environment of the application",
    ),
    Option(
        name="wsgi-accept-buffer",
        aliases=("wsgi-accept-buffers",),
        type="flag",
        tier=3,
        help="let pieces of a body be any bytes-like object (bytearray, memoryview)",
    ),
    Option(
        name="wsgi-disable-file-wrapper",
        type="flag",
        help="leave wsgi.file_wrapper out of the environ",
    ),
    Option(
        name="wsgi-strict",
        type="flag",
        tier=3,
        help="refuse a body that is one bytes object instead of an iterable of them",
    ),
)
