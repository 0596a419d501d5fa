"""Sentences as documents show them: the English, and beside it its code and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from common.reasons import clip
from common.text import Param, Text, text_of
from coordinator.core.task import TaskHead

PARAMS_BYTES: Final = 2048
"""Of one sentence's parameters as JSON: agents store them, and 50 images of a node must fit into
one event. Where there is more, the English stands alone."""


class Shown(NamedTuple):
    """The three fields of a document that say one sentence; all UNSET where there is none."""

    message: str | UnsetType = UNSET
    code: str | UnsetType = UNSET
    params: Mapping[str, Param] | UnsetType = UNSET


def shown(text: Text | None) -> Shown:
    """A sentence cut to one line of at most 300 characters."""
    if text is None or not text.message:
        return Shown()
    message = clip(text.message)
    if not text.code or len(msgspec.json.encode(text.params)) > PARAMS_BYTES:
        return Shown(message)
    return Shown(message, text.code, text.params)


def text_of_task(head: TaskHead) -> Text | None:
    """Why a finished task ended as it did."""
    return text_of(head.message, head.message_code or "", head.message_params)
