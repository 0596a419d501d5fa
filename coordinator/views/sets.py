"""A warm set and its nodes as REST shows them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal

from msgspec import UNSET

from common.gate_texts import GATE_KEPT
from coordinator.core.sets.gate import SetGate
from coordinator.core.sets.standing import ConditionState, SetCondition, SetNodePhase, Tally
from coordinator.set_documents import (
    WarmSet,
    WarmSetCondition,
    WarmSetGate,
    WarmSetImage,
    WarmSetNode,
    WarmSetNodes,
    WarmSetWebhook,
)
from coordinator.snapshots import SetNodeSnapshot, SetSnapshot
from coordinator.views.tasks import requirement, scheme_and_host
from coordinator.views.texts import shown
from coordinator.views.times import milliseconds, milliseconds_if_known, seconds


def warm_set(shot: SetSnapshot) -> WarmSet:
    """A set as GET returns it."""
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
        webhook_url=UNSET if spec.webhook_url is None else scheme_and_host(spec.webhook_url),
        paused=head.paused,
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
    again = None if state.next_try is None else int(state.next_try * 1000)
    return WarmSetNode(
        node_name=state.node,
        state=state.phase,
        reason=state.reason or UNSET,
        message=said.message,
        message_code=said.code,
        message_params=said.params,
        image=state.image or UNSET,
        next_try_at=milliseconds_if_known(again),
        task=state.task or UNSET,
        images=[_image(image, cell) for image, cell in shot.digests.items()],
    )


def _image(image: str, cell: tuple[bool, str | None] | None) -> WarmSetImage:
    if cell is None:
        return WarmSetImage(image=image)
    present, digest = cell
    return WarmSetImage(image=image, present=present, digest=digest or UNSET)
