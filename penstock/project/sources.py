"""Python files of a project, read and never run: which settings they name, and which applications they bind.

What can not be known without running the code (a name that is computed) is left out, not guessed.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator
from typing import Literal

from penstock.plan.modules import read_source
from penstock.values import dataclass

SETTINGS_VARIABLE = "DJANGO_SETTINGS_MODULE"

Kind = Literal["wsgi", "asgi"]

_WSGI_MAKERS = frozenset(
    {
        "Flask", "Bottle", "default_app", "get_wsgi_application", "make_wsgi_app", "WSGIApplication", "ProxyFix",
        "WhiteNoise", "DispatcherMiddleware", "SharedDataMiddleware",
    }
)  # fmt: skip
"""What makes a WSGI application when it is called."""
_ASGI_MAKERS = frozenset(
    {
        "FastAPI", "Starlette", "Quart", "Sanic", "Litestar", "BlackSheep", "ProtocolTypeRouter",
        "get_asgi_application", "WsgiToAsgi", "WSGIMiddleware", "ASGIApp",
    }
)  # fmt: skip
"""What makes an ASGI application when it is called."""
FACTORIES = ("create_app", "make_app", "build_app", "get_app", "create_application")
"""Functions that usually return the application."""
NAMES = ("application", "app", "wsgi_app", "wsgi", "api", "server", "asgi_app", "asgi")
"""What applications are usually called, the most common first."""


@dataclass(frozen=True, slots=True)
class Bound:
    """An application that a file binds at its top level."""

    name: str
    """The name, or `create_app()` for a function that returns it."""
    kind: Kind
    line: int
    made_by: str
    """What it is made with, as `Flask`; `function` for one that is written out."""


def tree_of(path: str) -> ast.Module | None:
    """Read a file; None if it is not there, or no Python that this interpreter reads."""
    data = read_source(path)
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            # An escape that is none is the project's to mend, not ours to complain of.
            warnings.simplefilter("ignore")
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def settings_named(path: str) -> tuple[bool, str]:
    """Tell whether a file sets DJANGO_SETTINGS_MODULE, and to what; empty where that is computed."""
    tree = tree_of(path)
    is_set, value = False, ""
    for node in ast.walk(tree) if tree is not None else ():
        text = _setting_of(node)
        if text is not None:
            is_set, value = True, value or text
    return is_set, value


def _setting_of(node: ast.AST) -> str | None:
    """Read `os.environ.setdefault(NAME, value)`, `os.environ[NAME] = value` or `os.putenv(NAME, value)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 1:
        if node.func.attr in ("setdefault", "putenv") and _text(node.args[0]) == SETTINGS_VARIABLE:
            return _text(node.args[1]) or _fallback(node.args[1])
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Subscript) and _text(target.slice) == SETTINGS_VARIABLE:
                return _text(node.value) or _fallback(node.value)
    return None


def _fallback(node: ast.expr) -> str:
    """Read the second argument of `os.environ.get(NAME, "value")` or `getenv`: what holds if nothing is said."""
    if isinstance(node, ast.Call) and len(node.args) == 2:
        return _text(node.args[1])
    return ""


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def constant(path: str, name: str) -> str:
    """Read a text that a file binds to `name` at its top level; empty where there is none, or it is computed."""
    tree = tree_of(path)
    found = ""
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Assign) and any(
            isinstance(each, ast.Name) and each.id == name for each in node.targets
        ):
            found = _text(node.value)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == name:
            found = _text(node.value) if node.value is not None else ""
    return found


def place_of(path: str, name: str, depth: int = 3) -> str:
    """Find where a name is bound, as FILE:LINE, in a file or in what it takes over with `from .base import *`.

    The file alone where that can not be found.
    """
    return _place_of(path, name, depth) or path


def _place_of(path: str, name: str, depth: int) -> str:
    tree = tree_of(path)
    line = 0
    for node in _top(tree.body) if tree is not None else ():
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            line = node.lineno
    if line:
        return f"{path}:{line}"
    for node in tree.body if tree is not None and depth else ():
        if isinstance(node, ast.ImportFrom) and node.level and any(alias.name == "*" for alias in node.names):
            folder = os.path.dirname(path)
            for _ in range(node.level - 1):
                folder = os.path.dirname(folder)
            stem = os.path.join(folder, *(node.module or "").split("."))
            for candidate in (f"{stem}.py", os.path.join(stem, "__init__.py")):
                if os.path.isfile(candidate) and (found := _place_of(candidate, name, depth - 1)):
                    return found
    return ""


def is_settings(path: str) -> bool:
    """Tell whether a file looks like Django's settings: it binds, or takes from beside it, what only they have."""
    tree = tree_of(path)
    if tree is None:
        return False
    bound = set()
    for node in tree.body:
        for target in node.targets if isinstance(node, ast.Assign) else ():
            bound |= {target.id} if isinstance(target, ast.Name) else set()
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            bound.add("*")
    return bool(bound & {"INSTALLED_APPS", "ROOT_URLCONF", "MIDDLEWARE", "DATABASES"}) or (
        "*" in bound and bool(bound & {"DEBUG", "ALLOWED_HOSTS", "SECRET_KEY"})
    )


def is_empty(path: str) -> bool:
    """Tell whether a file says nothing: only texts and `pass`."""
    tree = tree_of(path)
    return tree is not None and all(
        isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for node in tree.body
    )


def imports(path: str) -> frozenset[str]:
    """List the packages that a file imports at its top level, by their first names."""
    found: set[str] = set()
    tree = tree_of(path)
    for node in tree.body if tree is not None else ():
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)


def applications(path: str) -> list[Bound]:
    """List the applications that a file binds, the most likely first."""
    tree = tree_of(path)
    if tree is None or any(_serves(node) for node in _top(tree.body)):
        return []
    found = {bound.name: bound for node in _top(tree.body) for bound in _bound(node)}

    def rank(bound: Bound) -> tuple[int, int]:
        return (NAMES.index(bound.name) if bound.name in NAMES else len(NAMES), bound.line)

    plain = sorted((bound for bound in found.values() if not bound.name.endswith("()")), key=rank)
    return plain or list(found.values())


def taken_over(path: str) -> Iterator[tuple[str, str, str]]:
    """List the names of applications that a file imports: (name here, module, name there).

    The module is dotted; of a relative import it begins with its dots.
    """
    tree = tree_of(path)
    if tree is None or any(_serves(node) for node in _top(tree.body)):
        return
    for node in _top(tree.body):
        for alias in node.names if isinstance(node, ast.ImportFrom) else ():
            name = alias.asname or alias.name
            if isinstance(node, ast.ImportFrom) and name in NAMES:
                yield name, "." * node.level + (node.module or ""), alias.name


def _serves(node: ast.stmt) -> bool:
    """Tell whether a statement starts a server: an import of its file would not come back."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    name = _dotted(call.func)
    return name.rpartition(".")[2] in ("run", "serve", "serve_forever") and name != "subprocess.run"


def _top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Go through what runs at an import, `if`, `try` and `with` included, but not what runs as a script."""
    for node in body:
        yield node
        if (isinstance(node, ast.If) and not _is_main(node.test)) or isinstance(node, ast.Try):
            yield from _top(node.body)
            yield from _top(node.orelse)
        elif isinstance(node, ast.With):
            yield from _top(node.body)


def _is_main(test: ast.expr) -> bool:
    return isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__"


def _bound(node: ast.stmt) -> Iterator[Bound]:
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        made = _made(node.value)
        for target in targets:
            if isinstance(target, ast.Name) and made is not None:
                kind, maker = made
                if maker in FACTORIES and target.id not in NAMES:
                    continue
                yield Bound(target.id, kind, node.lineno, maker)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        yield from _function(node)


def _made(value: ast.expr) -> tuple[Kind, str] | None:
    if isinstance(value, ast.Await):
        return None
    if not isinstance(value, ast.Call):
        return None
    dotted = _dotted(value.func)
    last = dotted.rpartition(".")[2]
    if dotted in ("falcon.asgi.App", "asgi.App"):
        return "asgi", dotted
    if last in _ASGI_MAKERS:
        return "asgi", last
    if last in _WSGI_MAKERS or dotted in ("falcon.App", "web.application", "socketio.WSGIApp") or last in FACTORIES:
        return "wsgi", last
    return None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else node.attr
    return ""


def _function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[Bound]:
    arguments = [*node.args.posonlyargs, *node.args.args]
    required = len(arguments) - len(node.args.defaults)
    names = [argument.arg for argument in arguments]
    is_async = isinstance(node, ast.AsyncFunctionDef)
    if is_async and len(names) == 3 and (node.name in NAMES or names == ["scope", "receive", "send"]):
        yield Bound(node.name, "asgi", node.lineno, "function")
    elif not is_async and len(names) == 2 and (node.name in NAMES or names[1] == "start_response"):
        yield Bound(node.name, "wsgi", node.lineno, "function")
    elif not is_async and node.name in FACTORIES and not required:
        kinds = {made[0] for inner in ast.walk(node) if isinstance(inner, ast.Call) and (made := _made(inner))}
        yield Bound(f"{node.name}()", "asgi" if kinds == {"asgi"} else "wsgi", node.lineno, node.name)


def python_files(folder: str, depth: int) -> Iterator[str]:
    """List the Python files of a project down to a depth, near ones first; no environments, tests or hidden places."""
    level = [folder]
    for _ in range(depth + 1):
        below: list[str] = []
        for place in level:
            try:
                entries = sorted(os.scandir(place), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                try:
                    if entry.name.endswith(".py") and entry.is_file():
                        yield entry.path
                    elif is_code_folder(entry.name, entry.path) and entry.is_dir():
                        below.append(entry.path)
                except OSError:
                    continue
        level = below[:500]


_NOT_CODE = frozenset(
    {
        "__pycache__", "node_modules", "site-packages", "tests", "test", "docs", "doc", "migrations", "static", "media",
        "templates", "build", "dist", "examples", "example", "scripts", "fixtures", "locale",
    }
)  # fmt: skip
"""Folders that hold no application of a project."""


def is_code_folder(name: str, path: str) -> bool:
    """Tell whether a folder may hold code of the project: an environment, tests or what is hidden do not."""
    if name.startswith(".") or name in _NOT_CODE or name.endswith(".egg-info"):
        return False
    return not os.path.exists(os.path.join(path, "pyvenv.cfg")) and not os.path.isdir(os.path.join(path, "conda-meta"))
