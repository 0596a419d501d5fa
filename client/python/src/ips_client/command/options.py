"""Options that several commands have, or that belong together."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from ips_client.command.durations import duration


class _Listed(tuple[str, ...]):
    """Words to complete with, of which a list has been checked already."""

    __slots__ = ()

    def __contains__(self, _: object) -> bool:
        return True


_FORMS: Final = ("table", "wide", "csv", "json", "yaml", "name", "jsonpath=")
STATUSES: Final = _Listed(("pending", "running", "completed", "failed", "cancelled"))


def connection(parser: Any) -> None:
    """How the server is reached."""
    access(parser.add_argument_group("connection"), default=argparse.SUPPRESS)


def access(parser: Any, default: str | None) -> None:
    """The options that may stand before and after the command."""
    words = {
        "--server": ("URL", "where the service is"),
        "--context": ("NAME", "a context of `ips config`, in place of --server and credentials"),
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
    parser.add_argument(
        "--patience",
        metavar="TIME",
        type=duration,
        default=default,
        help="how long to keep trying while the server is away "
        "(default 10s; 5m while waiting for a task or a set or following events)",
    )


def _form(text: str, forms: Sequence[str] = _FORMS) -> str:
    """Read a form; what is wrong with it is said before anything is sent.

    Raises ArgumentTypeError.
    """
    if text.startswith("jsonpath="):
        from ips_client.command.jsonpath import parsed  # noqa: PLC0415 -- few ask for it

        try:
            parsed(text.removeprefix("jsonpath="))
        except ValueError as why:
            raise argparse.ArgumentTypeError(str(why)) from None
    elif text == "csv" and text not in forms:
        raise argparse.ArgumentTypeError("csv is for lists, and this command has none")
    elif text not in forms:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(forms)}")
    return text


def output(parser: Any, *, lists: bool = False) -> None:
    """In which form data is shown; what ``lists`` something has one form more."""
    forms = tuple(each for each in _FORMS if lists or each != "csv")
    csv = "csv, " if lists else ""
    parser.add_argument(
        "-o",
        "--output",
        metavar="FORMAT",
        type=partial(_form, forms=forms),
        choices=_Listed(forms),
        default="table",
        help=f"table (default), wide (nothing cut), {csv}json (the service's own document), yaml, "
        "name (ids only), or jsonpath={.tasks[*].taskId}",
    )


def watched(parser: Any) -> None:
    """Whether it is shown again and again."""
    parser.add_argument(
        "-w", "--watch", action="store_true", help="show it again whenever it changes"
    )


def limit(parser: Any) -> None:
    """How long is waited."""
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        help="give up waiting after TIME, exit code 4; the task keeps running",
    )


def where(group: Any) -> None:
    """Which nodes a task is for."""
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


def how(group: Any) -> None:
    """How a task pulls."""
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
        help="image pull policy (if-not-present)",
    )
    group.add_argument(
        "--pull-timeout",
        type=duration,
        metavar="TIME",
        help="pull timeout per image and attempt (30m)",
    )
    group.add_argument(
        "--credential",
        action="append",
        default=[],
        dest="credentials",
        metavar="NAME",
        help="stored credential for the images' registries; may be given several times",
    )
    group.add_argument(
        "--pull-secret",
        action="append",
        default=[],
        dest="pull_secrets",
        metavar="NAMESPACE/NAME",
        help="Secret of Kubernetes for the images' registries; may be given several times",
    )
    group.add_argument("--webhook", metavar="URL", help="http or https; told when the task is over")
    group.add_argument(
        "--idempotency-key",
        metavar="KEY",
        help="run the same command twice with one key, and it is one task",
    )


def failures(group: Any) -> None:
    """What a task does where something fails."""
    group.add_argument("--retries", type=int, metavar="N", help="retries of each node (0)")
    group.add_argument(
        "--retry-strategy", choices=("linear", "exponential"), help="how the delay grows (linear)"
    )
    group.add_argument("--retry-delay", type=duration, metavar="TIME", help="before a retry (30s)")
    group.add_argument(
        "--max-failed",
        metavar="N|N%",
        help="maximum number or percentage of failed nodes; above it the task fails (0)",
    )


def statuses(text: str) -> list[str]:
    """Read statuses with commas between. Raises ArgumentTypeError."""
    wanted = [each.strip() for each in text.split(",") if each.strip()]
    for strange in set(wanted).difference(STATUSES):
        raise argparse.ArgumentTypeError(f"{strange!r} is none of {', '.join(STATUSES)}")
    return wanted
