"""Plausible bugs around warm sets, planted one at a time, that the simulator is to find."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest

from coordinator.core.sets.core import SetCore
from coordinator.core.sets.repairs import Repairs
from coordinator.core.sets.telling import Telling
from coordinator.core.sets.warmth import Warmth
from coordinator.engine.sets import SetTable
from sandbox.simulator.strikes import Kind
from tests.simulator.planted import STREAM_OF_HEADS, nothing, planted, story


@planted()
def a_deleted_set_is_repaired_on(patch: pytest.MonkeyPatch) -> None:
    """The core is not told that it is gone."""
    patch.setattr(SetCore, "_set_gone", nothing)


@planted(
    story=story(
        (0.0, Kind.PUT_SET, 0.5, 1.0, 1),
        (0.0, Kind.PUT_SET, 0.5, 1.0, 2),
        (0.0, Kind.PUT_SET, 0.5, 1.0, 3),
        max_repairs=1,
    )
)
def repairs_have_no_limit(patch: pytest.MonkeyPatch) -> None:
    """Each set that is cold gets one."""
    patch.setattr(Repairs, "are_full", False)


@planted(
    story=story(
        (0.0, Kind.PUT_SET, 0.5, 1.0, 1),
        (0.0, Kind.FILL, STREAM_OF_HEADS, 8.0, 1),
        (20.0, Kind.CREATE, 0.5, 1.0, 1),
    )
)
def a_repair_that_was_refused_is_given_up(patch: pytest.MonkeyPatch) -> None:
    """The store did not take it, and nobody asks for it again."""
    patch.setattr(Repairs, "refused", nothing)


@planted()
def a_report_that_was_missed_is_not_asked_for(patch: pytest.MonkeyPatch) -> None:
    """A replica that was not there goes on without it."""
    patch.setattr(SetTable, "_ask", nothing)


@planted()
def an_agent_that_was_restarted_is_not_told_what_is_wanted(patch: pytest.MonkeyPatch) -> None:
    """It looks for nothing."""
    patch.setattr(Telling, "compare", nothing)


@planted()
def a_replica_does_not_follow_sets(patch: pytest.MonkeyPatch) -> None:
    """It knows those of its start."""

    async def watch(_self: SetTable) -> NoReturn:
        await asyncio.Future()
        raise AssertionError

    patch.setattr(SetTable, "watch", watch)


@planted()
def what_was_pulled_counts_as_warm_for_ever(patch: pytest.MonkeyPatch) -> None:
    """An image that vanished is not missed."""
    has_all = Warmth.has_all

    ever: set[tuple[int, str, tuple[str, ...]]] = set()

    def remembering(self: Warmth, node: str, references: tuple[str, ...]) -> bool | None:
        if has_all(self, node, references):
            ever.add((id(self), node, references))
        return (id(self), node, references) in ever or has_all(self, node, references)

    patch.setattr(Warmth, "has_all", remembering)
