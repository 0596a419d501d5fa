"""Faults that take so many coincidences that one history is told by hand for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coordinator.core import vanished
from coordinator.core.attempts import Attempt
from coordinator.core.in_flight import InFlight
from coordinator.core.queue import Queue
from coordinator.core.unplaced import Unplaced
from tests.core import test_following as following
from tests.core.test_following import follower
from tests.core.test_planted_faults import Fault

pytestmark = pytest.mark.pure

RARE_FAULTS: list[tuple[Fault, Callable[[], None]]] = []


def found_by(test: Callable[[], None]) -> Callable[[Fault], Fault]:
    """A plausible bug of the core that one test is there to find."""

    def plant(fault: Fault) -> Fault:
        RARE_FAULTS.append((fault, test))
        return fault

    return plant


@found_by(lambda: following.test_work_without_a_place_is_stopped_when_a_follower_leads(follower()))
def work_without_a_place_is_forgotten_when_a_follower_leads(patch: pytest.MonkeyPatch) -> None:
    """Nobody has told its agent to stop."""
    patch.setattr(Unplaced, "take_all", lambda _: ())


@found_by(following.test_a_node_that_vanished_before_the_start_was_read_is_removed)
def a_follower_forgets_what_vanished_before_a_start(patch: pytest.MonkeyPatch) -> None:
    """A node that another leader chose is waited for, although it is gone."""
    patch.setattr(vanished, "REMEMBERED", 0)


@found_by(
    lambda: following.test_work_that_has_ended_five_agents_is_given_up_when_a_follower_leads(
        follower()
    )
)
def what_ended_agents_is_forgotten_when_a_follower_leads(patch: pytest.MonkeyPatch) -> None:
    """The sixth agent is sent what ended five."""
    patch.setattr(Attempt, "is_hopeless", False)


@found_by(
    lambda: following.test_work_that_nobody_has_is_waited_for_from_the_take_over_on(follower())
)
def the_time_of_following_counts_against_agents(patch: pytest.MonkeyPatch) -> None:
    """Work that this core sent to nobody is given up because nobody took it."""
    patch.setattr(InFlight, "_resume", lambda self, attempt, _: self._watch(attempt))


@found_by(following.test_what_a_follower_remembers_of_pending_tasks_does_not_grow)
def a_follower_keeps_every_task_in_its_queue(patch: pytest.MonkeyPatch) -> None:
    """Only who starts tasks takes them out."""
    patch.setattr(Queue, "remove", lambda self, task: self.tasks.pop(task, None))


@pytest.mark.parametrize(("fault", "test"), RARE_FAULTS, ids=lambda each: each.__name__)
def test_a_test_of_its_own_finds_it(
    fault: Fault, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test passes with the core as it is, and not with the fault."""
    test()
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        test()
