"""`gunicorn.conf.py` read as data: what is assigned in it, as far as that can be told without running it.

Literals, names that were assigned before, f-strings and sums of them, the environment (`os.environ.get("X", "1")` is
`$(X-1)`), the number of CPUs (`%k`, and arithmetic with it `%(%k * 2 + 1)`), and the directory of the file (`%d`).
Whatever else is assigned is named with its line. Nothing is executed.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable

from penstock.config.pairs import Malformed
from penstock.convert.document import literal
from penstock.convert.gunicorn.settings import BY_NAME
from penstock.convert.gunicorn.values import Given, Text, Unread, Value, written

_CPU_COUNTS = frozenset({"multiprocessing.cpu_count", "os.cpu_count", "os.process_cpu_count", "psutil.cpu_count"})
_ENVIRONMENT = frozenset({"os.environ.get", "os.getenv"})
_SAME_PATH = frozenset(
    {"os.path.abspath", "os.path.realpath", "os.path.normpath", "pathlib.Path", "os.fspath", "os.path.expanduser"}
)
_SYMBOLS: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.FloorDiv: "/", ast.Div: "/"}
_COUNTED: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_THIS_FILE = Text("%p")
_ROOT = Text("%d", ends_in_slash=True)
_MOST_NODES = 20_000


class _NotData(Exception):
    """An expression that has to be run to know its value: why."""


def read(text: str) -> tuple[list[Given], list[Unread]]:
    """Read what is assigned, in order, and what could not be read. Raises Malformed where it is no Python."""
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        raise Malformed(f"this is not Python: {error.msg}", error.lineno or 1, "correct the line") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise Malformed(f"this is not Python: {error}", 1, "save it as text") from None
    if sum(1 for _ in ast.walk(tree)) > _MOST_NODES:
        raise Malformed("this is not a configuration: it is too large", 1, "take what is no setting out of it")
    reader = _Reader()
    try:
        reader.body(tree.body)
    except RecursionError:
        raise Malformed("this is not a configuration: it is nested too deeply", 1, "simplify it") from None
    return reader.given, reader.unread


class _Reader:
    def __init__(self) -> None:
        self.given: list[Given] = []
        self.unread: list[Unread] = []
        self._names: dict[str, Value] = {}
        self._unknown: dict[str, int] = {}
        """Names with a value that could not be read, and the line of it."""
        self._modules: dict[str, str] = {}
        """Name -> what it was imported from, with dots."""

    # Statements

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                self._assign(target, statement.value)
        elif isinstance(statement, ast.AnnAssign):
            if statement.value is not None:
                self._assign(statement.target, statement.value)
        elif isinstance(statement, ast.AugAssign):
            left = ast.copy_location(ast.Name(getattr(statement.target, "id", ""), ast.Load()), statement)
            self._assign(statement.target, ast.copy_location(ast.BinOp(left, statement.op, statement.value), statement))
        elif isinstance(statement, ast.Import | ast.ImportFrom):
            self._import(statement)
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if statement.name in BY_NAME:
                self._remember(statement.name, Text(statement.name), statement.lineno)
        elif isinstance(statement, ast.If):
            self._if(statement)
        elif not isinstance(statement, ast.Pass) and not _is_text(statement):
            self._not_run(statement)

    def _if(self, statement: ast.If) -> None:
        try:
            test = self._value(statement.test)
        except _NotData:
            self._not_run(statement)
            return
        if isinstance(test, Text):
            self._not_run(statement)
        else:
            self.body(statement.body if test else statement.orelse)

    def _not_run(self, statement: ast.stmt) -> None:
        """What is done inside is not known: everything that it may assign is not known either."""
        names = sorted(
            {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _may_change(node, statement)}
        )
        for name in names:
            self._forget(name, statement.lineno)
        settings = [name for name in names if name in BY_NAME]
        what = ", ".join(settings) if settings else ast.unparse(statement).split("\n")[0][:60]
        why = "it depends on what is only known when the file is run" if settings else "this is not run"
        self.unread.append(Unread(what, why, statement.lineno))

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        for alias in statement.names:
            if isinstance(statement, ast.Import):
                self._modules[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
            else:
                self._modules[alias.asname or alias.name] = f"{statement.module}.{alias.name}"
                if alias.name == "*" or alias.name in BY_NAME:
                    why = "it comes from another module; write its settings into this file"
                    self.unread.append(Unread(ast.unparse(statement), why, statement.lineno))

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List) and isinstance(value, ast.Tuple | ast.List):
            if len(target.elts) == len(value.elts):
                for one, its in zip(target.elts, value.elts, strict=True):
                    self._assign(one, its)
                return
        if not isinstance(target, ast.Name):
            for node in ast.walk(target):
                if isinstance(node, ast.Name):
                    self._forget(node.id, target.lineno)
            return
        try:
            found = self._value(value)
        except _NotData as reason:
            self._forget(target.id, value.lineno)
            if target.id in BY_NAME:
                self.unread.append(Unread(target.id, str(reason), value.lineno))
            return
        self._remember(target.id, found, value.lineno)

    def _remember(self, name: str, value: Value, line: int) -> None:
        self._names[name] = value
        self._unknown.pop(name, None)
        if name in BY_NAME:
            self.given.append(Given(name, value, str(line), line))

    def _forget(self, name: str, line: int) -> None:
        self._names.pop(name, None)
        self._unknown[name] = line
        self.given = [one for one in self.given if one.name != name]

    # Expressions

    def _value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return [self._value(one) for one in node.elts]
        if isinstance(node, ast.Dict):
            keys = [str(self._plain(key)) if key is not None else "" for key in node.keys]
            return dict(zip(keys, map(self._value, node.values), strict=True))
        if isinstance(node, ast.JoinedStr):
            return self._joined([self._piece(one) for one in node.values])
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BoolOp):
            return self._either(node)
        if isinstance(node, ast.IfExp):
            test = self._value(node.test)
            if isinstance(test, Text):
                raise _NotData("it depends on what is only known when the file is run")
            return self._value(node.body if test else node.orelse)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute) and node.attr == "parent":
            return self._parent(self._value(node.value))
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _constant(self, node: ast.Constant) -> Value:
        value = node.value
        if value is None or isinstance(value, bool | int | str):
            return value
        raise _NotData(f"{ast.unparse(node)[:60]} is no value that an option can have")

    def _name(self, node: ast.Name) -> Value:
        if node.id in self._names:
            return self._names[node.id]
        if node.id == "__file__":
            return _THIS_FILE
        if node.id in self._unknown:
            raise _NotData(f"{node.id} (line {self._unknown[node.id]}) has to be run to know its value")
        raise _NotData(f"{node.id} is not assigned in this file")

    def _plain(self, node: ast.expr) -> str | int:
        value = self._value(node)
        if isinstance(value, str | int):
            return value
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _piece(self, node: ast.expr) -> Value:
        if isinstance(node, ast.FormattedValue):
            if node.format_spec is not None or node.conversion not in (-1, 115):
                raise _NotData(f"{ast.unparse(node)[:60]} has a format of its own")
            return self._value(node.value)
        return self._value(node)

    def _joined(self, pieces: list[Value]) -> Value:
        if any(not isinstance(piece, str | int | Text) for piece in pieces):
            raise _NotData("only texts and numbers can be joined")
        if all(not isinstance(piece, Text) for piece in pieces):
            return "".join(str(piece) for piece in pieces)
        return Text("".join(written(piece) or "" for piece in pieces))

    def _binary(self, node: ast.BinOp) -> Value:
        left, right = self._value(node.left), self._value(node.right)
        kind = type(node.op)
        if kind is ast.Add and isinstance(left, list) and isinstance(right, list):
            return [*left, *right]
        if kind is ast.Div and _is_path(left):
            return _path(left, right)
        if kind is ast.Add and (isinstance(left, str) or isinstance(right, str) or _is_words(left, right)):
            return self._joined([left, right])
        if isinstance(left, int) and isinstance(right, int) and kind in _COUNTED:
            try:
                return _COUNTED[kind](left, right)
            except ZeroDivisionError:
                raise _NotData("it divides by zero") from None
        if kind in _SYMBOLS and _is_number(left) and _is_number(right):
            return Text(f"%({_operand(left, first=True)} {_SYMBOLS[kind]} {_operand(right)})", is_number=True)
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _unary(self, node: ast.UnaryOp) -> Value:
        value = self._value(node.operand)
        if isinstance(node.op, ast.Not) and not isinstance(value, Text):
            return not value
        if isinstance(node.op, ast.USub) and isinstance(value, int):
            return -value
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _either(self, node: ast.BoolOp) -> Value:
        """`a or b`: a variable that is not set or empty has a default."""
        values = [self._value(one) for one in node.values]
        if not isinstance(node.op, ast.Or):
            if any(isinstance(one, Text) for one in values):
                raise _NotData("it depends on what is only known when the file is run")
            return next((one for one in values if not one), values[-1])
        for place, value in enumerate(values):
            if isinstance(value, Text) and value.variable and place + 1 < len(values):
                rest = values[place + 1]
                if isinstance(rest, str | int) and not isinstance(rest, bool):
                    return _variable(value.variable, str(rest), is_number=value.is_number, or_empty=True)
            if isinstance(value, Text):
                if place + 1 < len(values):
                    raise _NotData("it depends on what is only known when the file is run")
                return value
            if value:
                return value
        return values[-1]

    def _subscript(self, node: ast.Subscript) -> Value:
        if self._dotted(node.value) == "os.environ":
            return _variable(str(self._plain(node.slice)))
        whole, index = self._value(node.value), self._plain(node.slice)
        try:
            if isinstance(whole, list) and isinstance(index, int):
                return whole[index]
            if isinstance(whole, dict):
                return whole[str(index)]
        except (IndexError, KeyError):
            pass
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _call(self, node: ast.Call) -> Value:
        name = self._dotted(node.func)
        arguments = node.args
        if node.keywords and not (name in _ENVIRONMENT and node.keywords[0].arg == "default"):
            raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")
        if name in _CPU_COUNTS and not arguments:
            return Text("%k", is_number=True)
        if name in _ENVIRONMENT and arguments:
            return self._environment(node)
        if name in ("int", "str", "float", "bool") and len(arguments) == 1:
            return self._cast(name, self._value(arguments[0]), node)
        if name == "len" and len(arguments) == 1 and isinstance(arguments[0], ast.Call):
            if self._dotted(arguments[0].func) == "os.sched_getaffinity":
                return Text("%k", is_number=True)
        if name in ("max", "min") and arguments:
            values = [self._value(one) for one in arguments]
            numbers = [one for one in values if isinstance(one, int)]
            if len(numbers) == len(values):
                return max(numbers) if name == "max" else min(numbers)
        if name in _SAME_PATH and len(arguments) == 1:
            return self._value(arguments[0])
        if name == "os.path.dirname" and len(arguments) == 1:
            return self._parent(self._value(arguments[0]))
        if name == "os.path.join" and arguments:
            path = self._value(arguments[0])
            for one in arguments[1:]:
                path = _path(path, self._value(one))
            return path
        if isinstance(node.func, ast.Attribute) and node.func.attr in ("resolve", "absolute") and not arguments:
            value = self._value(node.func.value)
            if _is_path(value):
                return value
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _dotted(self, node: ast.expr) -> str:
        """Name a function by where it was imported from."""
        if isinstance(node, ast.Name):
            return self._modules.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            inner = self._dotted(node.value)
            return f"{inner}.{node.attr}" if inner else ""
        return ""

    def _environment(self, node: ast.Call) -> Value:
        name = str(self._plain(node.args[0]))
        rest = [*node.args[1:], *(keyword.value for keyword in node.keywords)]
        if not rest:
            return _variable(name)
        default = self._value(rest[0])
        if default is None:
            return _variable(name)
        if isinstance(default, str | int):
            return _variable(name, str(default))
        raise _NotData(f"{ast.unparse(rest[0])[:60]} is no default that a placeholder can have")

    def _cast(self, name: str, value: Value, node: ast.Call) -> Value:
        if isinstance(value, Text):
            if name == "bool":
                raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")
            return Text(value.text, is_number=name in ("int", "float"), variable=value.variable)
        try:
            if name == "str" and isinstance(value, str | int):
                return str(value)
            if name == "bool" and isinstance(value, str | int):
                return bool(value)
            if isinstance(value, str | int):
                return int(value)
        except ValueError:
            pass
        raise _NotData(f"{ast.unparse(node)[:60]} has to be run to know its value")

    def _parent(self, value: Value) -> Value:
        if value == _THIS_FILE:
            return _ROOT
        if isinstance(value, Text) and value.text.startswith("%d"):
            return Text(value.text + ("" if value.ends_in_slash else "/") + "..")
        if isinstance(value, str):
            return value.rpartition("/")[0] or ("/" if value.startswith("/") else "")
        raise _NotData("the directory of something else than this file")


def _may_change(node: ast.Name, statement: ast.stmt) -> bool:
    """Whether a statement may give this name another value: it stores it, or calls a method of it."""
    if isinstance(node.ctx, ast.Store | ast.Del):
        return True
    return any(
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == node.id
        for call in ast.walk(statement)
    )


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _variable(name: str, default: str | None = None, *, is_number: bool = False, or_empty: bool = False) -> Text:
    if not name or any(character in name for character in "()-$@% ="):
        raise _NotData(f"{name!r} is no name that a placeholder can have")
    if default is None:
        return Text(f"$({name})", is_number, name)
    if any(character in default for character in "()$@"):
        raise _NotData(f"{default!r} is no default that a placeholder can have")
    return Text(f"$({name}{':-' if or_empty else '-'}{literal(default)})", is_number)


def _is_number(value: Value) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, Text) and value.is_number)


def _operand(value: Value, *, first: bool = False) -> str:
    """Write a part of a calculation, which goes from left to right: what is inside on the right needs brackets."""
    text = written(value) or ""
    if text.startswith("%(") and text.endswith(")"):
        return text[2:-1] if first else text[1:]
    return text


def _is_words(left: Value, right: Value) -> bool:
    """Whether a sum joins texts: a number that is only known later is one for sure only when it was made one."""
    return any(isinstance(one, Text) and not one.is_number for one in (left, right))


def _is_path(value: Value) -> bool:
    return isinstance(value, Text) and not value.is_number and value.text.startswith(("%d", "%p"))


def _path(left: Value, right: Value) -> Value:
    """Join two parts of a path."""
    if not isinstance(left, str | Text) or not isinstance(right, str | Text):
        raise _NotData("only texts can be joined to a path")
    if isinstance(right, str) and right.startswith("/"):
        return right
    if isinstance(left, str) and isinstance(right, str):
        return f"{left.rstrip('/')}/{right}" if left else right
    ends = isinstance(left, Text) and left.ends_in_slash
    return Text(f"{written(left)}{'' if ends else '/'}{written(right)}")
