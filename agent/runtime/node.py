"""What of the node shows without asking its runtime, and how a runtime's facts are put together."""

from __future__ import annotations

import os
import platform
import re

from agent.runtime.protocol import RuntimeFacts
from common.messages import ImageDisk

# From uname's names to OCI's, which are Go's GOARCH.
_ARCHITECTURES = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv7l": "arm",
    "armv6l": "arm",
    "i686": "386",
    "loongarch64": "loong64",
}
# What a processor also runs: containerd accepts these from an index, too (platforms.Only).
_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}

_NAME_LIMIT = 100
"""Characters of a runtime's name and version."""
_LARGEST_DISK = 2**53
"""Bytes; a file system in user space may claim anything."""
_BUILD_OF_VERSION = re.compile(r"[+~].*")


def node_platform() -> str:
    """Name this node's platform in OCI terms, ``linux/amd64``."""
    machine = platform.machine()
    return f"linux/{_ARCHITECTURES.get(machine, machine)}"


def runs_here(image_platform: str) -> bool:
    """Whether this node can run images of a platform, ``os/arch``."""
    system, _, architecture = node_platform().partition("/")
    runnable = (architecture, *_ALSO_RUNS.get(architecture, ()))
    return image_platform in {f"{system}/{name}" for name in runnable}


def runtime_facts(name: str, version: str, mountpoint: str) -> RuntimeFacts:
    """Put together what CRI says: ``containerd``, ``v2.1.9+build`` and the image file system.

    The version loses what a distribution or a build appends to it.
    """
    number = _BUILD_OF_VERSION.sub("", version.removeprefix("v"))
    shown = "".join(each for each in f"{name} {number}" if each.isprintable())[:_NAME_LIMIT]
    return RuntimeFacts(shown.strip(), node_platform(), _image_disk(mountpoint))


def _image_disk(mountpoint: str) -> ImageDisk | None:
    """Measure a file system; None where the runtime names none, or nothing sensible shows here.

    CRI tells only how much of it images use, not how much there is.
    """
    if not mountpoint:
        return None
    try:
        disk = os.statvfs(mountpoint)
    except (OSError, ValueError):  # a path may hold a NUL
        return None
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    if not 0 <= free <= total <= _LARGEST_DISK:
        return None
    return ImageDisk(free_bytes=free, total_bytes=total)
