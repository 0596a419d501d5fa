"""What can go wrong, one class for each kind of failure.

Everything is an ``IpsError``. Where the service itself refused, the error carries its problem
document (RFC 9457); where something else answered, or nothing, it says what was met instead.
"""

# ruff: noqa: N818 -- an error here is named by what happened, as its users speak of it

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from ips_client.documents import Task
    from ips_client.set_documents import WarmSet


class IpsError(Exception):
    """All that this package raises; the text is one sentence for a user."""


class ServerUnreachable(IpsError):
    """No connection, a connection that broke off, or no answer in time."""


class UnexpectedAnswer(IpsError):
    """Something answered, but not as this service does: a page, a redirect, broken JSON."""


class Closed(IpsError):
    """The client was closed, before the call or while it was under way."""

    def __init__(self) -> None:
        super().__init__("the client is closed")


class TimeLimit(IpsError):
    """A wait took longer than it was allowed to; the task goes on."""

    def __init__(self, seconds: float, task: Task | None) -> None:
        super().__init__(f"not over after {seconds:g} s")
        self.task = task
        """As it was last seen; None if it never was."""


class SetTimeLimit(IpsError):
    """A wait for a set took longer than it was allowed to; the set is warmed all the same."""

    def __init__(self, seconds: float, found: WarmSet | None) -> None:
        super().__init__(f"not warm enough after {seconds:g} s")
        self.set = found
        """As it was last seen; None if it never was."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request."""

    field: str
    """A JSON pointer into the body, ``?name`` of a query parameter, or a header's name."""
    message: str


@dataclass(frozen=True, slots=True)
class Problem:
    """The service's problem document."""

    title: str
    status: int
    detail: str
    errors: tuple[Fault, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """As it was sent; empty where a proxy answered in the service's place."""


class Refused(IpsError):
    """A status of 400 or above; the subclasses say which."""

    meaning: ClassVar[str] = "The request was refused"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or f"{self.meaning} ({problem.status} {problem.title})")
        self.problem = problem


class BadRequest(Refused):
    """400: ``problem.errors`` names every fault at once."""


class Unauthorized(Refused):
    """401: credentials are missing or wrong."""

    meaning = "Credentials are missing or wrong"


class Forbidden(Refused):
    """403: the credentials do not suffice."""

    meaning = "The credentials do not suffice"


class NotFound(Refused):
    """404: there is no such task or node."""

    meaning = "There is no such thing"


class Conflict(Refused):
    """409: the task is over, or not over yet, or an idempotency key was used before."""


class ServerFault(Refused):
    """500 and above, 503 aside: the service, or a proxy before it, has a fault."""

    meaning = "The server has a fault"


class Unavailable(ServerFault):
    """429, 502, 503, 504 for longer than one was willing to wait."""

    meaning = "The service is not available"

    def __init__(self, problem: Problem, retry_after: float = 0.0) -> None:
        super().__init__(problem)
        self.retry_after = retry_after
        """Seconds that the server asked to be left alone."""
