"""The command line of ``ips credentials``."""

from __future__ import annotations

from typing import Any

from ips_client.command.options import connection, output
from ips_client.command.place_arguments import Command

ACTIONS = ("list", "set", "delete")


def add(commands: Any, command: Command) -> None:
    """Add it."""
    parser = command(
        commands,
        "credentials",
        "credentials",
        "[ACTION] [NAME …] [option …]",
        "List credentials of registries that tasks may name, store one, or delete some. A\n"
        "password or token is read from standard input or a file, and is never shown again.",
        "ips credentials",
        "ips credentials set shop --registry registry.example.com --username ci <password",
        "ips credentials set hub --registry docker.io --identity-token --secret-file token",
        "ips credentials delete shop",
    )
    parser.add_argument(
        "action",
        nargs="?",
        choices=ACTIONS,
        default="list",
        metavar="ACTION",
        help=", ".join(ACTIONS),
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a credential")
    group = parser.add_argument_group("what set stores")
    group.add_argument("--registry", metavar="HOST", help="the registry, as images name it")
    group.add_argument("--username", metavar="USER", help="the user whose password it is")
    group.add_argument(
        "--identity-token", action="store_true", dest="is_token", help="a token, of no user"
    )
    group.add_argument(
        "--secret-file",
        default="-",
        metavar="FILE",
        help="the file that holds password or token; - is standard input (-)",
    )
    output(parser, lists=True)
    connection(parser)
