"""Bodies that are not quite those of PEP 3333."""

from __future__ import annotations

import array
from typing import Any

import pytest

from penstock.plan.types import PythonPlan

bodies = pytest.importorskip("penstock.worker.bodies", reason="the engine is not built")


def answering(body: Any, **plan: bool) -> Any:
    return bodies.wrap(lambda environ, start_response: body, PythonPlan(**plan))({}, None)


def test_an_app_is_left_alone() -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        return []

    assert bodies.wrap(app, PythonPlan()) is app


def test_buffers_become_bytes_and_the_rest_stays() -> None:
    pieces = [bytearray(b"a"), memoryview(b"b"), array.array("b", b"c"), b"d", "text", 7, None]
    assert list(answering(pieces, accepts_buffers=True)) == [b"a", b"b", b"c", b"d", "text", 7, None]
    assert answering(bytearray(b"ab"), accepts_buffers=True) == [b"ab"]
    assert answering(b"ab", accepts_buffers=True) == b"ab"


def test_the_body_is_closed() -> None:
    class Body:
        closed = False

        def __iter__(self) -> Any:
            return iter([bytearray(b"x")])

        def close(self) -> None:
            self.closed = True

    body = Body()
    wrapped = answering(body, accepts_buffers=True)
    assert list(wrapped) == [b"x"]
    wrapped.close()
    assert body.closed
    answering([b"no close"], accepts_buffers=True).close()


@pytest.mark.parametrize("body", [b"x", bytearray(b"x"), memoryview(b"x")])
def test_bare_bytes_are_refused(body: Any) -> None:
    with pytest.raises(TypeError, match="wsgi-strict"):
        answering(body, strict_body=True)
    assert answering([b"x"], strict_body=True) == [b"x"]
