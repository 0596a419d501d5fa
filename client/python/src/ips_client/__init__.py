"""Client of the Image Prewarm Service: ``Client``, ``AsyncClient`` and what they answer.

Names are looked up when they are first used: ``ips --version`` imports no transport, and a program
that only talks synchronously not that of asyncio.
"""

from __future__ import annotations

from ips_client.version import __version__

TYPE_CHECKING = False  # as typing has it, and without its cost
if TYPE_CHECKING:
    from ips_client.async_client import AsyncClient
    from ips_client.client import Client
    from ips_client.documents import (
        AuditEntry,
        Cancelled,
        Event,
        FailedImage,
        ImageDisk,
        LiveAgents,
        LiveImage,
        LiveNode,
        LiveNodes,
        Node,
        NodeImage,
        Requirement,
        Reset,
        Task,
        TaskNode,
        TaskProgress,
    )
    from ips_client.errors import (
        BadRequest,
        Closed,
        Conflict,
        Fault,
        Forbidden,
        IpsError,
        NotFound,
        Problem,
        Refused,
        ServerFault,
        ServerUnreachable,
        SetTimeLimit,
        TimeLimit,
        Unauthorized,
        Unavailable,
        UnexpectedAnswer,
    )
    from ips_client.picture import Progress
    from ips_client.purge_documents import (
        Purge,
        PurgeImage,
        PurgeImages,
        PurgeNode,
        PurgeNodes,
    )
    from ips_client.set_documents import (
        SetCondition,
        SetDeleted,
        SetDigest,
        SetDrift,
        SetImage,
        SetLooks,
        SetNode,
        SetNodes,
        SetRefresh,
        SetRefreshing,
        SetSchedule,
        SetWindow,
        WarmSet,
    )
    from ips_client.watching import Waited

__all__ = [
    "AsyncClient",
    "AuditEntry",
    "BadRequest",
    "Cancelled",
    "Client",
    "Closed",
    "Conflict",
    "Event",
    "FailedImage",
    "Fault",
    "Forbidden",
    "ImageDisk",
    "IpsError",
    "LiveAgents",
    "LiveImage",
    "LiveNode",
    "LiveNodes",
    "Node",
    "NodeImage",
    "NotFound",
    "Problem",
    "Progress",
    "Purge",
    "PurgeImage",
    "PurgeImages",
    "PurgeNode",
    "PurgeNodes",
    "Refused",
    "Requirement",
    "Reset",
    "ServerFault",
    "ServerUnreachable",
    "SetCondition",
    "SetDeleted",
    "SetDigest",
    "SetDrift",
    "SetImage",
    "SetLooks",
    "SetNode",
    "SetNodes",
    "SetRefresh",
    "SetRefreshing",
    "SetSchedule",
    "SetTimeLimit",
    "SetWindow",
    "Task",
    "TaskNode",
    "TaskProgress",
    "TimeLimit",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Waited",
    "WarmSet",
    "__version__",
]

_HOMES = (
    {
        "AsyncClient": "async_client",
        "Client": "client",
        "Progress": "picture",
        "Waited": "watching",
    }
    | dict.fromkeys(
        (
            "BadRequest",
            "Closed",
            "Conflict",
            "Fault",
            "Forbidden",
            "IpsError",
            "NotFound",
            "Problem",
            "Refused",
            "ServerFault",
            "ServerUnreachable",
            "SetTimeLimit",
            "TimeLimit",
            "Unauthorized",
            "Unavailable",
            "UnexpectedAnswer",
        ),
        "errors",
    )
    | dict.fromkeys(
        ("Purge", "PurgeImage", "PurgeImages", "PurgeNode", "PurgeNodes"), "purge_documents"
    )
    | dict.fromkeys(
        (
            "SetCondition",
            "SetDeleted",
            "SetDigest",
            "SetDrift",
            "SetImage",
            "SetLooks",
            "SetNode",
            "SetNodes",
            "SetRefresh",
            "SetRefreshing",
            "SetSchedule",
            "SetWindow",
            "WarmSet",
        ),
        "set_documents",
    )
)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 -- costs start-up where nothing is used

    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'documents')}"), name)
