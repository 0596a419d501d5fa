"""Task ids as people write them: whole, or a part that only one of them has."""

from __future__ import annotations

import re
from typing import Final

from ips_client import requests
from ips_client.client import Client

_WHOLE: Final = re.compile(r"task-\d{8}-\d{6}-[0-9a-f]{8}")
_PART: Final = re.compile(r"[0-9a-z-]{4,}")
_SHOWN: Final = 5


def whole_id(client: Client, text: str) -> str:
    """The id that begins so, or whose last eight digits do; what none does stays as it is.

    Raises ValueError where several do.
    """
    if _WHOLE.fullmatch(text) or not _PART.fullmatch(text):
        return text
    query = requests.TaskQuery(q=text, sort="newest")
    request = requests.list_tasks(limit=requests.LARGEST_TASK_PAGE, query=query)
    known = [str(task["taskId"]) for task in client.ask(request)["tasks"]]
    found = [
        each for each in known if each.startswith(text) or each.split("-")[-1].startswith(text)
    ]
    if len(found) > 1:
        more = " …" if len(found) > _SHOWN else ""
        raise ValueError(f"{text} begins several tasks: {' '.join(found[:_SHOWN])}{more}")
    return found[0] if found else text
