from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.logs import JsonFormatter, Log, LogFormat, RateLimitedLog, TextFormatter, configure

log = Log("agent.puller")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Give a test the logging of a fresh process, and pytest its own back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    logging.getLogger("hpack").setLevel(logging.NOTSET)


def json_lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Read back what was logged."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def record(message: str, **fields: object) -> logging.LogRecord:
    """A record as ``Log`` makes it, at the start of 1970."""
    made = logging.LogRecord("agent.puller", logging.INFO, "", 0, message, None, None)
    made.created, made.msecs = 0.125, 125.0
    made.fields = fields
    return made


def test_json() -> None:
    """A line is an object: time, level, logger, message, and the fields with their types."""
    stream = io.StringIO()
    configure(logging.INFO, LogFormat.JSON, stream)
    log.warning("pulled", image="redis:7", seconds=1.5, tries=2, digest=None, held=["a", "b"])
    [line] = json_lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line == {
        "level": "warning",
        "logger": "agent.puller",
        "message": "pulled",
        "image": "redis:7",
        "seconds": 1.5,
        "tries": 2,
        "digest": None,
        "held": ["a", "b"],
    }


def test_json_time() -> None:
    """Times are RFC 3339 in UTC, with milliseconds."""
    assert json.loads(JsonFormatter().format(record("x")))["time"] == "1970-01-01T00:00:00.125Z"


def test_any_field_name() -> None:
    """A field may be called as the standard library's own attributes are, and shadows none."""
    stream = io.StringIO()
    configure(logging.INFO, LogFormat.JSON, stream)
    log.info("hello", name="a", args="b", message="c", level="d", self="e")
    [line] = json_lines(stream)
    assert (line["message"], line["message_"]) == ("hello", "c")
    assert (line["level"], line["level_"]) == ("info", "d")
    assert (line["name"], line["args"], line["self"]) == ("a", "b", "e")


def test_percent_sign() -> None:
    """A message is not a format."""
    stream = io.StringIO()
    configure(logging.INFO, LogFormat.JSON, stream)
    log.info("100 % done: %s")
    assert json_lines(stream)[0]["message"] == "100 % done: %s"


def test_other_libraries() -> None:
    """What is logged with the standard library's own calls comes out the same way."""
    stream = io.StringIO()
    configure(logging.INFO, LogFormat.JSON, stream)
    logging.getLogger("nats").info("connected to %s", "nats://u:s3cret@host")
    [line] = json_lines(stream)
    assert (line["logger"], line["message"]) == ("nats", "connected to nats://***@host")


def test_python_warnings() -> None:
    """Python's warnings are log lines."""
    stream = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        configure(logging.INFO, LogFormat.JSON, stream)
        warnings.warn("old habits", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    [line] = json_lines(stream)
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert "old habits" in line["message"]


SECRET = "nats://user:s3cret@host"


class Mood(StrEnum):
    """Something that is a text."""

    GOOD = "good"


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {"url": SECRET},
        [SECRET],
        (SECRET,),
        {SECRET},
        ValueError(SECRET),
        {"deep": [{"er": SECRET}]},
    ],
)
@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_no_credentials(value: object, log_format: LogFormat) -> None:
    """A password inside of a URL shows neither in the message nor anywhere in a field."""
    stream = io.StringIO()
    configure(logging.INFO, log_format, stream)
    message = f"cannot reach {SECRET}"
    log.info(message, server=value)
    assert "s3cret" not in stream.getvalue()
    assert stream.getvalue().count("nats://***@host") == 2


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.TEXT])
def test_failure(log_format: LogFormat) -> None:
    """An unforeseen error has its traceback, without credentials."""
    stream = io.StringIO()
    configure(logging.INFO, log_format, stream)
    with pytest.raises(OSError, match="cannot reach") as caught:
        raise OSError(f"cannot reach {SECRET}")
    log.failure("lost", caught.value, node="a")
    assert "test_failure" in stream.getvalue()
    assert "OSError: cannot reach nats://***@host" in stream.getvalue()
    if log_format is LogFormat.JSON:
        [line] = json_lines(stream)
        assert line["exception"].startswith("Traceback")


@given(
    st.text(),
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            lambda inner: st.lists(inner) | st.dictionaries(st.integers(), inner),
            max_leaves=5,
        ),
    ),
)
def test_any_content(message: str, fields: dict[str, Any]) -> None:
    """Whatever is logged, JSON is one line of strict ASCII JSON, and text is one line."""
    made = record(message)
    made.fields = fields
    line = JsonFormatter().format(made)
    assert line.isascii()
    assert "\n" not in line
    json.loads(line, parse_constant=pytest.fail)
    assert len(TextFormatter(colour=False).format(made).splitlines()) == 1


def test_text() -> None:
    """For people: time, level, logger, message, and the fields, quoted where they must be."""
    line = TextFormatter(colour=False).format(
        record("pulled", image="redis:7", why="no space left", n=2, mood=Mood.GOOD, held=["a"])
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.125 INFO +agent\.puller pulled .*", line)
    assert line.endswith(' pulled image=redis:7 why="no space left" n=2 mood=good held=["a"]')


def test_text_is_harmless() -> None:
    """What a registry answers neither steers the terminal nor forges a line."""
    line = TextFormatter(colour=False).format(
        record("a\nb", answer="\x1b[2J\r\n12:00 INFO all well")
    )
    assert line.isprintable()


def test_colours() -> None:
    """Colours are for terminals, and not for those of NO_COLOR."""
    assert "\x1b[" in TextFormatter(colour=True).format(record("x", a=1))
    assert "\x1b[" not in TextFormatter(colour=False).format(record("x", a=1))


@pytest.mark.parametrize(
    ("log_format", "stream", "looks"),
    [
        (LogFormat.AUTO, io.StringIO(), "{"),
        (LogFormat.AUTO, Terminal(), "\x1b["),
        (LogFormat.JSON, Terminal(), "{"),
        (LogFormat.TEXT, io.StringIO(), "0123456789"),
    ],
)
def test_format(
    log_format: LogFormat, stream: io.StringIO, looks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` is text on a terminal and JSON elsewhere; the others are what they say."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    configure(logging.INFO, log_format, stream)
    log.info("hello")
    assert stream.getvalue()[0] in looks


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR takes the colour out of a terminal's text."""
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    configure(logging.INFO, LogFormat.AUTO, stream)
    log.info("hello")
    assert "\x1b" not in stream.getvalue()
    assert "hello" in stream.getvalue()


def test_level() -> None:
    """What is below the level is not logged, and gRPC's headers not even at DEBUG."""
    stream = io.StringIO()
    configure(logging.DEBUG, LogFormat.JSON, stream)
    log.debug("one")
    logging.getLogger("hpack").debug("authorization: s3cret")
    configure(logging.ERROR, LogFormat.JSON, stream)
    log.warning("two")
    log.error("three")
    assert [line["message"] for line in json_lines(stream)] == ["one", "three"]


def test_sparing() -> None:
    """The first of a kind is logged, then one an interval, with the number left out before it."""
    now = 0.0
    stream = io.StringIO()
    configure(logging.INFO, LogFormat.JSON, stream)
    sparing = RateLimitedLog(log, interval_seconds=60, clock=lambda: now)
    for second, kind in [(0, "a"), (1, "a"), (2, "b"), (59, "a"), (60, "a"), (61, "a"), (120, "a")]:
        now = float(second)
        sparing.warning(kind, "cannot be read", at=second)
    said = [(line["at"], line["kind"], line.get("unsaid")) for line in json_lines(stream)]
    assert said == [(0, "a", None), (2, "b", None), (60, "a", 2), (120, "a", 1)]


def test_imports() -> None:
    """Logs, settings and life cycle load no HTTP library: an agent has none."""
    root = Path(__file__).parents[2]
    program = (
        "import sys, common.lifecycle, common.logs, common.image_reference\n"
        "heavy = {'aiohttp', 'nats', 'pydantic', 'http.client'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
