from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import messages
from common.messages import Assign, AssignedImage, Cancel, Command, Heartbeat, Message, Outcome
from common.subjects import ATTEMPTS, TASK_ID

EVERY = [
    kind
    for kind in vars(messages).values()
    if isinstance(kind, type) and issubclass(kind, Message) and kind is not Message
]
TASK = "task-20260116-151234-a1b2c3d4"

# What is counted and measured is never negative, and nothing takes a billion seconds.
st.register_type_strategy(float, st.floats(0, 1e9))
st.register_type_strategy(int, st.integers(0, 2**62))
PARAMS = st.one_of(st.text(max_size=5), st.integers(0, 2**62), st.floats(0, 1e9))
BY_NAME: dict[str, Any] = {
    "task": st.from_regex(TASK_ID, fullmatch=True),
    "attempt": st.integers(1, ATTEMPTS),
    "message_code": st.text(max_size=64),
    "message_params": st.dictionaries(st.text(max_size=5), PARAMS, max_size=16),
}


def fields_of(kind: type[Message]) -> dict[str, Any]:
    """What each field is drawn from: its type, where its name does not say more."""
    return {field.name: BY_NAME.get(field.name, ...) for field in msgspec.structs.fields(kind)}


for part in (messages.Hold, messages.AttemptProgress, messages.ImageOutcome):
    st.register_type_strategy(part, st.builds(part, **fields_of(part)))


@pytest.mark.parametrize("kind", EVERY)
@settings(max_examples=20)
@given(data=st.data())
def test_round_trip(kind: type[Message], data: st.DataObject) -> None:
    """What is encoded is decoded to the same."""
    message = data.draw(st.builds(kind, **fields_of(kind)))
    assert msgspec.json.decode(msgspec.json.encode(message), type=kind) == message


@pytest.mark.parametrize("kind", EVERY)
def test_strangers_fields(kind: type[Message]) -> None:
    """A newer neighbour's fields are passed over."""
    required = {
        field.encode_name: example_of(field.type)
        for field in msgspec.structs.fields(kind)
        if field.required
    }
    known = msgspec.convert(required, kind, str_keys=True)
    assert msgspec.convert({**required, "fromTheFuture": [1]}, kind, str_keys=True) == known


def example_of(kind: Any) -> Any:
    """A value of a required field's type."""
    examples: dict[Any, Any] = {
        str: "a",
        int: 1,
        bool: True,
        messages.TaskId: TASK,
        messages.AttemptNumber: 1,
        messages.Count: 1,
        messages.ImageState: "pulled",
    }
    return examples.get(kind, [])


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize(
    "data", [b'{"fromTheFuture":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"{", b""], ids=len
)
def test_whatever_is_no_message_is_not_decodable(kind: type[Message], data: bytes) -> None:
    """Whoever reads strangers' bytes expects these errors and no others."""
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
