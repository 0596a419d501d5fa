"""The names of nats-py, private ones above all, on which ``common/bus/session.py`` is built.

They may change with any minor release, which is why ``pyproject.toml`` allows one release line
only. Whoever allows the next one learns here, name by name, what has to be looked at again.
"""

from __future__ import annotations

import ast
import inspect
import tomllib
from abc import ABC
from importlib.metadata import version
from pathlib import Path

import nats.protocol.command
import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport

from common.bus import session

ROOT = Path(__file__).parents[2]

OVERRIDDEN: dict[type[object], set[str]] = {
    Client: {"_select_next_server", "_connect_command", "_process_msg", "_send_ping"},
    TcpTransport: {"close", "drain", "readline"},
}
USED: dict[type[object], set[str]] = {
    Client: {
        "_current_server",
        "_err",
        "_flush_queue",
        "_flusher_task",
        "_pending",
        "_pending_data_size",
        "_ping_interval_task",
        "_pongs",
        "_reading_task",
        "_server_info",
        "_server_pool",
        "_transport",
    },
    TcpTransport: {"_io_reader", "_io_writer"},
}
COMMANDS = ("sub_cmd", "unsub_cmd")


def _names(kind: type[object]) -> set[str]:
    """Methods and attributes of a class of nats-py, without Python's own."""
    return (set(dir(kind)) | set(vars(kind()))) - set(dir(ABC)) - {"_abc_impl"}


def _named(names: dict[type[object], set[str]]) -> list[tuple[type[object], str]]:
    return [(kind, name) for kind, found in names.items() for name in sorted(found)]


@pytest.mark.parametrize(("kind", "name"), _named(OVERRIDDEN))
def test_what_is_overridden_is_there(kind: type[object], name: str) -> None:
    """An override of what nats-py no longer calls would have no effect."""
    ours: type[object] = {Client: session.Session, TcpTransport: session._Wire}[kind]
    assert callable(getattr(kind, name, None)), f"nats-py has no {kind.__name__}.{name} any more"
    assert name in vars(ours)


@pytest.mark.parametrize(("kind", "name"), _named(USED))
def test_what_is_used_is_there(kind: type[object], name: str) -> None:
    """State of nats-py that is read or written."""
    assert name in _names(kind), f"nats-py has no {kind.__name__}.{name} any more"


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_are_there(name: str) -> None:
    """What writes a command of the protocol."""
    assert callable(getattr(nats.protocol.command, name, None))


def test_every_private_name_is_listed_here() -> None:
    """Whatever the session takes of nats-py's private names."""
    tree = ast.parse(inspect.getsource(session))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    methods = {name for kind in (session.Session, session._Wire) for name in vars(kind)}
    taken = attributes | methods
    private = {name for name in taken if name.startswith("_") and not name.startswith("__")}
    for kind in (Client, TcpTransport):
        known = OVERRIDDEN[kind] | USED[kind]
        assert private & _names(kind) <= known


def test_one_release_line_is_allowed() -> None:
    """A minor release is installed only by whoever has run these tests on it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "nats-py~=2.16.0" in project["dependencies"]
    assert version("nats-py").startswith("2.16.")
