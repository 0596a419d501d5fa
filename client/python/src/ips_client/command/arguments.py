"""The command line: commands, options and their help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from typing import Any, Final

from ips_client.command import (
    config_arguments,
    pause_arguments,
    place_arguments,
    purge_arguments,
    set_arguments,
)
from ips_client.command.durations import duration
from ips_client.command.options import (
    STATUSES,
    access,
    connection,
    failures,
    how,
    limit,
    output,
    statuses,
    watched,
    where,
)
from ips_client.version import __version__

Handler = Callable[[argparse.Namespace], int]

_ABOUT: Final = """\
Pull container images onto nodes before they are needed.

commands:
  run         create a task from images, lists and Kubernetes manifests
  wait        watch tasks until they are over, or sets until they are warm
  ls          list tasks
  show        show a task, its nodes or its failures
  cancel      cancel tasks
  pause       let no new node of running tasks begin
  resume      let paused tasks go on
  retry       re-run a finished task on its failed nodes
  nodes       list the nodes
  node        show a node: what is there now, and what tasks did there
  image       show where an image is, and what became of it
  images      list the images of tasks and warm sets
  sets        list the warm sets, or show one
  apply       create and replace warm sets from files
  refresh     look whether tags of warm sets have moved
  delete      delete warm sets
  purge       take images off nodes that nobody uses or wants there
  why         say what keeps a set, a node or an image from being warm
  events      stream events, one line each
  audit       list who changed what, and who was refused
  config      name servers with their credentials, and choose one
  completion  print a completion script for bash, zsh or fish
  help        show help, of a command where one is named
  version     print the version
"""
_END: Final = """\
examples:
  ips run nginx:1.27 redis:7 -l workload=compute --wait
  helm template ./shop | ips run -f - --wait --timeout 15m
  ips show $(ips ls --sort newest -o name --limit 1) --failed

exit codes:
  0 completed   1 failed   2 wrong use   3 cancelled   4 time limit
  5 the server was not reached or its answer is broken   130 Ctrl-C

The server is --server, or that of --context, or IPS_SERVER, or that of IPS_CONTEXT or of the
current context (ips config), or http://localhost:8080; the token --token, or with a context
that of its own file, else IPS_TOKEN, or what the file IPS_TOKEN_FILE holds.
HTTPS_PROXY, HTTP_PROXY, NO_PROXY, SSL_CERT_FILE and SSL_CERT_DIR mean what they mean elsewhere.
`ips COMMAND --help` tells more about a command.
"""


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read a command line. Ends the program with 2 where it is wrong, with 0 after help."""
    parser = _parser()
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        own = getattr(arguments, "parser", parser)
        own.error(f"unrecognized arguments: {' '.join(unknown)}")
    if arguments.command == "version":
        sys.stdout.write(f"ips {__version__}\n")
        parser.exit(0)
    if arguments.command in {None, "help"}:
        about = getattr(arguments, "about", None)
        parser.parse_args([about, "--help"]) if about else parser.print_help()
        parser.exit(0)
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
    access(parser, default=None)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    for add in (_run, _wait, _ls, _show, _cancel, _retry, _nodes, _events, _audit, _completion):
        add(commands)
    pause_arguments.add(commands, _command)
    config_arguments.add(commands, _command)
    place_arguments.add(commands, _command)
    purge_arguments.add(commands, _command)
    for add_of_sets in (
        set_arguments.sets,
        set_arguments.apply,
        set_arguments.refresh,
        set_arguments.delete,
        set_arguments.why,
    ):
        add_of_sets(partial(_command, commands))
    _help(commands)
    commands.choices["completion"].set_defaults(root=parser, commands=commands)
    return parser


def _command(
    commands: Any,
    name: str,
    home: str,
    usage: str,
    about: str,
    *examples: str,
    aliases: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Add a command that ``ips_client.command.<home>`` carries out by a function of its name."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        aliases=aliases,
        prog=f"ips {name}",
        help=about.partition(".")[0].replace("\n", " "),
        usage=f"ips {name} {usage}",
        description=about,
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=partial(_handler, home, name), parser=parser)
    return parser


def _handler(home: str, name: str) -> Handler:
    handler: Handler = getattr(import_module(f"ips_client.command.{home}"), name)
    return handler


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
    where(parser.add_argument_group("which nodes"))
    how(parser.add_argument_group("how to pull"))
    failures(parser.add_argument_group("failures"))
    parser.add_argument("--wait", action="store_true", help="watch until it is over")
    limit(parser)
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would be sent, and how many nodes match, and send nothing",
    )
    output(parser)
    connection(parser)


def _wait(commands: Any) -> None:
    parser = _command(
        commands,
        "wait",
        "waiting",
        "ID … [option …]",
        "Watch tasks until all are over, or sets (set/NAME) until they are warm. On a terminal\n"
        "there are bars for tasks; a log gets a plain line at most every few seconds. Ctrl-C\n"
        "stops the watching, not the tasks. The exit code is the worst of all: 5, 4, 2, 1, 3, 0\n"
        "in this order.",
        "ips wait task-20260116-151234-a1b2c3d4",
        "ips wait --timeout 10m $(ips ls --status running -o name)",
        "ips wait set/web --at-least 95% --timeout 10m",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="a task, or set/NAME")
    set_arguments.at_least(parser)
    limit(parser)
    output(parser)
    connection(parser)


def _ls(commands: Any) -> None:
    parser = _command(
        commands,
        "ls",
        "tasks",
        "[option …]",
        "List tasks: what runs, the queue in its order, then the rest, the newest first.",
        "ips ls",
        "ips ls --status failed,cancelled --since 24h",
        "ips ls --image redis --created-by ann@example.com",
        "ips ls --all -o json | jq '.tasks[].taskId'",
        aliases=("list", "get"),
    )
    parser.add_argument(
        "--status",
        type=statuses,
        choices=STATUSES,
        default=[],
        metavar="A,B",
        help="filter by status",
    )
    parser.add_argument(
        "--image", default="", metavar="IMAGE", help="tasks with this image; without a tag, any"
    )
    parser.add_argument(
        "-q", "--search", default="", metavar="TEXT", help="in ids, images, selectors and creators"
    )
    parser.add_argument("--node", default="", metavar="NAME", help="tasks that were on this node")
    parser.add_argument("--created-by", default="", metavar="USER", help="tasks of this user")
    parser.add_argument("--set", default="", metavar="SET", help="repairs of this warm set")
    parser.add_argument(
        "--since", type=duration, metavar="TIME", help="created in the last 24h, 10m …"
    )
    parser.add_argument("--until", type=duration, metavar="TIME", help="created before that")
    parser.add_argument(
        "--sort", choices=("queue", "newest"), default="queue", help="the order (queue)"
    )
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="maximum number of tasks (20)"
    )
    parser.add_argument("--all", action="store_true", help="no limit")
    watched(parser)
    output(parser, lists=True)
    connection(parser)


def _show(commands: Any) -> None:
    parser = _command(
        commands,
        "show",
        "tasks",
        "ID [--nodes | --failed] [option …]",
        "Show one task, or its nodes.",
        "ips show task-20260116-151234-a1b2c3d4",
        "ips show task-20260116-151234-a1b2c3d4 --nodes",
        "ips show a1b2c3d4 --failed -o json",
        aliases=("describe",),
    )
    parser.add_argument("id", metavar="ID", help="a task")
    parser.add_argument("--nodes", action="store_true", help="its nodes, with their images")
    parser.add_argument("--failed", action="store_true", help="its failed nodes, with the reasons")
    parser.add_argument("--all", action="store_true", help="every failure, not one for each reason")
    watched(parser)
    output(parser, lists=True)
    connection(parser)


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
    output(parser)
    connection(parser)


def _retry(commands: Any) -> None:
    parser = _command(
        commands,
        "retry",
        "tasks",
        "ID … [--all] [option …]",
        "Re-run finished tasks on their failed nodes, each as a new task.",
        "ips retry task-20260116-151234-a1b2c3d4 --wait",
        "ips retry task-20260116-151234-a1b2c3d4 --all",
    )
    parser.add_argument("ids", nargs="+", metavar="ID", help="a task that is over")
    parser.add_argument("--all", action="store_true", help="for all nodes that it selects")
    parser.add_argument("--again", action="store_true", help="also where that was done before")
    parser.add_argument("--wait", action="store_true", help="watch until it is over")
    limit(parser)
    output(parser)
    connection(parser)


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
    watched(parser)
    output(parser, lists=True)
    connection(parser)


def _events(commands: Any) -> None:
    parser = _command(
        commands,
        "events",
        "events",
        "[ID] [option …]",
        "Stream events, one line each: of one task from its beginning until it is\n"
        "over, of all from now on until Ctrl-C.",
        "ips events",
        "ips events task-20260116-151234-a1b2c3d4",
        "ips events -o json | jq -r 'select(.type == \"node.failed\").data.nodeName'",
    )
    parser.add_argument("id", nargs="?", metavar="ID", help="a task")
    parser.add_argument(
        "--after", metavar="POSITION", help="go on after an earlier event's position"
    )
    parser.add_argument("--sets", action="store_true", help="those of warm sets, too")
    output(parser)
    connection(parser)


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
    parser.add_argument("--limit", metavar="N", type=int, help="maximum number of entries (100)")
    output(parser, lists=True)
    connection(parser)


def _help(commands: Any) -> None:
    """``ips help [COMMAND]`` and ``ips version``."""
    parser = commands.add_parser("help", help="Show help", usage="ips help [COMMAND]")
    parser.add_argument("about", nargs="?", choices=sorted(commands.choices), metavar="COMMAND")
    commands.add_parser("version", help="Print the version", usage="ips version")


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
