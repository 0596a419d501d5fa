"""What must not reach a log, a message or a result: credentials inside of URLs.

Two places of a URL carry them: ``user:password@`` before the host, and the query of a signed
address, which registries hand out for layers.
"""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = "***"

_USERINFO: Final = re.compile(r"(?<=://)[^\s/]*@")
# It stops before a second "://", so that hostile text costs linear time.
_QUERY: Final = re.compile(r"(https?://(?:[^\s?\"'<>:]|:(?!//))+\?)[^\s\"'<>]+")


def redact(text: str) -> str:
    """Replace user information and queries of all URLs in a text by ``***``."""
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<1>{HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", text))
