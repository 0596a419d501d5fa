"""Structured logs on the standard library: JSON, one object a line, or text for a terminal.

A message is constant and says what happened; what varies goes along as fields. No credentials
inside of URLs come through, whoever logs them.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, TextIO

from common.redaction import redact

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_RESET: Final = "\x1b[0m"
_DIM: Final = "\x1b[2m"
_COLOURS: Final = {
    logging.DEBUG: _DIM,
    logging.WARNING: "\x1b[33m",
    logging.ERROR: "\x1b[31m",
    logging.CRITICAL: "\x1b[1;31m",
}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PLAIN_VALUE: Final = re.compile(r"[^\s\"'=]+")


class LogFormat(StrEnum):
    """How a line looks; ``auto`` is text on a terminal and JSON everywhere else."""

    AUTO = "auto"
    JSON = "json"
    TEXT = "text"


class Log:
    """A logger by name whose calls take fields as keywords: ``log.info("pulled", image=image)``.

    The standard ``extra=`` refuses names such as ``name`` and ``args`` when the line is written;
    a rare branch would find that out in production. Here every name is free.
    """

    __slots__ = ("_logger",)

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, /, **fields: object) -> None:
        """Log what only a developer asks for."""
        self._write(logging.DEBUG, message, fields)

    def info(self, message: str, /, **fields: object) -> None:
        """Log what an operator expects to happen."""
        self._write(logging.INFO, message, fields)

    def warning(self, message: str, /, **fields: object) -> None:
        """Log what an operator should look at some time."""
        self._write(logging.WARNING, message, fields)

    def error(self, message: str, /, **fields: object) -> None:
        """Log what an operator should look at now."""
        self._write(logging.ERROR, message, fields)

    def failure(self, message: str, error: BaseException, /, **fields: object) -> None:
        """Log an error that nobody foresaw, with its traceback."""
        self._write(logging.ERROR, message, fields, (type(error), error, error.__traceback__))

    def _write(
        self,
        level: int,
        message: str,
        fields: Mapping[str, object],
        exc_info: _ExcInfo | None = None,
    ) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, message, exc_info=exc_info, extra={"fields": fields})


@dataclass(slots=True)
class _Seen:
    said_at: float
    unsaid: int = 0


class RateLimitedLog:
    """Warns once of each kind of trouble, then at most once an interval, with a count.

    For what a stranger can repeat at will, such as undecodable messages. Kinds are remembered for
    ever: take them from a fixed set, never from what was received.
    """

    def __init__(
        self,
        log: Log,
        *,
        interval_seconds: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._interval = interval_seconds
        self._clock = clock
        self._kinds: dict[str, _Seen] = {}

    def warning(self, kind: str, message: str, /, **fields: object) -> None:
        """Log the first of its kind at once; a later one says how many were left out before it."""
        now = self._clock()
        seen = self._kinds.get(kind)
        if seen is None:
            self._kinds[kind] = _Seen(now)
            self._log.warning(message, kind=kind, **fields)
        elif now - seen.said_at < self._interval:
            seen.unsaid += 1
        else:
            self._kinds[kind] = _Seen(now)
            self._log.warning(message, kind=kind, unsaid=seen.unsaid, **fields)


def configure(level: int, log_format: LogFormat, stream: TextIO | None = None) -> None:
    """Send everything that is logged from now on to a stream (stderr), in one format.

    Replaces what was configured before. Python's own warnings become log lines, too.
    """
    target = sys.stderr if stream is None else stream
    terminal = target.isatty()
    text = terminal if log_format is LogFormat.AUTO else log_format is LogFormat.TEXT
    handler = logging.StreamHandler(target)
    colour = terminal and "NO_COLOR" not in os.environ
    handler.setFormatter(TextFormatter(colour=colour) if text else JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    # At DEBUG it writes every header of every gRPC call.
    logging.getLogger("hpack").setLevel(max(level, logging.INFO))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC, ms), level, logger, message, then the fields.

    ``exception`` holds a traceback. Only ASCII, so that no terminal's or pipe's encoding matters.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line."""
        entry: dict[str, object] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        for name, value in _fields(record).items():
            entry[name if name not in entry else f"{name}_"] = _plain(value)
        if trouble := _traceback(self, record):
            entry["exception"] = trouble
        return json.dumps(entry)


class TextFormatter(logging.Formatter):
    """A line for people: local time, level, logger, message, ``name=value`` for each field.

    Control characters are escaped: what a registry answers must not steer a terminal.
    """

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """Write one record as one line, and its traceback below."""
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        head = f"{clock}.{int(record.msecs):03d}"
        level = self._paint(_COLOURS.get(record.levelno, ""), f"{record.levelname:<8}")
        parts = [self._paint(_DIM, head), level, self._paint(_DIM, record.name)]
        parts.append(_escaped(redact(record.getMessage())))
        parts += [
            f"{self._paint(_DIM, _escaped(name) + '=')}{_shown(value)}"
            for name, value in _fields(record).items()
        ]
        line = " ".join(parts)
        trouble = _traceback(self, record)
        return f"{line}\n{trouble}" if trouble else line

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_RESET}" if self._colour and colour else text


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> Mapping[str, object]:
    """Return what ``Log`` sent along; other libraries' records have nothing."""
    fields: Mapping[str, object] = getattr(record, "fields", {})
    return fields


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return redact(formatter.formatException(record.exc_info)) if record.exc_info else ""


def _plain(value: object) -> Any:
    """Turn a field into what JSON knows, without credentials."""
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case Mapping():
            return {str(name): _plain(inner) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner) for inner in value]
        case _:
            return redact(str(value))


def _shown(value: object) -> str:
    """Write a field for people; quoted where it would not stand alone."""
    plain = _plain(value)
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    if isinstance(plain, str) and not _PLAIN_VALUE.fullmatch(text):
        text = json.dumps(text, ensure_ascii=False)
    return _escaped(text)


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: repr(found.group())[1:-1], text)
