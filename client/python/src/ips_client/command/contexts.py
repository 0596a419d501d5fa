"""Contexts: servers with their credentials, by name, in a file of the user's own.

The file is ``IPS_CONFIG``, or ``ips/config.yaml`` under ``XDG_CONFIG_HOME`` (``~/.config``). It
names files of tokens and never holds one. A context counts as a whole or not at all: whoever names
another server sends it nothing of a context, and to a context's server no token of the environment
is sent.
"""

from __future__ import annotations

import os
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any, Final

import msgspec

from ips_client.command import codes
from ips_client.command.output import show, table
from ips_client.server import Server, without_credentials

_FOR_ITS_SERVER: Final = ("token_file", "cert", "key", "insecure")


class Context(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, omit_defaults=True):
    """One server, and how it is asked."""

    server: str
    token_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    insecure: bool = False


class Contexts(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The file."""

    current: str = ""
    contexts: dict[str, Context] = {}


def path() -> Path:
    """Where the file is, or would be."""
    if chosen := os.environ.get("IPS_CONFIG"):
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "ips" / "config.yaml"


def load() -> Contexts:
    """What the file has; nothing where there is none. Raises ValueError."""
    file = path()
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except (OSError, UnicodeDecodeError) as why:
        raise ValueError(f"{file}: {why}") from None
    import yaml  # noqa: PLC0415 -- costs start-up, and few have such a file

    try:
        return msgspec.convert(yaml.safe_load(text) or {}, Contexts)
    except (yaml.YAMLError, msgspec.ValidationError) as why:
        raise ValueError(f"{file}: {' '.join(str(why).split())}") from None


def store(contexts: Contexts) -> None:
    """Replace the file, which others on this machine cannot read. Raises ValueError."""
    import yaml  # noqa: PLC0415 -- see above

    file = path()
    text = yaml.safe_dump(msgspec.to_builtins(contexts), sort_keys=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=file.parent, prefix=".config-", delete=False
        ) as new:
            new.write(text)
        Path(new.name).replace(file)
    except OSError as why:
        raise ValueError(f"{file}: {why.strerror}") from None


def apply(arguments: Namespace) -> None:
    """Fill in what the context says, where no other server is named. Raises ValueError."""
    named = arguments.context or os.environ.get("IPS_CONTEXT") or ""
    if arguments.context and arguments.server:
        raise ValueError("--context and --server name two servers: leave one of them out")
    elsewhere = arguments.server or os.environ.get("IPS_SERVER")
    if elsewhere and not arguments.context:
        arguments.server = elsewhere
        return
    contexts = load()
    name = named or contexts.current
    if not name:
        return
    context = contexts.contexts.get(name)
    if context is None:
        raise ValueError(f"{path()} has no context {name!r}")
    arguments.server, arguments.of_context = context.server, context
    has_own_pair = arguments.cert or arguments.key  # which the context's other half does not fit
    for each in ("ca",) if has_own_pair else ("ca", "cert", "key"):
        setattr(arguments, each, getattr(arguments, each) or getattr(context, each) or None)
    arguments.insecure = bool(arguments.insecure or context.insecure)


def config(arguments: Namespace) -> int:
    """``ips config``: look at contexts, and change them."""
    contexts = load()
    actions = {
        "get-contexts": _get,
        "current-context": _current,
        "use-context": _use,
        "set-context": _set,
        "delete-context": _delete,
    }
    actions[arguments.action](contexts, arguments)
    return codes.COMPLETED


def _get(contexts: Contexts, arguments: Namespace) -> None:
    for each in contexts.contexts.values():
        each.server = without_credentials(each.server)  # whoever wrote the file may have put some
    rows = [
        ("*" if name == contexts.current else "-", name, each.server, each.token_file)
        for name, each in sorted(contexts.contexts.items())
    ]
    lines = table(("CURRENT", "NAME", "SERVER", "TOKEN-FILE"), rows, none="no contexts")
    document: Any = msgspec.to_builtins(contexts)
    show(arguments.output, document, names=sorted(contexts.contexts), lines=lines)


def _current(contexts: Contexts, arguments: Namespace) -> None:
    if not contexts.current:
        raise ValueError("no context is current: ips config use-context NAME")
    name = contexts.current
    show(arguments.output, {"current": name}, names=[name], lines=[name])


def _use(contexts: Contexts, arguments: Namespace) -> None:
    name = _known(contexts, arguments)
    contexts.current = name
    store(contexts)


def _delete(contexts: Contexts, arguments: Namespace) -> None:
    name = _known(contexts, arguments)
    del contexts.contexts[name]
    contexts.current = "" if contexts.current == name else contexts.current
    store(contexts)


def _set(contexts: Contexts, arguments: Namespace) -> None:
    """Create a context, or change what is said of it; the first one becomes current."""
    name = _name(arguments)
    said = {
        each: str(Path(value).absolute()) if each != "server" else value
        for each in ("server", "token_file", "ca", "cert", "key")
        if (value := getattr(arguments, each))
    }
    if "server" in said and Server.parse(said["server"]).authorization is not None:
        raise ValueError("a context holds no password: --token-file names a file with a token")
    known = contexts.contexts.get(name)
    if known is None and "server" not in said:
        raise ValueError(f"there is no context {name!r}: a new one needs --server URL")
    before = {} if known is None else msgspec.structs.asdict(known)
    if known is not None and said.get("server", known.server) != known.server:
        for each in _FOR_ITS_SERVER:  # another server gets none of them unawares
            del before[each]
    insecure = {"insecure": True} if arguments.insecure else {}
    contexts.contexts[name] = Context(**{**before, **said, **insecure})
    contexts.current = contexts.current or name
    store(contexts)


def _name(arguments: Namespace) -> str:
    if not arguments.name:
        raise ValueError(f"ips config {arguments.action} needs a NAME")
    return str(arguments.name)


def _known(contexts: Contexts, arguments: Namespace) -> str:
    name = _name(arguments)
    if name not in contexts.contexts:
        raise ValueError(f"{path()} has no context {name!r}")
    return name
