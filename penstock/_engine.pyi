"""The boundary between Python and Rust: everything that one side may know of the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol, final

from penstock.plan.types import StopReason, WorkerPlan

__version__: str
__all__ = [
    "Engine",
    "EngineError",
    "FileWrapper",
    "Pattern",
    "RequestBody",
    "__version__",
    "catalogue",
    "check_pattern",
    "inspect",
]

class EngineError(Exception):
    """The engine could not start: what happened, and the file descriptor or address at fault."""

class _Lookout(Protocol):
    """What Python has for requests that take too long."""

    @property
    def interruption(self) -> type[BaseException]:
        """What is raised in an interrupted request."""

    @property
    def dump_signal(self) -> int:
        """Makes faulthandler write the stacks of all threads to `dump_fd`."""

    @property
    def dump_fd(self) -> int:
        """A file in memory."""

    @property
    def interrupt_signal(self) -> int:
        """Makes the main thread ask `is_interrupted`, and raise."""

    def describe(self) -> str:
        """Tell where every thread is."""

@final
class Engine:
    """A worker's data plane: one event loop and the threads that run the app."""

    def __new__(
        cls,
        plan: WorkerPlan,
        app: Callable[..., Any] | None,
        mounts: Sequence[tuple[str, Callable[..., Any]]] = (),
        failed: Callable[[BaseException], str | None] | None = None,
        lookout: _Lookout | None = None,
    ) -> Engine:
        """Make it for an app, and for others that answer under the paths of `mounts`; `app`, or 404, answers the rest.

        `failed` is called with each exception that an app lets out. What it returns is the text of the answer 500, if
        nothing has been sent yet; None leaves it at the usual one. `lookout` is for requests that take too long.
        """

    def forked(self, in_child: bool) -> None:
        """Note that the app forked, in the parent and in the child: a child that comes back must not serve."""

    def connection_fd(self, thread: int) -> int:
        """Return the descriptor of the connection that app thread `thread` answers to.

        ValueError if it answers no request.
        """

    def set_log_variable(self, thread: int, name: bytes, value: bytes) -> None:
        """Remember a variable for the log line of the request that app thread `thread` is busy with."""

    def log_variable(self, thread: int, name: bytes) -> bytes | None:
        """Return what `set_log_variable` was told for that request."""

    def log_this_request(self, thread: int) -> None:
        """Write the log line of that request whatever the options say."""

    def set_harakiri(self, thread: int, seconds: float) -> None:
        """Have the request of app thread `thread` end in so many seconds; 0 takes that back."""

    def is_interrupted(self) -> bool:
        """Whether the main thread runs a request that is to be interrupted."""

    def run(self, thread: int) -> StopReason:
        """Serve as app thread `thread` (0 is the main thread) until the worker is told to leave.

        Each number is used once, by a `threading.Thread` of its own (thread 0: the main thread).
        """

@final
class RequestBody:
    """`wsgi.input`: the whole body of one request, in memory or in an unlinked file (PEP 3333)."""

    def read(self, size: int | None = -1, /) -> bytes: ...
    def readline(self, size: int | None = -1, /) -> bytes: ...
    def readlines(self, hint: int | None = -1, /) -> list[bytes]: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...

@final
class FileWrapper:
    """`wsgi.file_wrapper`: a file that is sent by the kernel where it can be (PEP 3333)."""

    def __new__(cls, file: Any, block_size: int = 8192, /) -> FileWrapper: ...
    def close(self) -> None: ...
    def __iter__(self) -> Iterator[bytes]: ...
    def __next__(self) -> bytes: ...

def catalogue() -> dict[str, Any]:
    """Describe what Python must not keep a second copy of.

    `errors`: code -> (HTTP status, fault, meaning) for each way in which a peer can break a protocol.
    `log_variables`: the names that `log-format` knows.
    `scoreboard`: the layout of the shared memory that the engine writes and the master reads.
    """

@final
class Pattern:
    """A regular expression of the configuration, for lines of logs: bounded in time whatever it is and sees."""

    def __new__(cls, pattern: str, /) -> Pattern: ...
    def matches(self, data: bytes, /) -> bool:
        """Whether it is found anywhere in `data`."""

def check_pattern(pattern: str, /) -> str | None:
    """Tell what is wrong with a regular expression of the configuration, in a clause; None if nothing is."""

def inspect(
    protocol: Literal["http", "uwsgi", "chunked", "proxy"], data: bytes, limits: dict[str, int] | None = None
) -> dict[str, Any]:
    """Parse `data` as a peer would send it and tell what the engine makes of it, without serving anything."""
