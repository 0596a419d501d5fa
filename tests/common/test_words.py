"""Every code of the service has words in each language, on the page and in ``ips``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest
from ips_client.command import messages, zh
from ips_client.documents import Cancelled

from common import (
    credential_texts,
    gate_texts,
    image_texts,
    pause_texts,
    purge_texts,
    set_texts,
    texts,
)
from common.text import Template

pytestmark = pytest.mark.pure

EVERY: Final = {
    template.code: template
    for module in (
        texts,
        set_texts,
        image_texts,
        pause_texts,
        gate_texts,
        purge_texts,
        credential_texts,
    )
    for template in vars(module).values()
    if isinstance(template, Template)
}
PAGE: Final = Path(__file__).parents[2] / "web" / "js" / "words" / "zh_messages.js"
_ENTRY: Final = re.compile(
    r'^  (?:"(?P<quoted>[^"]+)"|(?P<bare>\w+)): (?P<text>".*"),$', re.MULTILINE
)


def of_the_page(name: str) -> dict[str, str]:
    """A table of the page's module."""
    _, _, rest = PAGE.read_text(encoding="utf-8").partition(f"export const {name} = {{\n")
    table, _, _ = rest.partition("\n};")
    return {
        entry["quoted"] or entry["bare"]: json.loads(entry["text"])
        for entry in _ENTRY.finditer(f"{table}\n")
    }


def places(text: str) -> set[str]:
    """The parameters that stand in a text."""
    return set(re.findall(r"\{(\w+)\}", text))


def test_every_code_has_chinese_words() -> None:
    """A code that is added without them is named here, and so are words without a code."""
    assert zh.MESSAGES.keys() ^ EVERY.keys() == set()


@pytest.mark.parametrize("code", sorted(EVERY))
def test_the_words_have_the_sentences_places(code: str) -> None:
    """No other parameter is asked for; one may be left out only where the words say it."""
    unknown = places(zh.MESSAGES[code]) - EVERY[code].fields
    assert unknown == set()


def test_the_page_has_the_same_words() -> None:
    """Two programs that are shipped apart say one thing."""
    assert of_the_page("MESSAGES") == zh.MESSAGES
    assert of_the_page("VALUES") == zh.VALUES


@pytest.fixture
def _chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "is_chinese", lambda: True)


def answer(template: Template, **params: str | float) -> Cancelled:
    """An answer that says a sentence."""
    text = template(**params)
    document = {
        "message": text.message,
        "messageCode": text.code,
        "messageParams": dict(text.params),
    }
    return Cancelled(task_id="t", status="cancelled", message=text.message).of(document)


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (answer(texts.NODE_UNKNOWN, node="n{1}"), "未知节点 n{1}。"),
        (
            answer(texts.TASKS_TOO_MANY, most=10_000),
            "排队中的任务已达上限 10,000 个（IPS_MAX_PENDING_TASKS）。",
        ),
        (
            answer(texts.TASK_NEVER_CHANGES, status="completed"),
            "任务已处于最终状态（已完成）。",
        ),
        (answer(texts.VALUE_NOT_TEXT, got="a list of 1,000"), "应为文本，而不是 1,000 项的列表"),
        (answer(texts.VALUE_NOT_TEXT, got='"x 7"'), '应为文本，而不是 "x 7"'),
    ],
)
def test_a_sentence_in_chinese(said: Cancelled, expected: str) -> None:
    """Numbers with separators, words of the service's own in Chinese, all else as it came."""
    assert messages.said(said) == expected


@pytest.mark.usefixtures("_chinese")
@pytest.mark.parametrize(
    "document",
    [
        {},
        {"messageCode": "newer.thanThis", "messageParams": {}},
        {"messageCode": "node.unknown", "messageParams": {}},
        {"messageCode": "node.unknown"},
        {"messageCode": ["node.unknown"], "messageParams": {"node": "n"}},
        {"messageCode": "node.unknown", "messageParams": ["node"]},
    ],
)
def test_the_sentence_is_the_fallback(document: dict[str, object]) -> None:
    """A code that is newer, or a parameter that is missing, leaves the English as it is."""
    told = Cancelled(task_id="t", status="cancelled", message="As it came.").of(document)
    assert messages.said(told) == "As it came."


@pytest.mark.parametrize(
    ("variables", "chinese"),
    [
        ({}, False),
        ({"LANG": "zh_CN.UTF-8"}, True),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "IPS_LANG": "en"}, False),
        ({"LANG": "de_DE.UTF-8", "IPS_LANG": "zh"}, True),
    ],
)
def test_the_language_is_chosen_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], *, chinese: bool
) -> None:
    """``IPS_LANG`` first, then as every program of a terminal does."""
    for name in ("IPS_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    messages.is_chinese.cache_clear()
    try:
        assert messages.is_chinese() is chinese
    finally:
        messages.is_chinese.cache_clear()
