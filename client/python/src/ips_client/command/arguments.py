"""The command line: commands, options and their help."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

from ips_client.command.durations import duration
from ips_client.version import __version__

Handler = Callable[[argparse.Namespace], int]

_ABOUT: Final = """\
Pull container images onto nodes before they are needed.

commands:
  run         create a task from images, lists and Kubernetes manifests
  wait        watch tasks until they are over
  ls          list tasks
  show        show a task, its nodes or its failures
  cancel      cancel tasks
  retry       do a finished task again for the nodes that failed
  nodes       list the nodes
  events      follow what happens, one line an event
  audit       list who changed what, and who was refused
  completion  print a completion script for bash, zsh or fish
"""
_END: Final = """\
examples:
  ips run nginx:1.27 redis:7 -l workload=compute --wait
  helm template ./shop | ips run -f - --wait --timeout 15m
  ips show $(ips ls -o name --limit 1) --failed

exit codes:
  0 completed   1 failed   2 wrong use   3 cancelled   4 time limit
  5 the server was not reached or its answer is broken   130 Ctrl-C

The server is --server, or IPS_SERVER, or http://localhost:8080; the token --token, or
IPS_TOKEN, or what the file IPS_TOKEN_FILE holds. HTTPS_PROXY, HTTP_PROXY, NO_PROXY,
SSL_CERT_FILE and SSL_CERT_DIR mean what they mean elsewhere.
`ips COMMAND --help` tells more about a command.
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line. Ends the program with 2 where it is wrong, with 0 after help."""
    parser = _parser()
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help()
        parser.exit(0)
    arguments.server = arguments.server or os.environ.get("IPS_SERVER") or None
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ips",
        description=_ABOUT,
        epilog=_END,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="ips COMMAND [option …]",
    )
    parser.add_argument("--version", action="version", version=f"ips {__version__}")
    _access(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for add in (_run, _wait, _ls, _show, _cancel, _retry, _nodes, _events, _audit, _completion):
        add(commands)
    commands.choices["completion"].set_defaults(root=parser, commands=commands)
    return parser


def _command(
    commands: Any, name: str, home: str, usage: str, about: str, *examples: str
) -> argparse.ArgumentParser:
    """Add a command that ``ips_client.command.<home>`` carries out by a function of its name."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        prog=f"ips {name}",
        help=about.partition(".")[0].replace("\n", " "),
        usage=f"ips {name} {usage}",
        description=about,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=partial(_handler, home, name))
    return parser


def _handler(home: str, name: str) -> Handler:
    handler: Handler = getattr(import_module(f"ips_client.command.{home}"), name)
    return handler


def _connection(parser: Any) -> None:
    group = parser.add_argument_group("connection")
    _access(group, default=argparse.SUPPRESS)
    group.add_argument(
        "--patience",
        metavar="TIME",
        type=duration,
        help="how long to keep trying while the server is away "
        "(default 10s; 5m while waiting for a task or following events)",
    )


def _access(parser: Any, default: str | None) -> None:
    """The options that may stand before and after the command."""
    words = {
        "--server": ("URL", "where the service is"),
        "--token": ("TOKEN", "who asks (others on this machine can see it: better IPS_TOKEN_FILE)"),
        "--ca": ("FILE", "certificates of the authorities to trust, in place of the system's"),
        "--cert": ("FILE", "certificate to show, with its key or with --key"),
        "--key": ("FILE", "key of --cert"),
    }
    for name, (value, about) in words.items():
        parser.add_argument(name, metavar=value, default=default, help=about)
    parser.add_argument(
        "--insecure",
        action="store_true",
        default=default or False,
        help="trust whoever answers: for trials alone",
    )


def _output(parser: Any) -> None:
    parser.add_argument(
        "-o",
        "--output",
        metavar="FORM",
        choices=("table", "json", "yaml", "name"),
        default="table",
        help="table (default), json (the service's own document), yaml, or name (ids only)",
    )


def _limit(parser: Any) -> None:
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        help="stop waiting after so long, exit code 4; what is waited for goes on",
    )


def _run(commands: Any) -> None:
    parser = _command(
        commands,
        "run",
        "run",
        "[IMAGE …] [-f FILE …] [option …]",
        "Create a task that pulls images onto nodes. Images are taken from the command line\n"
        "and from files: plain lists, one image a line, or Kubernetes manifests of any kinds.\n"
        "More than 50 images become several tasks, waited for as one.",
        "ips run nginx:1.27 redis:7",
        "ips run -f images.txt -l 'workload=compute,zone in (a,b)' --retries 3 --wait",
        "helm template ./shop | ips run -f - --wait --timeout 15m",
        "ips run -f deploy.yaml --dry-run",
    )
    parser.add_argument("images", nargs="*", metavar="IMAGE", help="an image reference")
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        dest="files",
        metavar="FILE",
        help="a file that names images; - is standard input; may be given several times",
    )
    _where(parser.add_argument_group("which nodes"))
    _how(parser.add_argument_group("how to pull"))
    _failures(parser.add_argument_group("failures"))
    parser.add_argument("--wait", action="store_true", help="watch until it is over")
    _limit(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be sent, and how many nodes match, and send nothing",
    )
    _output(parser)
    _connection(parser)


def _where(group: Any) -> None:
    group.add_argument(
        "-l",
        "--selector",
        action="append",
        default=[],
        metavar="SELECTOR",
        help="labels as kubectl takes them: a=b,c!=d,'e in (f,g)',h,!i; all must hold",
    )
    group.add_argument(
        "--node",
        action="append",
        default=[],
        dest="nodes",
        metavar="NAME",
        help="only this node; may be given several times, or with commas",
    )


def _how(group: Any) -> None:
    group.add_argument("--batch-size", type=int, metavar="N", help="nodes in a batch (10)")
    group.add_argument(
        "--rolling",
        action="store_true",
        help="start the next node as soon as one is done, not batch by batch",
    )
    group.add_argument("--priority", type=int, metavar="N", help="1 to 10, 10 the most urgent (5)")
    group.add_argument(
        "--pull",
        choices=("if-not-present", "always"),
        help="whether an image that is there is pulled again (if-not-present)",
    )
    group.add_argument(
        "--pull-timeout", type=duration, metavar="TIME", help="for an image in one attempt (30m)"
    )
    group.add_argument("--webhook", metavar="URL", help="http or https; told when the task is over")
    group.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="run the same command twice with one key, and it is one task",
    )


def _failures(group: Any) -> None:
    group.add_argument("--retries", type=int, metavar="N", help="retries of each node (0)")
    group.add_argument(
        "--retry-strategy", choices=("linear", "exponential"), help="how the delay grows (linear)"
    )
    group.add_argument("--retry-delay", type=duration, metavar="TIME", help="before a retry (30s)")
    group.add_argument(
        "--max-failed",
        metavar="N|N%",
        help="the task completes with up to so many failed nodes (0)",
    )


def _wait(commands: Any) -> None:
    parser = _command(
        commands,
        "wait",
        "waiting",
        "ID … [option …]",
        "Watch tasks until all are over. On a terminal there are bars; a log gets a plain line\n"
        "at most every few seconds. Ctrl-C stops the watching, not the tasks. The exit code is\n"
        "the worst of all: 5, 4, 2, 1, 3, 0 in this order.",
        "ips wait task-20260116-151234-a1b2c3d4",
        "ips wait --timeout 10m $(ips ls --status running -o name)",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="a task")
    _limit(parser)
    _output(parser)
    _connection(parser)


def _ls(commands: Any) -> None:
    parser = _command(
        commands,
        "ls",
        "tasks",
        "[option …]",
        "List tasks, newest first.",
        "ips ls",
        "ips ls --status failed --limit 5",
        "ips ls --all -o json | jq '.tasks[].taskId'",
    )
    statuses = ("pending", "running", "completed", "failed", "cancelled")
    parser.add_argument("--status", choices=statuses, help="only tasks that are so")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="at most so many (20)")
    parser.add_argument("--all", action="store_true", help="all there are")
    _output(parser)
    _connection(parser)


def _show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        "tasks",
        "ID [--nodes | --failed] [option …]",
        "Show one task, or its nodes.",
        "ips show task-20260116-151234-a1b2c3d4",
        "ips show task-20260116-151234-a1b2c3d4 --nodes",
        "ips show task-20260116-151234-a1b2c3d4 --failed -o json",
    )
    parser.add_argument("id", metavar="ID", help="a task")
    parser.add_argument("--nodes", action="store_true", help="its nodes, with their images")
    parser.add_argument("--failed", action="store_true", help="its failed nodes, with the reasons")
    _output(parser)
    _connection(parser)


def _cancel(commands: Any) -> None:
    parser = _command(
        commands,
        "cancel",
        "tasks",
        "ID … [option …]",
        "Cancel pending or running tasks. Images already pulled stay.",
        "ips cancel task-20260116-151234-a1b2c3d4",
        "ips cancel $(ips ls --status pending -o name)",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="a task")
    _output(parser)
    _connection(parser)


def _retry(commands: Any) -> None:
    parser = _command(
        commands,
        "retry",
        "tasks",
        "ID [--all] [option …]",
        "Make a new task of a finished one, for the nodes that failed.",
        "ips retry task-20260116-151234-a1b2c3d4 --wait",
        "ips retry task-20260116-151234-a1b2c3d4 --all",
    )
    parser.add_argument("id", metavar="ID", help="a task that is over")
    parser.add_argument("--all", action="store_true", help="for all nodes that it selects")
    parser.add_argument("--wait", action="store_true", help="watch until it is over")
    _limit(parser)
    _output(parser)
    _connection(parser)


def _nodes(commands: Any) -> None:
    parser = _command(
        commands,
        "nodes",
        "nodes",
        "[-l SELECTOR] [option …]",
        "List the nodes that images can be pulled to.",
        "ips nodes",
        "ips nodes -l workload=compute,zone!=b",
        "ips nodes -o name",
    )
    parser.add_argument(
        "-l", "--selector", default="", metavar="SELECTOR", help="labels as kubectl takes them"
    )
    _output(parser)
    _connection(parser)


def _events(commands: Any) -> None:
    parser = _command(
        commands,
        "events",
        "events",
        "[ID] [option …]",
        "Follow what happens, one line an event: of one task from its beginning until it is\n"
        "over, of all from now on until Ctrl-C.",
        "ips events",
        "ips events task-20260116-151234-a1b2c3d4",
        "ips events -o json | jq -r 'select(.type == \"node.failed\").data.nodeName'",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="a task")
    parser.add_argument(
        "--after", metavar="POSITION", help="go on after an earlier event's position"
    )
    _output(parser)
    _connection(parser)


def _audit(commands: Any) -> None:
    parser = _command(
        commands,
        "audit",
        "audit",
        "[--user NAME] [--since TIME] [option …]",
        "List who changed what, and who was refused, the newest first.",
        "ips audit --user ann --since 24h",
    )
    parser.add_argument("--user", metavar="NAME", help="only what this user did")
    parser.add_argument(
        "--since", metavar="TIME", type=duration, help="only of the last 24h, 10m …"
    )
    parser.add_argument("--limit", metavar="N", type=int, help="at most so many (100)")
    _output(parser)
    _connection(parser)


def _completion(commands: Any) -> None:
    parser = _command(
        commands,
        "completion",
        "completion",
        "bash|zsh|fish",
        "Print a completion script.",
        "source <(ips completion bash)",
        "ips completion zsh > ~/.zfunc/_ips",
        "ips completion fish > ~/.config/fish/completions/ips.fish",
    )
    parser.add_argument("shell", choices=("bash", "zsh", "fish"))
