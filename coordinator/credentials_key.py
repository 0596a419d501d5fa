"""``python -m coordinator credentials-key FILE``: what stored credentials are sealed with.

A key is made where there is none; what is there is looked at and stays. It is never printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from coordinator.credentials.key_file import new_secretbox_key, read_secretbox_keys
from coordinator.data_dir import write_once


def credentials_key(given: Sequence[str]) -> int:
    """Read the command line, make the key, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m coordinator credentials-key",
        description="Makes the key that stored credentials are sealed with, for "
        "IPS_CREDENTIALS_KEY_FILE. Every coordinator needs the same one.",
    )
    parser.add_argument("file", type=Path, help="where the key is, or is to be")
    file: Path = parser.parse_args(given).file
    try:
        write_once(file, f"{new_secretbox_key()}\n")
        read_secretbox_keys(file.read_text(encoding="ascii"))
    except (OSError, ValueError) as why:
        sys.stderr.write(f"{file}: {why}\n")
        return 1
    return 0
