"""From an AppPlan to the callable that answers requests, or to an explanation that a person can act on.

Importing and looking up only; what surrounds the import is `surroundings`, what to do about a missing module is
`cures`, what follows from a failure is `generation` and `worker`. A failure names the first cause, the line of the
user's own code nearest to it, and a cure. What only a failure needs of the standard library is imported then.
"""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Callable, Iterable
from types import CodeType, ModuleType, TracebackType
from typing import Any

from penstock.plan.types import AppPlan
from penstock.values import dataclass
from penstock.worker import cures

App = Callable[..., Any]

CO_COROUTINE = 0x80
"""Of a code object's flags: it is that of an `async def` (inspect.CO_COROUTINE)."""
LIKE = 0.6
"""How alike the names of two objects in a module are."""

USUAL_NAMES = ("application", "app", "wsgi_app", "wsgi", "api", "server", "site")
"""What projects call their application, the most common first."""
EVAL_MODULE = "uwsgi_eval_config"
"""The name of the module that `eval` is run as, which is uWSGI's."""
USUAL_FACTORIES = ("get_wsgi_application", "create_app", "make_app", "build_app", "get_app", "create_application")


@dataclass(frozen=True)
class AppNotLoaded(Exception):
    """The application could not be had."""

    reason: str
    """What happened and where; one line, for a person who has not seen the log."""
    advice: tuple[str, ...] = ()
    """What to do about it, the most likely cure first."""
    traceback: str = ""
    """Without Penstock's own frames; empty where no code of the user's failed."""
    exit_code: int | None = None
    """The status that `sys.exit` was called with, if that is what ended the import."""
    status: int = 22
    """The exit status of an instance that can not start because of it."""

    def __str__(self) -> str:
        """Everything a person needs, in reading order."""
        return "\n".join([self.reason, *(f"cure: {line}" for line in self.advice)])


def load_app(plan: AppPlan) -> App:
    """Import what `plan` names and return the application. Raises AppNotLoaded."""
    if plan.kind == "none":
        raise AppNotLoaded(
            "no application is configured",
            (
                "name it with module=project.wsgi or wsgi-file=path/to/wsgi.py; "
                "need-app = false serves without one (static files, and 500 for the rest)",
            ),
        )
    target, callable_path = plan.target, plan.callable
    if plan.kind == "module" and ":" in target:
        target, _, callable_path = target.partition(":")
    try:
        module = _IMPORTS[plan.kind](target)
        found = find_callable(module, callable_path or "application")
    except AppNotLoaded:
        raise
    except SystemExit as error:
        raise _exited(error) from error
    except BaseException as error:
        raise _failed(error, plan, target) from error
    return found


def import_module(name: str) -> ModuleType:
    """Import a module by its dotted name."""
    # Not importlib.import_module: only the plain import leaves the import system's frames out of the traceback.
    __import__(name)
    return sys.modules[name]


def run_code(text: str) -> ModuleType:
    """Run the code of `eval` as a module."""
    module = ModuleType(EVAL_MODULE)
    sys.modules[EVAL_MODULE] = module
    exec(compile(text, "<eval>", "exec"), vars(module))
    return module


class _PlainFile(importlib.machinery.SourceFileLoader):
    """Runs a source file of any suffix, and leaves no byte code: app.wsgi and app.py would share one cache file."""

    def get_code(self, fullname: str) -> Any:
        return self.source_to_code(self.get_data(self.path), self.path)


def module_name(path: str) -> str:
    """Name the module of a `wsgi-file` as uWSGI does: `/app/main.py` is `uwsgi_file__app_main`."""
    for suffix in (".py", ".wsgi"):
        path = path.removesuffix(suffix)
    return "uwsgi_file_" + path.replace("/", "_").replace(".", "_")


def import_file(path: str) -> ModuleType:
    """Execute the file at `path` as a module, once; a relative path counts from the working directory."""
    name = module_name(path)
    before = sys.modules.get(name)
    if before is not None and getattr(before, "__file__", None) == os.path.abspath(path):
        return before
    loader = _PlainFile(name, os.path.abspath(path))
    spec = importlib.util.spec_from_file_location(name, loader.path, loader=loader)
    if spec is None:
        raise ImportError(f"no module can be made of {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


_IMPORTS: dict[str, Callable[[str], ModuleType]] = {"file": import_file, "module": import_module, "eval": run_code}


def find_callable(module: ModuleType, path: str) -> App:
    """Follow `path` from `module`: dotted attributes, of which each may be called by a trailing `()`.

    Raises AppNotLoaded, or whatever a factory raises.
    """
    place: Any = module
    for part in path.split("."):
        name = part.removesuffix("()")
        try:
            found = getattr(place, name)
        except AttributeError as error:
            raise _no_attribute(place, name) from error
        place = found() if part.endswith("()") else found
    if not callable(place):
        raise AppNotLoaded(
            f"{path} of {_name_of(module)} is of type {type(place).__name__} and can not be called",
            ("callable= names the WSGI application; a factory is called by writing callable = name()",),
        )
    if _is_asgi(place):
        raise AppNotLoaded(
            f"{path} of {_name_of(module)} is an ASGI application, and this server calls WSGI applications",
            ("a Django project has both: module = project.wsgi instead of project.asgi",),
        )
    return place  # type: ignore[no-any-return]


def no_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Stand in for an application that did not load, where `need-app` is off: every request is answered 500."""
    environ["wsgi.errors"].write("--- no python application found, check your startup logs for errors ---\n")
    body = b"Internal Server Error\n"
    start_response("500 Internal Server Error", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def _is_asgi(candidate: Any) -> bool:
    if isinstance(candidate, type):
        return False
    return _is_coroutine_function(candidate) or _is_coroutine_function(type(candidate).__call__)


def _is_coroutine_function(candidate: Any) -> bool:
    """As in `inspect`, which takes a small app longer to import than the rest of a worker."""
    while isinstance(candidate, functools.partial):
        candidate = candidate.func
    candidate = getattr(candidate, "__func__", candidate)
    code = getattr(candidate, "__code__", None)
    if isinstance(code, CodeType) and code.co_flags & CO_COROUTINE:
        return True
    # What only returns a coroutine can be marked (Python 3.12); whoever did so has imported `inspect`.
    mark = getattr(sys.modules.get("inspect"), "_is_coroutine_mark", None)
    return mark is not None and getattr(candidate, "_is_coroutine_marker", None) is mark


def _name_of(place: Any) -> str:
    if not isinstance(place, ModuleType):
        return f"the {type(place).__name__} object"
    if place.__name__ == EVAL_MODULE:
        return "the code of eval"
    path = getattr(place, "__file__", None)
    return str(path) if path and place.__name__.startswith("uwsgi_file_") else f"module {place.__name__}"


def _no_attribute(place: Any, name: str) -> AppNotLoaded:
    names = [each for each in vars(place) if not each.startswith("_")] if hasattr(place, "__dict__") else []
    candidates = [each for each in names if _could_be_app(place, each)]
    likely = [each for each in USUAL_NAMES if each in candidates]
    likely += [f"{each}()" for each in USUAL_FACTORIES if each in candidates]
    likely += [each for each in cures.nearest(name, candidates, 2, LIKE) if not {each, f"{each}()"} & set(likely)]
    reason = f"{_name_of(place)} has no attribute {name}"
    inside = cures.for_package(place) if isinstance(place, ModuleType) else ()
    if inside:
        return AppNotLoaded(reason, inside)
    if likely:
        return AppNotLoaded(
            f"{reason}; did you mean {' or '.join(likely[:3])}?",
            (f"callable = {likely[0]} (or module = {getattr(place, '__name__', 'name')}:{likely[0]})",)
            if isinstance(place, ModuleType) and not place.__name__.startswith("uwsgi_file_")
            else (f"callable = {likely[0]}",),
        )
    return AppNotLoaded(reason, (f"define it there, or name the one that is there: callable = ... ({_some(names)})",))


def _could_be_app(place: Any, name: str) -> bool:
    try:
        return callable(getattr(place, name))
    except Exception:  # A property or a lazy attribute may do anything.
        return False


def _some(names: list[str]) -> str:
    return "it has " + ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "it defines no name"


def _exited(error: SystemExit) -> AppNotLoaded:
    code = error.code
    status = 0 if code is None else code if isinstance(code, int) else 1
    shown = "" if code is None else repr(code)
    return AppNotLoaded(
        f"sys.exit({shown}) was called during the import{_at(_users_frame(error))}",
        ("what ends the program belongs under: if __name__ == '__main__'",),
        format_error(error),
        status,
    )


def _failed(error: BaseException, plan: AppPlan, target: str) -> AppNotLoaded:
    first = _first_cause(error)
    reason = describe(error)
    if first is not error:
        reason += f"; first cause: {describe(first)}"
    return AppNotLoaded(reason, tuple(cures.for_error(first, plan, target)), format_error(error))


def describe(error: BaseException) -> str:
    """Say in one line what an exception is, and at which line of the user's own code it came up."""
    # The last line of the formatted exception names the module of the type, as a traceback does.
    line = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
    if isinstance(error, SyntaxError) and error.filename:
        return f"{line} at {error.filename}:{error.lineno}"
    return line + _at(_users_frame(error))


def _first_cause(error: BaseException) -> BaseException:
    """Follow the chain that the traceback would print to its beginning."""
    seen = {id(error)}
    while True:
        before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if before is None or id(before) in seen:
            return error
        seen.add(id(before))
        error = before


def _users_frame(error: BaseException) -> tuple[str, int] | None:
    """Find the innermost frame that is the user's own code; failing that, the innermost of a library."""
    place = None
    fallback = None
    for frame, line in traceback.walk_tb(_trimmed(error.__traceback__)):
        path = frame.f_code.co_filename
        if path.startswith("<"):
            continue
        fallback = (path, line)
        if not _is_library(path):
            place = fallback
    return place or fallback


def place_in_thread(thread: int) -> str:
    """Tell where a thread is: the user's own line nearest to what it runs, and that itself where it is a library's."""
    frame = sys._current_frames().get(thread)
    if frame is None:
        return ""
    places = [
        (each.f_code.co_filename, line)
        for each, line in traceback.walk_stack(frame)
        if not each.f_code.co_filename.startswith("<") and each.f_code.co_filename != __file__
    ]
    users = next((place for place in places if not _is_library(place[0])), None)
    innermost = places[0] if places else None
    return _at(users) + (f", in{_at(innermost)[3:]}" if innermost not in (None, users) else "")


def stack_of_thread(thread: int) -> str:
    """Write down where a thread is, as a traceback does."""
    frame = sys._current_frames().get(thread)
    own = os.path.dirname(os.path.dirname(__file__)) + os.sep
    places = traceback.extract_stack(frame) if frame is not None else []
    while places and places[0].filename.startswith((own, "<frozen")):
        places.pop(0)
    lines = traceback.format_list(places)
    return "".join(["Stack (most recent call last):\n", *lines]) if lines else ""


def _is_library(path: str) -> bool:
    import sysconfig

    return (
        f"{os.sep}site-packages{os.sep}" in path
        or f"{os.sep}dist-packages{os.sep}" in path
        or path.startswith((sysconfig.get_path("stdlib") + os.sep, sysconfig.get_path("platstdlib") + os.sep))
    )


def _at(place: tuple[str, int] | None) -> str:
    if place is None:
        return ""
    path, line = place
    source = linecache.getline(path, line).strip()
    return f" at {path}:{line}" + (f" ({source})" if source else "")


def _trimmed(tb: TracebackType | None) -> TracebackType | None:
    """Leave out Penstock's own frames, which stand at the beginning."""
    own = (os.path.dirname(__file__) + os.sep, "<frozen importlib._bootstrap")
    while tb is not None and tb.tb_frame.f_code.co_filename.startswith(own):
        tb = tb.tb_next
    return tb


def format_error(error: BaseException) -> str:
    """Write a traceback without Penstock's own frames; empty where no code of the user's ran."""
    text = "".join(traceback.format_exception(type(error), error, _trimmed(error.__traceback__)))
    # One line alone, where no code of the user's ran, is the reason once more.
    return text if text.count("\n") > 1 else ""
