"""When the windows of schedules begin and end, on the days too on which clocks are changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.core.sets.head import Schedule
from coordinator.core.sets.windows import Window
from coordinator.cron import is_cron, is_zone, window_at

pytestmark = pytest.mark.pure

BERLIN, NEW_YORK, LORD_HOWE = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"


def at(text: str, zone: str, fold: int = 0) -> float:
    """A moment as the clocks of a zone show it."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def begins(cron: str, zone: str, after: float, times: int) -> list[str]:
    """When the next windows begin, with the offset from UTC."""
    schedule = Schedule(cron=cron, time_zone=zone, window="1h")
    found: list[str] = []
    for _ in range(times):
        after = window_at(schedule, after).next or 0.0
        found.append(datetime.fromtimestamp(after, ZoneInfo(zone)).isoformat()[5:])
    return [text.replace(":00+", "+").replace(":00-", "-") for text in found]


@pytest.mark.parametrize(
    ("zone", "cron", "day", "expected"),
    [
        (BERLIN, "30 2 * * *", "2026-03-28T12:00", ["03-29T03:00+02:00", "03-30T02:30+02:00"]),
        (BERLIN, "30 2 * * *", "2026-10-24T12:00", ["10-25T02:30+02:00", "10-26T02:30+01:00"]),
        (NEW_YORK, "15 2 * * *", "2026-03-07T12:00", ["03-08T03:00-04:00", "03-09T02:15-04:00"]),
        (NEW_YORK, "30 1 * * *", "2026-10-31T12:00", ["11-01T01:30-04:00", "11-02T01:30-05:00"]),
        (LORD_HOWE, "15 2 * * *", "2026-10-03T12:00", ["10-04T02:30+11:00", "10-05T02:15+11:00"]),
        (LORD_HOWE, "45 1 * * *", "2026-04-04T12:00", ["04-05T01:45+11:00", "04-06T01:45+10:30"]),
        ("Asia/Shanghai", "0 2 * * 1-5", "2026-03-27T12:00", ["03-30T02:00+08:00"]),
    ],
)
def test_a_run_is_once_on_the_days_on_which_clocks_are_changed(
    zone: str, cron: str, day: str, expected: list[str]
) -> None:
    """What the clocks skip is at the end of that; what they show twice is the first of both."""
    assert begins(cron, zone, at(day, zone), len(expected)) == expected


def test_in_the_hour_that_comes_twice_a_window_opens_once() -> None:
    """It goes on through the second of both, as long as it is."""
    schedule = Schedule(cron="30 2 * * *", time_zone=BERLIN, window="2h")
    opened = at("2026-10-25T02:30", BERLIN)
    for moment in (opened, at("2026-10-25T02:10", BERLIN, 1), at("2026-10-25T02:40", BERLIN, 1)):
        window = window_at(schedule, moment)
        assert window.until == opened + 7200
        assert window.shown == "2026-10-26 02:30"
    assert not window_at(schedule, at("2026-10-25T03:30", BERLIN)).is_open


def test_a_run_a_moment_goes_by_what_the_clock_shows() -> None:
    """With a star in minutes or hours."""
    assert begins("0 * * * *", BERLIN, at("2026-10-25T01:30", BERLIN), 3) == [
        "10-25T02:00+02:00",
        "10-25T02:00+01:00",
        "10-25T03:00+01:00",
    ]


def test_a_window_begins_with_its_run_and_ends_before_its_end() -> None:
    """One that begins before another has ended takes it over."""
    schedule = Schedule(cron="0 2 * * *", window="2h")
    run = at("2026-01-16T02:00", "UTC")
    day = timedelta(days=1).total_seconds()
    assert window_at(schedule, run - 0.1) == Window(None, run, "2026-01-16 02:00")
    for moment in (run, run + 7199.9):
        assert window_at(schedule, moment) == Window(run + 7200, run + day, "2026-01-17 02:00")
    assert not window_at(schedule, run + 7200).is_open
    often = Schedule(cron="0 * * * *", window="90m")
    assert window_at(often, run + 5000).until == run + 3600 + 5400


@pytest.mark.parametrize(
    "text",
    [
        *("", "* * * *", "* * * * * *", "60 * * * *", "@daily", "a b c d e"),
        *("0 0 30 2 *", "0 0 31 4,6 *", "0 0 */30 2 0#5"),
        *("٣ * * * *", "0\t2 * * *", "* * * * *\n"),
    ],
)
def test_what_is_no_cron(text: str) -> None:
    """Or of a moment that never comes."""
    assert not is_cron(text)


def test_what_is_a_time_zone() -> None:
    """Of the data base, whatever else lies in its folder."""
    assert all(map(is_zone, ["UTC", "Asia/Shanghai", "America/Argentina/Ushuaia", "Etc/GMT+5"]))
    for text in ("", "Mars/Olympus", "America", "../../etc/passwd", "localtime", "/etc/localtime"):
        assert not is_zone(text)


@pytest.mark.parametrize("schedule", [("0 0 30 2 *", "UTC"), ("x", "UTC"), ("* * * * *", "Mars/X")])
def test_a_stored_schedule_that_cannot_be_read_has_no_window(schedule: tuple[str, str]) -> None:
    """Another version may have written it."""
    cron, zone = schedule
    found = window_at(Schedule(cron=cron, time_zone=zone, window="1h"), 1e9)
    assert found == Window(None, None)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    minute=st.sampled_from(["0", "30", "*/15", "5,50"]),
    hour=st.sampled_from(["2", "*", "*/5", "1-3"]),
    zone=st.sampled_from([BERLIN, NEW_YORK, "America/Havana", "Asia/Beirut", "UTC"]),
    day=st.sampled_from(["2026-03-08", "2026-03-28", "2026-10-24", "2026-10-31"]),
    hours=st.integers(0, 60),
    window=st.sampled_from(["1m", "1h", "48h"]),
)
def test_what_is_said_holds_until_it_says_so(
    minute: str, hour: str, zone: str, day: str, hours: int, window: str
) -> None:
    """From one turn to the next it is open or closed throughout, and turns only go forward."""
    schedule = Schedule(cron=f"{minute} {hour} * * *", time_zone=zone, window=window)
    moment = at(day, zone) + hours * 3600.0
    turns = [moment]
    for _ in range(5):
        turns.append(window_at(schedule, turns[-1]).turns or 0.0)
    for before, after in pairwise(turns):
        assert before < after
        said = window_at(schedule, before)
        for between in (before + (after - before) / 2, after - 0.5):
            assert window_at(schedule, between) == said
