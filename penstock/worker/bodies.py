"""Bodies beside those of PEP 3333: bytes-like pieces that some applications give, and the refusal of bare bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from penstock._engine import FileWrapper
from penstock.plan.types import PythonPlan
from penstock.worker.loader import App


def wrap(app: App, plan: PythonPlan) -> App:
    """Make the application answer as the options say; the same one where none is given."""
    if plan.accepts_buffers:
        app = _accepting_buffers(app)
    if plan.strict_body:
        app = _strict(app)
    return app


class Buffers:
    """An iterable of bytes-like objects as one of bytes."""

    def __init__(self, body: Iterable[Any]) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._body:
            # A str or a number stays what it is: bytes() of a number would be as many zeros.
            yield bytes(piece) if isinstance(piece, (bytearray, memoryview)) else _of(piece)

    def close(self) -> None:
        close: Callable[[], Any] | None = getattr(self._body, "close", None)
        if close is not None:
            close()


def _of(piece: Any) -> Any:
    if isinstance(piece, (bytes, str, int)):
        return piece
    try:
        return bytes(memoryview(piece))
    except TypeError:
        return piece


def _accepting_buffers(app: App) -> App:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = app(environ, start_response)
        if isinstance(body, (bytearray, memoryview)):
            return [bytes(body)]
        # The kernel sends a file; its pieces are bytes.
        return body if isinstance(body, (bytes, FileWrapper)) else Buffers(body)

    return answer


def _strict(app: App) -> App:
    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        body = app(environ, start_response)
        if isinstance(body, (bytes, bytearray, memoryview)):
            raise TypeError(f"the app returned {type(body).__name__} instead of an iterable of bytes (wsgi-strict)")
        return body

    return answer
