"""What an answer means: a document, or the error that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import msgspec

from ips_client.errors import (
    BadRequest,
    Conflict,
    Fault,
    Forbidden,
    NotFound,
    Problem,
    Refused,
    ServerFault,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
)

EVENT_STREAM: Final = "text/event-stream"
PASSING: Final = frozenset({429, 502, 503, 504})
"""What the service, or a proxy before it, answers while it is away or full for a moment."""

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_ERRORS: Final[Mapping[int, type[Refused]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
}
_GATEKEEPERS: Final = frozenset({401, 403, 407, *PASSING})
"""What a proxy may answer in the service's place, in whatever form it likes."""


class Answer(NamedTuple):
    """A whole answer; header names are in lower case."""

    url: str
    """What was asked, for messages."""
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """Its content type, without parameters."""
        return _media_type(self.headers.get("content-type", ""))

    @property
    def retry_after(self) -> float:
        """Seconds that the server asks to be left alone; 0 where it asks for nothing."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() else 0.0


def is_stream(status: int, content_type: str) -> bool:
    """Whether events come."""
    return status == HTTPStatus.OK and _media_type(content_type) == EVENT_STREAM


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def document(answer: Answer) -> dict[str, Any]:
    """The document of a success. Raises the error that anything else stands for."""
    if answer.status >= HTTPStatus.BAD_REQUEST:
        raise error(answer)
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        target = answer.headers.get("location", "somewhere else")
        raise UnexpectedAnswer(f"{answer.url} redirects to {target}: name that as the server")
    if answer.media_type != _JSON:
        raise _foreign(answer)
    found = _object(answer.body)
    if found is None:
        raise UnexpectedAnswer(f"{answer.url} answered with broken JSON")
    return found


def error(answer: Answer) -> Refused | UnexpectedAnswer:
    """The error that a status of 400 or above stands for."""
    document = _object(answer.body) if answer.media_type in {_PROBLEM, _JSON} else None
    if document is None and answer.status not in _GATEKEEPERS:
        return _foreign(answer)
    problem = _problem(answer.status, document or {})
    if answer.status in PASSING:
        return Unavailable(problem, answer.retry_after)
    fallback = ServerFault if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else Refused
    return _ERRORS.get(answer.status, fallback)(problem)


def broken(answer_url: str, why: ValueError) -> UnexpectedAnswer:
    """The error for a document that is not what the service promises."""
    return UnexpectedAnswer(f"{answer_url} answered with a document that is not as agreed: {why}")


def _foreign(answer: Answer) -> UnexpectedAnswer:
    kind = answer.media_type or "no content type"
    return UnexpectedAnswer(
        f"{answer.url} answered {answer.status} with {kind} where JSON was expected: "
        "is this an Image Prewarm Service?"
    )


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _problem(status: int, document: Mapping[str, Any]) -> Problem:
    entries = document.get("errors")
    faults = [each for each in entries if isinstance(each, dict)] if type(entries) is list else []
    return Problem(
        title=str(document.get("title", _phrase(status))),
        status=status,
        detail=str(document.get("detail", "")),
        errors=tuple(Fault(str(each.get("field")), str(each.get("message"))) for each in faults),
        document=document,
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "status unknown"
