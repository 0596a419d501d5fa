from __future__ import annotations

import msgspec
import msgspec.inspect
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import inventory, messages
from common.messages import (
    NOT_DECODABLE,
    Assign,
    AssignedImage,
    Cancel,
    Command,
    Heartbeat,
    Message,
    Outcome,
)
from tests.common.shapes import spoiled, unbounded, values

EVERY = [
    kind
    for kind in {**vars(messages), **vars(inventory)}.values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
TASK = "task-20260116-151234-a1b2c3d4"


@pytest.mark.parametrize("kind", EVERY)
@given(data=st.data())
def test_round_trip(kind: type[Message], data: st.DataObject) -> None:
    """What is encoded is decoded to the same."""
    message = msgspec.convert(data.draw(values(kind)), kind)
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=5)
@given(data=st.data())
def test_strangers_fields(kind: type[Message], data: st.DataObject) -> None:
    """A newer neighbour's fields are passed over."""
    value = data.draw(values(kind))
    known = msgspec.convert(value, kind)
    assert msgspec.convert({**value, "fromTheFuture": [1]}, kind) == known


@pytest.mark.parametrize("kind", EVERY)
@given(data=st.data())
def test_anything_anywhere(kind: type[Message], data: st.DataObject) -> None:
    """Whatever stands at any place of a message: it is a message within its bounds, or none."""
    spoilt = data.draw(values(kind).flatmap(spoiled))
    try:
        message = msgspec.json.decode(spoilt, type=kind)
    except NOT_DECODABLE:
        return
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


@pytest.mark.parametrize("kind", EVERY)
def test_every_field_has_bounds(kind: type[Message]) -> None:
    """No number, text or collection that comes from outside is without a limit in its type."""
    assert not list(unbounded(msgspec.inspect.type_info(kind)))


@pytest.mark.parametrize("kind", EVERY)
def test_whatever_is_no_message_is_not_decodable(kind: type[Message]) -> None:
    """Whoever reads strangers' bytes expects these errors and no others."""
    for data in (b'{"fromTheFuture":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"{", b""):
        with pytest.raises(messages.NOT_DECODABLE):
            msgspec.json.decode(data, type=kind)


@pytest.mark.parametrize("kind", EVERY)
def test_frozen(kind: type[Message]) -> None:
    """A message is not changed, and its fields are told apart by name."""
    assert kind.__struct_config__.frozen
    with pytest.raises(TypeError, match="positional"):
        kind("a")


def test_commands_by_kind() -> None:
    """A command says what it is."""
    commands: list[Command] = [
        Assign(
            epoch=1,
            task=TASK,
            attempt=2,
            images=[AssignedImage(name="nginx", reference="docker.io/library/nginx:latest")],
        ),
        Cancel(epoch=1, task=TASK),
        Cancel(epoch=1, task=TASK, attempt=2),
        messages.Report(epoch=1),
    ]
    for command in commands:
        assert msgspec.json.decode(msgspec.json.encode(command), type=Command) == command


def test_on_the_wire() -> None:
    """Names are camelCase and defaults are left out: a heartbeat of little content is short."""
    disk = messages.ImageDisk(free_bytes=1, total_bytes=2)
    assert msgspec.json.encode(Heartbeat(agent_version="1.0.0", driver="cri", image_disk=disk)) == (
        b'{"agentVersion":"1.0.0","driver":"cri","imageDisk":{"freeBytes":1,"totalBytes":2}}'
    )


def test_empty_outcome() -> None:
    """An outcome of a stranger that says nothing is still an outcome."""
    assert msgspec.json.decode(b"{}", type=Outcome) == Outcome()
