"""The one way in which a start fails before there is a loop."""

from __future__ import annotations


class StartError(Exception):
    """The instance can not start: what happened, why, and what to do. Its text is for the person who started it."""

    status = 1
    """The exit status: a configuration or bind error, as uWSGI has it."""

    is_taken = False
    """Another instance has what this one needs, so that its log may be that one's, too."""

    def __init__(self, message: str, status: int | None = None) -> None:
        if status is not None:
            self.status = status
        super().__init__(message)


class AddressInUse(StartError):
    """Somebody listens there: another instance, or workers of a killed one, which are about to end."""

    is_taken = True


class PidFileInUse(StartError):
    """An instance that runs has this pid file."""

    is_taken = True
