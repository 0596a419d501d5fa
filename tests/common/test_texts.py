from __future__ import annotations

from pathlib import Path
from string import Formatter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common import (
    credential_texts,
    gate_texts,
    image_texts,
    pause_texts,
    purge_texts,
    set_texts,
    texts,
)
from common.redaction import HIDDEN
from common.text import PARAM_LIMIT, Param, Template, Text
from common.texts import templates

pytestmark = pytest.mark.pure

EVERY = sorted(templates(), key=lambda template: template.code)
PAGE = Path(__file__).parents[2] / "docs" / "messages.md"
BEGIN, END = "<!-- codes -->", "<!-- /codes -->"


def example(template: Template) -> dict[str, Param]:
    """A value for each parameter, unlike all others; a number where only one can be formatted."""
    parts = [part for part in Formatter().parse(template.english) if part[1]]
    return {
        str(name): number + 7001 if spec else f"parameter-{number}"
        for number, (_, name, spec, _) in enumerate(parts)
    }


def test_there_are_templates() -> None:
    """What holds for all of them holds for something."""
    named = [
        value
        for module in (
            texts,
            set_texts,
            image_texts,
            pause_texts,
            gate_texts,
            purge_texts,
            credential_texts,
        )
        for value in vars(module).values()
        if isinstance(value, Template)
    ]
    assert len(EVERY) == len(named) > 80


def test_codes_are_unique() -> None:
    """A second sentence of a code is refused where it is written, and so is what is no code."""
    for code in [EVERY[0].code, "", "Node.unknown", "node unknown", "a" * 65]:
        with pytest.raises(ValueError, match="no code"):
            Template(code, "Anything.")
    assert sorted(templates(), key=lambda template: template.code) == EVERY


@pytest.mark.parametrize("template", EVERY, ids=lambda template: template.code)
def test_every_parameter_is_in_the_sentence(template: Template) -> None:
    """And in the outline that documents show; nothing else is taken, and none may be missing."""
    params = example(template)
    text = template(**params)
    assert (text.code, text.params) == (template.code, params)
    for name, value in params.items():
        shown = value if isinstance(value, str) else f"{value:,}"
        assert shown in text.message or f"{value:g}" in text.message
        assert f"{{{name}}}" in template.outline
        with pytest.raises(KeyError):
            template(**{other: params[other] for other in params if other != name})
    with pytest.raises(KeyError):
        template(**params, surplus=1)


@given(template=st.sampled_from(EVERY), data=st.data())
def test_a_sentence_is_bounded_whatever_stands_in_it(
    template: Template, data: st.DataObject
) -> None:
    """Megabytes of a client, or of a registry, are cut; what is cut once is cut no further."""
    params = {
        name: data.draw(st.text(max_size=20)) * 1000 if isinstance(value, str) else value
        for name, value in example(template).items()
    }
    text = template(**params)
    assert all(len(str(value)) <= PARAM_LIMIT for value in text.params.values())
    # repr writes up to ten characters for one.
    assert len(text.message) <= len(template.english) + 10 * PARAM_LIMIT * len(params)
    assert template(**text.params) == text


def test_no_credentials_stay_in_a_sentence() -> None:
    """Neither in the English nor in what stands beside it."""
    text = texts.NATS_AWAY(why="nats://user:s3cret@nats.example:4222 refused")
    assert text.message == f"NATS cannot be reached: nats://{HIDDEN}@nats.example:4222 refused."
    assert "s3cret" not in str(text.params)


def test_what_others_said_has_no_code() -> None:
    """A registry's words are shown as they are."""
    text = Text("429 Too Many Requests")
    assert (str(text), text.code, text.params) == ("429 Too Many Requests", "", {})


def table() -> str:
    """The table of docs/messages.md."""
    rows = (f"| `{each.code}` | {each.outline.replace('|', '&#124;')} |" for each in EVERY)
    return "\n".join(["| code | English |", "|---|---|", *rows])


def test_the_table_of_codes() -> None:
    """The page's table is made of the templates; the failure shows what to put there."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    written, _, _ = rest.partition(END)
    assert written.strip() == table(), f"between {BEGIN} and {END} goes:\n{table()}"
