from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from common.messages import Outcome
from common.subjects import AttemptKey
from coordinator.core import in_flight, places, queue, run, scheduler
from coordinator.core.attempts import Attempt, Attempts
from coordinator.core.changes import Change, NodeMoved, TaskOver
from coordinator.core.commands import Command, LoadNames, StartTask
from coordinator.core.events import TaskEnded
from coordinator.core.fleet import Presence, SilenceClock
from coordinator.core.in_flight import InFlight
from coordinator.core.node_run import NodePhase, NodeRun
from coordinator.core.places import Places, Stand
from coordinator.core.queue import Queue, Urgency
from coordinator.core.run import TaskRun
from coordinator.core.scheduler import Core, Decision
from coordinator.core.task import TaskHead
from coordinator.core.timers import Reconsider, Timer, Timers
from coordinator.core.verdicts import Verdicts
from tests.core.test_machine import Machine, profile
from tests.core.test_places import (
    test_work_that_an_agent_holds_has_its_place_whatever_the_limit as held_work_has_its_place,
)

pytestmark = [pytest.mark.pure, pytest.mark.deep, pytest.mark.timeout(300)]

Fault = Callable[[pytest.MonkeyPatch], None]
FAULTS: list[Fault] = []
RARE: list[tuple[Fault, Callable[[], None]]] = []


def planted(fault: Fault) -> Fault:
    """A plausible bug of the core, to be found."""
    FAULTS.append(fault)
    return fault


def found_by(test: Callable[[], None]) -> Callable[[Fault], Fault]:
    """A bug that needs so much to come together that one history is written down for it."""

    def register(fault: Fault) -> Fault:
        RARE.append((fault, test))
        return fault

    return register


def nothing(*_arguments: Any, **_options: Any) -> None:
    """What a forgotten line does."""


@planted
def one_node_more_than_a_batch(patch: pytest.MonkeyPatch) -> None:
    """``<=`` for ``<``."""
    patch.setattr(in_flight, "has_place", lambda task: task.in_flight <= task.spec.batch_size)


@planted
def retries_need_no_place(patch: pytest.MonkeyPatch) -> None:
    """What is due begins beside a full batch."""
    fill = InFlight.fill

    def eager(self: InFlight, task: TaskRun, now: float) -> None:
        while (due := task.next_retry) is not None and due <= now:
            node = task.place_next(now)
            assert node is not None
            self._send(self._attempts.put(task, node, self._fleet.clock.at(now)), now)
        fill(self, task, now)

    patch.setattr(InFlight, "fill", eager)


@planted
def hopeless_images_are_tried_again(patch: pytest.MonkeyPatch) -> None:
    """A permanent failure is taken for a passing one."""
    patch.setattr(NodeRun, "_hope", lambda *_: True)


@planted
def images_that_arrived_are_asked_for_again(patch: pytest.MonkeyPatch) -> None:
    """A retry repeats the whole attempt."""
    patch.setattr(NodeRun, "wanted", lambda _self, work: list(work))


@planted
def late_outcomes_count(patch: pytest.MonkeyPatch) -> None:
    """Whatever is read of a node is taken for its attempt in flight."""
    take_in = TaskRun.take_in

    def credulous(self: TaskRun, key: AttemptKey, outcome: Outcome, **times: Any) -> Any:
        if node := self.by_name.get(key.node):
            key = key._replace(attempt=node.next_attempt)
        return take_in(self, key, outcome, **times)

    patch.setattr(TaskRun, "take_in", credulous)


@planted
def the_least_urgent_first(patch: pytest.MonkeyPatch) -> None:
    """A missing minus."""

    def reversed_urgency(head: TaskHead, order: int) -> Urgency:
        return head.spec.priority, order

    patch.setattr(queue, "urgency", reversed_urgency)
    patch.setattr(scheduler, "rank", reversed_urgency)


@planted
def the_last_come_first(patch: pytest.MonkeyPatch) -> None:
    """Equal priorities in the wrong order."""
    patch.setattr(queue, "urgency", lambda head, order: (-head.spec.priority, -order))


@planted
def silence_counts_while_the_leader_is_deaf(patch: pytest.MonkeyPatch) -> None:
    """The clock of silence never stands."""
    patch.setattr(SilenceClock, "stop", nothing)


@planted
def silence_is_not_waited_for(patch: pytest.MonkeyPatch) -> None:
    """Heartbeats that show the work do not move the deadline."""
    keep = InFlight._keep

    def deaf(self: InFlight, attempt: Attempt, instance: str, now: float) -> None:
        before = attempt.alive_at
        keep(self, attempt, instance, now)
        attempt.alive_at = before

    patch.setattr(InFlight, "_keep", deaf)


@planted
def a_new_leader_forgets_what_is_held(patch: pytest.MonkeyPatch) -> None:
    """Nothing is counted before it assigns."""
    claim = InFlight._claim

    def forgetful(self: InFlight, *words: Any) -> bool:
        return self.leads and claim(self, *words)

    patch.setattr(InFlight, "_claim", forgetful)


@planted
def held_work_needs_no_place(patch: pytest.MonkeyPatch) -> None:
    """Whatever an agent still holds is adopted."""
    patch.setattr(in_flight, "has_place", lambda task: task.in_flight < 99)
    patch.setattr(InFlight, "has_room", lambda _self, task: task.in_flight < task.spec.batch_size)


@planted
def batches_do_not_wait_for_one_another(patch: pytest.MonkeyPatch) -> None:
    """Every rollout is rolling."""
    patch.setattr(TaskRun, "_may_begin", lambda *_: True)


@planted
def the_newest_of_two_rivals_works(patch: pytest.MonkeyPatch) -> None:
    """Nobody notices that both keep speaking."""

    def naive(self: Presence) -> None:
        self.instance = max(
            self.sightings, key=lambda name: self.sightings[name].first, default=None
        )

    patch.setattr(Presence, "_elect", naive)


@planted
def nobody_is_woken_for_retries(patch: pytest.MonkeyPatch) -> None:
    """They begin when something else happens by chance."""
    at = Timers.at

    def drowsy(self: Timers, when: float, timer: Timer) -> None:
        if not isinstance(timer, Reconsider):
            at(self, when, timer)

    patch.setattr(Timers, "at", drowsy)


@planted
def retries_do_not_wait(patch: pytest.MonkeyPatch) -> None:
    """The delay is forgotten."""
    patch.setattr(run, "retry_delay", lambda *_: 0)


@planted
def a_refused_start_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The task is pending for ever, and holds a place."""
    patch.setattr(Queue, "start_failed", nothing)


@planted
def a_refused_end_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The task runs for ever, with nothing left to do."""
    patch.setattr(Core, "_finish_failed", nothing)


@planted
def a_refused_verdict_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """The attempt is undecided for ever."""
    patch.setattr(InFlight, "verdict_failed", nothing)


@planted
def ended_tasks_come_back(patch: pytest.MonkeyPatch) -> None:
    """A late word of their start begins them anew."""
    patch.setattr(scheduler, "REMEMBERED_ENDS", 0)


@planted
def the_cap_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    """Every task for itself."""
    patch.setattr(InFlight, "has_room", lambda _self, task: run.has_place(task))


@planted
def one_task_too_many(patch: pytest.MonkeyPatch) -> None:
    """Tasks whose start is being stored are not counted."""
    patch.setattr(Core, "places_taken", property(lambda self: len(self._places.holding)))


@planted
def who_rests_keeps_its_place(patch: pytest.MonkeyPatch) -> None:
    """Tasks that only wait for a retry keep others out."""
    patch.setattr(places, "RESTING_NODES", 0)


@planted
def who_rested_needs_no_place(patch: pytest.MonkeyPatch) -> None:
    """A retry that is due begins, however many tasks work already."""
    put = Places._put

    def bold(self: Places, task: str, stand: Stand) -> None:
        put(self, task, Stand.HOLDS if stand is Stand.QUEUES else stand)

    patch.setattr(Places, "_put", bold)


@planted
def who_rested_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether a retry is due."""
    patch.setattr(Places, "next_in_queue", nothing)


@planted
def who_rested_is_first(patch: pytest.MonkeyPatch) -> None:
    """Going on is more urgent than any start."""
    start_next = Queue.start_next

    def polite(
        self: Queue, now: float, before: Urgency | None = None
    ) -> StartTask | LoadNames | None:
        return start_next(self, now) if before is None else None

    patch.setattr(Queue, "start_next", polite)


@planted
def who_rested_is_last(patch: pytest.MonkeyPatch) -> None:
    """Any start is more urgent than going on."""
    start_next = Queue.start_next
    patch.setattr(Queue, "start_next", lambda self, now, _before=None: start_next(self, now))


@found_by(held_work_has_its_place)
def held_work_of_who_rests_is_not_counted(patch: pytest.MonkeyPatch) -> None:
    """What an agent holds of a task without a place works beside all the others."""
    review = Places._review

    def blind(self: Places, task: TaskRun, now: float) -> None:
        stands = self._stands[task.head.id]
        if stands is Stand.HOLDS or not task.in_flight:
            review(self, task, now)

    patch.setattr(Places, "_review", blind)


@planted
def places_are_not_given_back(patch: pytest.MonkeyPatch) -> None:
    """What is in flight only grows."""
    take = Attempts.take

    def greedy(self: Attempts, task: str, node: str) -> Attempt | None:
        taken = take(self, task, node)
        if taken is not None:
            self._all[f"{task} {len(self.by_place)}", node] = taken
        return taken

    patch.setattr(Attempts, "take", greedy)


@planted
def nodes_that_are_over_move_again(patch: pytest.MonkeyPatch) -> None:
    """An illegal move is tolerated where an outcome is taken in."""
    anything = dict.fromkeys(NodePhase, frozenset(NodePhase))
    patch.setattr(run, "NEXT_PHASES", anything)
    patch.setattr(run, "OVER", frozenset())


@planted
def moves_are_not_told(patch: pytest.MonkeyPatch) -> None:
    """Live views stand still."""

    def silent(commands: list[Command], changes: list[Change]) -> Decision:
        return Decision(commands, [c for c in changes if not isinstance(c, NodeMoved)])

    patch.setattr(scheduler, "Decision", silent)


@planted
def ends_are_told_again(patch: pytest.MonkeyPatch) -> None:
    """Each time that somebody says that a task is over."""

    def talkative(self: Core, event: TaskEnded, _now: float) -> None:
        self._changes.append(TaskOver(event.head))

    patch.setattr(Core, "_task_ended", after(Core._task_ended, talkative))


def after(method: Callable[..., None], more: Callable[..., None]) -> Callable[..., None]:
    """A method that does something more at its end."""

    def both(*arguments: Any) -> None:
        method(*arguments)
        more(*arguments)

    return both


# ── a core that follows ──


@planted
def a_follower_sends_work(patch: pytest.MonkeyPatch) -> None:
    """What was handed back goes to the next agent, from two sides."""
    send = InFlight._send

    def busy(self: InFlight, attempt: Attempt, now: float) -> None:
        leads, self.leads = self.leads, True
        send(self, attempt, now)
        self.leads = leads

    patch.setattr(InFlight, "_send", busy)


@planted
def a_follower_removes_nodes(patch: pytest.MonkeyPatch) -> None:
    """Whoever hears that a node has vanished decides about it."""
    remove = InFlight.remove

    def hasty(self: InFlight, task: TaskRun, node: NodeRun) -> None:
        leads, self.leads = self.leads, True
        remove(self, task, node)
        self.leads = leads

    patch.setattr(InFlight, "remove", hasty)


@planted
def a_follower_ends_tasks(patch: pytest.MonkeyPatch) -> None:
    """Whoever sees that everything is done says so."""

    def eager(self: Core, _event: Any, now: float) -> None:
        for task in self._runs.values():
            self._finish(task, now)

    patch.setattr(Core, "_outcome_stored", after(Core._outcome_stored, eager))


@planted
def removals_are_forgotten_when_a_follower_leads(patch: pytest.MonkeyPatch) -> None:
    """Nobody says again that the node has vanished."""
    patch.setattr(Verdicts, "gone", lambda _: [])


@planted
def nothing_is_watched_when_a_follower_leads(patch: pytest.MonkeyPatch) -> None:
    """What was silent before is waited for without end."""
    patch.setattr(InFlight, "_resume", nothing)


@planted
def silent_agents_are_not_asked_when_a_follower_leads(patch: pytest.MonkeyPatch) -> None:
    """They are given up in its first moment."""
    resume = InFlight._resume

    def curt(self: InFlight, attempt: Attempt, now: float) -> None:
        resume(self, attempt, now)
        if attempt.accepted_by is not None:
            attempt.alive_at -= self._wait

    patch.setattr(InFlight, "_resume", curt)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_the_machine_finds_it(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each planted fault breaks a law in one of the first histories, so the laws bite."""
    fault(monkeypatch)
    search = settings(
        profile(max_examples=2_000, stateful_step_count=40),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Machine, settings=search)


@pytest.mark.parametrize(("fault", "test"), RARE, ids=[fault.__name__ for fault, _ in RARE])
def test_a_history_of_its_own_finds_it(
    fault: Fault, test: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a search may come upon."""
    fault(monkeypatch)
    with pytest.raises(AssertionError):
        test()
