"""A warm set and its nodes as REST shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from msgspec import UNSET, UnsetType

from common import set_texts as texts
from common.gate_texts import GATE_KEPT
from common.inventory import PinState
from coordinator.core.sets.gate import SetGate
from coordinator.core.sets.head import Schedule
from coordinator.core.sets.standing import ConditionState, SetCondition, SetNodePhase, Tally
from coordinator.core.sets.windows import Window
from coordinator.set_documents import (
    WarmSet,
    WarmSetCondition,
    WarmSetDigest,
    WarmSetDrift,
    WarmSetGate,
    WarmSetImage,
    WarmSetLooks,
    WarmSetNode,
    WarmSetNodes,
    WarmSetPin,
    WarmSetRefresh,
    WarmSetRefreshing,
    WarmSetSchedule,
    WarmSetWebhook,
    WarmSetWindow,
)
from coordinator.snapshots import SetLooks, SetNodeSnapshot, SetSnapshot
from coordinator.views.tasks import requirement, scheme_and_host
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds, milliseconds_if_known, seconds

MOST_DRIFT: Final = 50
"""Digests of one image that are listed."""


def warm_set(shot: SetSnapshot, drift: Mapping[str, Mapping[str, int]] | None = None) -> WarmSet:
    """A set as GET returns it; ``drift`` only where it is asked for alone."""
    head, spec, tally = shot.stored.head, shot.stored.head.spec, shot.tally
    return WarmSet(
        name=head.name,
        images=list(spec.images),
        node_selector=spec.node_selector,
        match_expressions=[requirement(entry) for entry in spec.match_expressions],
        priority=spec.priority,
        batch_size=spec.batch_size,
        max_retries=spec.max_retries,
        retry_strategy=spec.retry_strategy,
        retry_delay=spec.retry_delay,
        max_failed_nodes=spec.max_failed_nodes,
        rollout=spec.rollout,
        pull_timeout_seconds=spec.pull_timeout_seconds,
        credentials=list(spec.credentials) or UNSET,
        pull_secrets=list(spec.pull_secrets) or UNSET,
        webhook_url=UNSET if spec.webhook_url is None else scheme_and_host(spec.webhook_url),
        paused=head.paused,
        schedule=UNSET if head.schedule is None else _schedule(head.schedule),
        window=UNSET if shot.window is None else _window(shot.window),
        refresh=UNSET if head.refresh is None else WarmSetRefresh(tags=head.refresh.tags),
        looks=UNSET if shot.looks is None else _looks(shot.looks),
        drift=UNSET if drift is None else _drift(shot, drift),
        pin=UNSET if head.pin is None else WarmSetPin(until=milliseconds_if_known(head.pin.until)),
        gate=UNSET if head.gate is None else _gate(head.gate),
        generation=head.generation,
        observed_generation=head.generation,
        nodes=_nodes(tally),
        warm_percent=_percent(tally),
        reasons=dict(sorted(tally.reasons.items())),
        conditions=[
            *(
                _condition(each, state, shot.since.get(each))
                for each, state in shot.conditions.items()
            ),
            *_gated(shot),
        ],
        repair=shot.repair or UNSET,
        created_at=milliseconds(head.created_at),
        updated_at=milliseconds(head.updated_at),
        created_by=UNSET if head.created_by is None else head.created_by.user,
    )


def _schedule(schedule: Schedule) -> WarmSetSchedule:
    return WarmSetSchedule(
        cron=schedule.cron,
        time_zone=schedule.time_zone,
        window=schedule.window,
        joins=schedule.joins,
    )


def _window(window: Window) -> WarmSetWindow:
    return WarmSetWindow(
        open=window.is_open, until=_moment(window.until), next=_moment(window.next)
    )


def _looks(looks: SetLooks) -> WarmSetLooks:
    failure = looks.failure
    why = None if failure is None else failure.why
    said = None if why is None else shown(why[1])
    return WarmSetLooks(
        at=_moment(looks.at),
        next=_moment(looks.next),
        task=looks.task or UNSET,
        failures=0 if failure is None else failure.times,
        reason=UNSET if why is None else why[0],
        message=UNSET if said is None else said.message,
        message_code=UNSET if said is None else said.code,
        message_params=UNSET if said is None else said.params,
    )


def _drift(shot: SetSnapshot, drift: Mapping[str, Mapping[str, int]]) -> list[WarmSetDrift]:
    references = {each.name: each.reference for each in shot.stored.head.spec.work}
    known = {} if shot.looks is None else shot.looks.newest
    newest = {image: known.get(reference) for image, reference in references.items()}
    return [
        WarmSetDrift(
            image=image,
            digests=[
                WarmSetDigest(digest=digest, nodes=nodes, newest=digest == newest[image])
                for digest, nodes in sorted(digests.items(), key=lambda each: (-each[1], each[0]))
            ][:MOST_DRIFT],
        )
        for image, digests in drift.items()
    ]


def refreshing_set(name: str) -> WarmSetRefreshing:
    """The answer to a request to look at a set's tags."""
    said = shown(texts.SET_REFRESHING())
    return WarmSetRefreshing(
        name=name, message=said.message, message_code=said.code, message_params=said.params
    )


def _moment(seconds_since_1970: float | None) -> str | UnsetType:
    known = None if seconds_since_1970 is None else int(seconds_since_1970 * 1000)
    return milliseconds_if_known(known)


def _nodes(tally: Tally) -> WarmSetNodes:
    return WarmSetNodes(
        total=tally.nodes,
        warm=tally.warm,
        pulling=tally.phases[SetNodePhase.PULLING],
        waiting=tally.phases[SetNodePhase.WAITING],
        failed=tally.phases[SetNodePhase.FAILED],
        blocked=tally.phases[SetNodePhase.BLOCKED],
    )


def _percent(tally: Tally) -> float:
    if not tally.nodes:
        return 0.0
    share = Decimal(100 * tally.warm) / tally.nodes
    return float(share.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP))


def _gate(gate: SetGate) -> WarmSetGate:
    return WarmSetGate(
        condition=gate.condition, taint=gate.taint or UNSET, open_after=gate.open_after
    )


def _gated(shot: SetSnapshot) -> Iterator[WarmSetCondition]:
    """Whether the gate of a set works; nothing of one that has none."""
    if shot.stored.head.gate is None:
        return
    said = shown(shot.gate_trouble or GATE_KEPT())
    yield WarmSetCondition(
        type="Gated",
        status=shot.gate_trouble is None,
        reason="Kept" if shot.gate_trouble is None else "Unable",
        message=said.message,
        message_code=said.code,
        message_params=said.params,
    )


def _condition(
    condition: SetCondition, state: ConditionState, since: int | None
) -> WarmSetCondition:
    said = shown(state.text)
    return WarmSetCondition(
        type=condition,
        status=state.holds,
        reason=state.reason,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        since=milliseconds_if_known(since),
    )


def set_webhook(
    event_type: str, condition: SetCondition, since: int, shot: SetSnapshot
) -> WarmSetWebhook:
    """What a receiver is sent of a condition that began to hold then (ms since 1970)."""
    said = shown(shot.conditions[condition].text)
    return WarmSetWebhook(
        event=event_type,
        set=warm_set(shot),
        timestamp=seconds(since),
        message=said.message or "",
        message_code=said.code,
        message_params=said.params,
    )


def set_node(shot: SetNodeSnapshot) -> WarmSetNode:
    """One node of a set."""
    state, said = shot.state, shown(shot.state.text)
    return WarmSetNode(
        node_name=state.node,
        state=state.phase,
        reason=state.reason or UNSET,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        image=state.image or UNSET,
        next_try_at=_moment(state.next_try),
        task=state.task or UNSET,
        images=[_image(image, cell, shot.pins.get(image)) for image, cell in shot.digests.items()],
    )


def _image(image: str, cell: tuple[bool, str | None] | None, pin: PinState | None) -> WarmSetImage:
    if cell is None:
        return WarmSetImage(image=image)
    present, digest = cell
    return WarmSetImage(image=image, present=present, digest=digest or UNSET, pin=pin or UNSET)
