"""Labels, by Kubernetes' rules for their syntax (apimachinery, ``IsQualifiedName``)."""

from __future__ import annotations

import re
from typing import Final

from common.subjects import is_node_name

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def is_label_key(text: str) -> bool:
    """Whether a text is ``name`` or ``prefix/name``: at most 63 characters, a DNS subdomain."""
    prefix, slash, name = text.rpartition("/")
    return _NAME.fullmatch(name) is not None and (not slash or is_node_name(prefix))


def is_label_value(text: str) -> bool:
    """Whether a text is empty, or at most 63 letters, digits, ``-``, ``_`` and ``.``."""
    return not text or _NAME.fullmatch(text) is not None
