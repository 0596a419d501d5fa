"""All that can be wrong with images and registries, arranged side by side for one node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from agent.runtime.protocol import Credentials
from common.reasons import Reason
from sandbox.certificates import self_signed
from sandbox.faults import Kind
from sandbox.images import assemble, make_garbage_layer, make_image, make_index, make_wrong_layer
from sandbox.registry import Registry
from tests.containerd.nodes import RealNode, repository_of

OTHER_PLATFORM = "linux/s390x"
PASSWORD = "correct-horse"


class Wrong(NamedTuple):
    """An image that cannot be pulled, and why."""

    name: str
    reason: Reason
    reference: str
    credentials: Credentials | None = None


@asynccontextmanager
async def arranged(node: RealNode, folder: Path) -> AsyncIterator[list[Wrong]]:
    """Put everything wrong into the node's registry, and into one that serves https."""
    certificate = self_signed(folder)
    async with Registry(tls=certificate.server_context()) as secure:
        yield [
            *_names(node),
            *_credentials(node),
            *_answers(node),
            *_images(node),
            *_ways(node, secure),
        ]


def _names(node: RealNode) -> Iterator[Wrong]:
    host = node.registry.host
    present = node.image()
    unknown_digest = f"{host}/{repository_of(present)}@sha256:{'0' * 64}"
    yield Wrong("unknown repository", Reason.IMAGE_NOT_FOUND, f"{host}/missing:1")
    yield Wrong("unknown tag", Reason.IMAGE_NOT_FOUND, f"{present}-missing")
    yield Wrong("unknown digest", Reason.IMAGE_NOT_FOUND, unknown_digest)
    yield Wrong("misleading name", Reason.IMAGE_NOT_FOUND, f"{host}/401/unauthorized/x509:503")
    for malformed in ("", "UPPER:1", "a b", "x@sha256:abc", "x:", ":1", "-x", 'x": not found'):
        yield Wrong(f"malformed {malformed!r}", Reason.INVALID_REFERENCE, malformed)
    md5 = f"{host}/x@md5:{'0' * 32}"
    yield Wrong("digest of another algorithm", Reason.INVALID_REFERENCE, md5)


def _credentials(node: RealNode) -> Iterator[Wrong]:
    reference = node.image()
    node.registry.protect(repository_of(reference), "me", PASSWORD)
    host = node.registry.host
    yield Wrong("no credentials", Reason.UNAUTHORIZED, reference)
    for name, credentials in {
        "wrong password": Credentials(host, "me", f"not {PASSWORD}"),
        "wrong user": Credentials(host, "you", PASSWORD),
    }.items():
        yield Wrong(name, Reason.UNAUTHORIZED, reference, credentials)


def _answers(node: RealNode) -> Iterator[Wrong]:
    for kind in Kind:
        for status, reason in {
            401: Reason.UNAUTHORIZED,
            403: Reason.UNAUTHORIZED,
            404: Reason.IMAGE_NOT_FOUND,
            429: Reason.RATE_LIMITED,
            500: Reason.REGISTRY_ERROR,
            503: Reason.REGISTRY_ERROR,
        }.items():
            reference = node.image()
            node.registry.faults(repository_of(reference)).refuse(kind, status)
            yield Wrong(f"{status} for {kind}", reason, reference)


def _images(node: RealNode) -> Iterator[Wrong]:
    single = make_image(platform=OTHER_PLATFORM)
    index = make_index(make_image(platform=OTHER_PLATFORM), make_image(platform="linux/riscv64"))
    yield Wrong("single manifest", Reason.PLATFORM_MISMATCH, node.put(single))
    yield Wrong("index", Reason.PLATFORM_MISMATCH, node.put(index))
    wrong = assemble([make_wrong_layer(1024, seed="wrong")])
    yield Wrong("wrong diff id", Reason.CORRUPT_IMAGE, node.put(wrong))
    garbage = assemble([make_garbage_layer(1024, seed="garbage")])
    yield Wrong("no tar", Reason.CORRUPT_IMAGE, node.put(garbage))
    corrupt = node.image()
    node.registry.faults(repository_of(corrupt)).corrupt = True
    yield Wrong("wrong bytes", Reason.CORRUPT_IMAGE, corrupt)


def _ways(node: RealNode, secure: Registry) -> Iterator[Wrong]:
    cut = node.image()
    node.registry.faults(repository_of(cut)).drop(after=0)  # one that gets on is resumed for ever
    yield Wrong("connection cut", Reason.REGISTRY_UNREACHABLE, cut)
    yield Wrong("nobody listens", Reason.REGISTRY_UNREACHABLE, "127.0.0.1:1/app:1")
    yield Wrong("no such host", Reason.REGISTRY_UNREACHABLE, "registry.invalid/app:1")
    node.containerd.route("plain.example", node.registry.url.replace("http:", "https:"))
    yield Wrong("https to plain http", Reason.TLS_ERROR, "plain.example/app:1")
    node.containerd.route("tls.example", secure.url.replace("https:", "http:"))
    # A registry written in Go would answer 400.
    yield Wrong("plain http to https", Reason.REGISTRY_UNREACHABLE, "tls.example/app:1")
    node.containerd.route("unknown.example", secure.url)
    yield Wrong("unknown CA", Reason.TLS_ERROR, "unknown.example/app:1")
