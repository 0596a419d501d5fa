from __future__ import annotations

from string import Formatter

import msgspec
import pytest

from common.messages import Outcome
from common.reasons import Reason
from common.text import Template, Text, fields_of, text_of
from common.texts import (
    NODE_CONFLICT,
    NODE_CONFLICT_WAITED,
    NODE_CORDONED,
    NODE_CORDONED_WAITED,
    NODE_NO_AGENT,
    NODE_NO_AGENT_WAITED,
    NODE_UNKNOWN,
    NODE_UNKNOWN_WAITED,
    NODE_UNSCHEDULABLE,
    NODE_UNSCHEDULABLE_WAITED,
    templates,
)

pytestmark = pytest.mark.pure


def test_a_text_says_what_stands_in_it() -> None:
    """The English sentence, its code and its parameters."""
    text = NODE_UNKNOWN(node="n1")
    assert text == Text("Node n1 is unknown.", "node.unknown", {"node": "n1"})
    assert str(text) == text.message


def test_every_field_of_a_sentence_is_a_plain_name() -> None:
    """So that another language can put it where it belongs."""
    for template in templates():
        fields = [field for _, field, _, _ in Formatter().parse(template.english) if field]
        assert all(field.isidentifier() for field in fields), template.code


@pytest.mark.parametrize(
    ("why", "waited"),
    [
        (NODE_UNKNOWN, NODE_UNKNOWN_WAITED),
        (NODE_CONFLICT, NODE_CONFLICT_WAITED),
        (NODE_UNSCHEDULABLE, NODE_UNSCHEDULABLE_WAITED),
        (NODE_NO_AGENT, NODE_NO_AGENT_WAITED),
        (NODE_CORDONED, NODE_CORDONED_WAITED),
    ],
)
def test_what_was_waited_for_is_a_sentence_of_its_own(why: Template, waited: Template) -> None:
    """With the same parameters and how long it was waited; no sentence stands inside another."""
    params = dict.fromkeys(why.fields, "x")
    text = waited(**params, seconds=60.0)
    assert text.message == f"{why(**params)} Waited for 60 s."
    assert waited.fields == why.fields | {"seconds"}
    assert text.code == f"{why.code}.waited"


def test_a_text_is_kept_in_three_fields_and_read_back() -> None:
    """Over the wire and the store, as part of whatever it is about."""
    text = NODE_UNKNOWN(node="n1")
    outcome = Outcome(reason=Reason.AGENT_UNAVAILABLE, **fields_of(text))
    stored = msgspec.json.encode(outcome)
    assert b'"messageCode":"node.unknown","messageParams":{"node":"n1"}' in stored
    assert msgspec.json.decode(stored, type=Outcome).text == text


def test_what_an_older_version_stored_has_no_code() -> None:
    """Its message is shown as it stands; where there is none, there is no text."""
    assert msgspec.json.decode(b'{"message":"a"}', type=Outcome).text == Text("a")
    assert text_of("a", None, {}) == Text("a")
    assert text_of(None, None, {}) is None
    assert text_of("", "", {}) is None


@pytest.mark.parametrize(
    "outcome",
    [
        {"messageCode": "x" * 65},
        {"messageParams": {str(number): 1 for number in range(17)}},
        {"messageParams": {"a": ["b"]}},
    ],
)
def test_codes_and_parameters_are_bounded(outcome: object) -> None:
    """An agent may say anything."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome)
