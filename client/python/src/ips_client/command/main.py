"""The entry. Everything else is imported when it is needed: scripts start this again and again."""

from __future__ import annotations

import sys

from ips_client.version import __version__


def main() -> int:
    """Run ``ips`` with the arguments of this process; its exit code."""
    if sys.argv[1:] == ["--version"]:
        sys.stdout.write(f"ips {__version__}\n")
        return 0
    from ips_client.command.program import run  # noqa: PLC0415 -- see above

    return run(sys.argv[1:])
