"""``python -m coordinator hash-token NAME [GROUP,GROUP]``: makes a token and its line of the file.

The line goes to stdout, to be appended to the file; the token goes to stderr, and nowhere else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from coordinator.access.token_file import line, new_token


def hash_token(given: Sequence[str]) -> int:
    """Read the command line, make both, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m coordinator hash-token",
        description="Makes a token: its line for IPS_AUTH_TOKENS on stdout, itself on stderr.",
    )
    parser.add_argument("name", help="who holds it")
    parser.add_argument("groups", nargs="?", default="", help="their groups, commas between")
    parser.add_argument(
        "--stdin", action="store_true", help="take the token from stdin instead of making one"
    )
    asked = parser.parse_args(given)
    token = sys.stdin.readline().strip() if asked.stdin else new_token()
    groups = tuple(asked.groups.split(",")) if asked.groups else ()
    try:
        made = line(token, asked.name, groups)
    except ValueError as why:
        parser.error(str(why))
    sys.stdout.write(f"{made}\n")
    if not asked.stdin:
        sys.stderr.write(f"{token}\n")
    return 0
