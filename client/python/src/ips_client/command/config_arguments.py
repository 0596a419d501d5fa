"""``ips config``: contexts, which name a server with its credentials."""

from __future__ import annotations

from typing import Any

from ips_client.command.options import output
from ips_client.command.place_arguments import Command

ACTIONS = ("get-contexts", "current-context", "use-context", "set-context", "delete-context")


def add(commands: Any, command: Command) -> None:
    """Add it."""
    parser = command(
        commands,
        "config",
        "contexts",
        "ACTION [NAME] [option …]",
        "Look at contexts and change them. A context is a server with its credentials, in\n"
        "~/.config/ips/config.yaml (XDG_CONFIG_HOME, IPS_CONFIG); the file holds no token.",
        "ips config set-context prod --server https://ips.example.com --token-file ~/.ips-token",
        "ips config use-context prod",
        "ips ls --context staging",
    )
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("name", nargs="?", metavar="NAME", help="a context")
    group = parser.add_argument_group("what set-context says")
    group.add_argument("--server", metavar="URL", help="where the service is")
    group.add_argument("--token-file", metavar="FILE", help="the file that holds the token")
    group.add_argument("--ca", metavar="FILE", help="certificates of the authorities to trust")
    group.add_argument("--cert", metavar="FILE", help="certificate to show")
    group.add_argument("--key", metavar="FILE", help="key of --cert")
    group.add_argument("--insecure", action="store_true", help="trust whoever answers")
    output(parser, lists=True)
