"""The body of a create: its shape, its rules, and what becomes of it.

The one Struct below is what validates, what decodes and what the OpenAPI document shows.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Final
from urllib.parse import SplitResult, quote, urlsplit

import msgspec
from msgspec import UNSET, UnsetType, inspect

from common import texts
from common.credential_texts import CREDENTIAL_NAME, PULL_SECRET_NAME
from common.image_reference import ImageReference, InvalidReference
from common.labels import is_label_key, is_label_value
from common.messages import MOST_LOGINS
from common.subjects import is_node_name
from common.text import Text
from coordinator.api.faults import clipped, fault, faults, rule, shown
from coordinator.api.problems import bad_request
from coordinator.core.task import (
    Operator,
    PullPolicy,
    Requirement,
    RetryStrategy,
    Rollout,
    TaskImage,
    TaskSpec,
)
from coordinator.credentials.pull_secret import is_pull_secret
from coordinator.credentials.records import is_credential_name
from coordinator.documents import Fault

SPEC_BYTES: Final = 64 * 1024
"""Of the stored form of everything but ``nodeNames``: a head must fit into one message."""
FAULTS_NAMED: Final = 1000
"""So that the answer to 3 MiB of nonsense is not 100 MiB."""
MOST_SELECTED: Final = 10_000
"""Labels of a selector, and values of an expression."""
MOST_EXPRESSIONS: Final = 1_000
MOST_FAILED_NODES: Final = 2**31 - 1
URL_LENGTH: Final = 2048

_INTEGER: Final = re.compile(r"[0-9]{1,18}")
_NOT_IN_URL: Final = re.compile(r"[^!-~]")
_BRACKETED: Final = re.compile(r"\[[^\[\]]+\](?::[0-9]*)?")


# ── rules that a type cannot say ─────────────────────────────────────────────────────────────


def _check_image(text: str) -> Iterator[tuple[str, Text]]:
    try:
        ImageReference.parse(text)
    except InvalidReference as why:
        yield "", why.text


def _check_key(text: str) -> Iterator[tuple[str, Text]]:
    if not is_label_key(text):
        yield "", texts.VALUE_NOT_LABEL_KEY(text=clipped(text))


def _check_value(text: str) -> Iterator[tuple[str, Text]]:
    if not is_label_value(text):
        yield "", texts.VALUE_NOT_LABEL_VALUE(text=clipped(text))


def _check_name(text: str) -> Iterator[tuple[str, Text]]:
    if not is_node_name(text):
        yield "", texts.VALUE_NOT_NODE_NAME(text=clipped(text))


def _check_credential(text: str) -> Iterator[tuple[str, Text]]:
    if not is_credential_name(text):
        yield "", CREDENTIAL_NAME(text=clipped(text))


def _check_pull_secret(text: str) -> Iterator[tuple[str, Text]]:
    if not is_pull_secret(text):
        yield "", PULL_SECRET_NAME(text=clipped(text))


def _check_url(text: str) -> Iterator[tuple[str, Text]]:
    if found := _NOT_IN_URL.search(text):
        encoded = quote(found[0], errors="replace")
        yield "", texts.VALUE_NOT_IN_ADDRESS(character=ascii(found[0]), encoded=encoded)
        return
    parts = _split(text)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        yield "", texts.VALUE_NOT_WEB_ADDRESS()


def _demand_url(value: Any) -> Text:
    """As for any text, but what is one is not repeated: a webhook's address is a secret."""
    got = f"one of {len(value):,}" if isinstance(value, str) else shown(value)
    return texts.VALUE_NOT_SHORT_TEXT(most=URL_LENGTH, got=got)


def _demand_share(value: Any) -> Text:
    return texts.VALUE_NOT_SHARE(most=MOST_FAILED_NODES, got=shown(value))


def _split(text: str) -> SplitResult | None:
    """The parts of an address; None if it has none, or a port that is no number of one."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 -- asking is what checks it
    except ValueError:
        return None
    authority = parts.netloc.rpartition("@")[2]
    # urlsplit lets anything stand around an IPv6 address's brackets, and who sends would not.
    is_one = "[" not in authority or _BRACKETED.fullmatch(authority) is not None
    return parts if is_one else None


def _check_expression(entry: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    operator, values = Operator(entry["operator"]), entry.get("values", [])
    match operator:
        case Operator.IN | Operator.NOT_IN:
            if not values:
                yield "/values", texts.OPERATOR_NEEDS_VALUES(operator=operator)
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            if values:
                yield "/values", texts.OPERATOR_TAKES_NONE(operator=operator)
        case Operator.GT | Operator.LT:
            if len(values) != 1 or not _INTEGER.fullmatch(values[0]):
                yield "/values", texts.OPERATOR_TAKES_NUMBER(operator=operator)


# ── the shape ────────────────────────────────────────────────────────────────────────────────

LabelKey = Annotated[str, rule(_check_key)]
LabelValue = Annotated[str, rule(_check_value)]


class MatchExpression(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """A label requirement, as Kubernetes writes it."""

    key: LabelKey
    operator: Operator
    values: Annotated[list[LabelValue], rule(max_length=MOST_SELECTED)] = []


class CreateTask(
    msgspec.Struct, kw_only=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True
):
    """What to pull, where, and how."""

    images: Annotated[
        list[Annotated[str, rule(_check_image, max_length=1024, examples=["nginx:latest"])]],
        rule(
            min_length=1,
            max_length=50,
            description="Image references. Docker's short names are completed; a duplicate "
            "after that is one image.",
        ),
    ]
    batch_size: Annotated[int, rule(ge=1, le=10_000, description="Nodes in one batch.")] = 10
    priority: Annotated[int, rule(ge=1, le=10, description="10 is the most urgent.")] = 5
    max_retries: Annotated[int, rule(ge=0, le=5, description="Retries of each node.")] = 0
    retry_strategy: Annotated[
        RetryStrategy,
        rule(
            description="linear: the same delay before each retry. exponential: delay * 2^(n-1) "
            "before retry n, at most 600 s."
        ),
    ] = RetryStrategy.LINEAR
    retry_delay: Annotated[int, rule(ge=1, le=3600, description="Base delay in seconds.")] = 30
    webhook_url: (
        Annotated[
            str,
            rule(
                _check_url,
                demand=_demand_url,
                max_length=URL_LENGTH,
                description="http or https; told of the task's end, of a set when all its nodes "
                "have become warm, or some cannot be. Answers show scheme and host.",
                examples=["https://example.com/webhook"],
            ),
        ]
        | UnsetType
    ) = UNSET
    node_selector: Annotated[
        dict[LabelKey, LabelValue],
        rule(
            max_length=MOST_SELECTED,
            description="Every label must match; empty selects all nodes.",
            examples=[{"workload": "compute"}],
        ),
    ] = {}
    match_expressions: Annotated[
        list[Annotated[MatchExpression, rule(_check_expression)]],
        rule(
            max_length=MOST_EXPRESSIONS,
            description='Joined with nodeSelector and nodeNames by "and". In and NotIn need '
            "values, Exists and DoesNotExist take none, Gt and Lt one whole number.",
            examples=[[{"key": "zone", "operator": "In", "values": ["a"]}]],
        ),
    ] = []
    node_names: (
        Annotated[
            list[Annotated[str, rule(_check_name)]],
            rule(
                min_length=1,
                max_length=10_000,
                description="Only these nodes. One that does not exist fails.",
            ),
        ]
        | UnsetType
    ) = UNSET
    max_failed_nodes: Annotated[
        Annotated[int, rule(ge=0, le=MOST_FAILED_NODES)]
        | Annotated[
            str,
            rule(
                pattern=r"^([0-9]|[1-9][0-9]|100)%$",
            ),
        ],
        rule(
            demand=_demand_share,
            description="More failed nodes than this make the task fail; a percentage of the "
            "task's nodes is rounded down.",
            examples=[0, "10%"],
        ),
    ] = 0
    rollout: Annotated[
        Rollout,
        rule(
            description="batch: one batch after another. rolling: the next node starts as soon "
            "as one is done."
        ),
    ] = Rollout.BATCH
    image_pull_policy: Annotated[
        PullPolicy, rule(description="Whether an image that is there is pulled again.")
    ] = PullPolicy.IF_NOT_PRESENT
    pull_timeout_seconds: Annotated[
        int, rule(ge=10, le=86_400, description="For one image in one attempt.")
    ] = 1800
    credentials: Annotated[
        list[Annotated[str, rule(_check_credential)]],
        rule(
            max_length=MOST_LOGINS,
            description="Stored credentials by which the images' registries may be asked; needs "
            "`use` on `credentials`.",
            examples=[["shop"]],
        ),
    ] = []
    pull_secrets: Annotated[
        list[Annotated[str, rule(_check_pull_secret)]],
        rule(
            max_length=MOST_LOGINS,
            description="Secrets of Kubernetes (`namespace/name`) by which the images' registries "
            "may be asked; needs `get` of each, or `use` on `credentials`.",
            examples=[["shop/regcred"]],
        ),
    ] = []


_SHAPE: Final = inspect.type_info(CreateTask)


# ── what becomes of it ───────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Order:
    """A checked create body."""

    spec: TaskSpec
    names: tuple[str, ...] | None
    """``nodeNames``: sorted, each once."""
    body_hash: str
    """SHA-256 in hex of the body as parsed: defaults, order of keys and of names do not matter."""


def read_order(body: Any) -> Order:
    """Check a decoded body; a Refusal names everything that is wrong with it."""
    found = list(islice(faults(_SHAPE, body), FAULTS_NAMED))
    if found:
        raise bad_request(found)
    return order_of(msgspec.convert(body, CreateTask))


def order_of(asked: CreateTask) -> Order:
    """What a body without faults comes to. Raises a Refusal where it is too large."""
    names = None if asked.node_names is UNSET else tuple(sorted(set(asked.node_names)))
    spec = _spec(asked)
    if len(msgspec.json.encode(spec)) > SPEC_BYTES:
        raise bad_request([_too_large(asked)])
    return Order(spec, names, _hash(asked, names))


def _spec(asked: CreateTask) -> TaskSpec:
    return TaskSpec(
        images=tuple(asked.images),
        work=_work(asked.images),
        batch_size=asked.batch_size,
        priority=asked.priority,
        max_retries=asked.max_retries,
        retry_strategy=asked.retry_strategy,
        retry_delay=asked.retry_delay,
        webhook_url=None if asked.webhook_url is UNSET else asked.webhook_url,
        node_selector=asked.node_selector,
        match_expressions=tuple(
            Requirement(key=entry.key, operator=entry.operator, values=tuple(entry.values))
            for entry in asked.match_expressions
        ),
        names_nodes=asked.node_names is not UNSET,
        max_failed_nodes=asked.max_failed_nodes,
        rollout=asked.rollout,
        image_pull_policy=asked.image_pull_policy,
        pull_timeout_seconds=asked.pull_timeout_seconds,
        credentials=tuple(dict.fromkeys(asked.credentials)),
        pull_secrets=tuple(dict.fromkeys(asked.pull_secrets)),
    )


def _work(images: list[str]) -> tuple[TaskImage, ...]:
    """Each distinct image once, by its first spelling."""
    first: dict[str, str] = {}
    for name in images:
        first.setdefault(ImageReference.parse(name).runtime_form, name)
    return tuple(TaskImage(name=name, reference=reference) for reference, name in first.items())


def _too_large(asked: CreateTask) -> Fault:
    sizes = {
        "images": len(msgspec.json.encode(asked.images)),
        "nodeSelector": len(msgspec.json.encode(asked.node_selector)),
        "matchExpressions": len(msgspec.json.encode(asked.match_expressions)),
    }
    fattest = max(sizes, key=sizes.__getitem__)
    text = texts.FIELD_TOO_LARGE(size=sizes[fattest], limit=SPEC_BYTES)
    return fault(f"/{fattest}", text)


def _hash(asked: CreateTask, names: tuple[str, ...] | None) -> str:
    normal = msgspec.structs.replace(asked, node_names=UNSET if names is None else list(names))
    return hashlib.sha256(msgspec.json.encode(normal, order="deterministic")).hexdigest()
