"""All that can be wrong with images and registries, arranged side by side for one node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from agent.runtime.protocol import Credentials
from common.reasons import Reason
from sandbox.answers import Hit
from sandbox.certificates import self_signed
from sandbox.faults import Kind
from sandbox.images import (
    MANIFEST,
    assemble,
    make_artifact,
    make_garbage_layer,
    make_image,
    make_index,
    make_wrong_layer,
    resized,
)
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
    async with Registry(tls=certificate.server_context()) as secure, Registry() as store:
        yield [
            *_names(node),
            *_credentials(node),
            *_answers(node),
            *_images(node),
            *_ways(node, secure),
            *_unusable(node),
            *_odd_answers(node, store),
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


def _unusable(node: RealNode) -> Iterator[Wrong]:
    chart = node.put(make_artifact(seed="chart"))
    yield Wrong("artifact", Reason.UNSUPPORTED_IMAGE, chart)
    image = make_image(1024, seed="wrong size")
    smaller = node.put(resized(image, image.blobs[-1].size - 7))
    yield Wrong("size too small", Reason.CORRUPT_IMAGE, smaller)
    negative = node.put(resized(make_image(1024, seed="negative"), -5))
    yield Wrong("size below nothing", Reason.CORRUPT_IMAGE, negative)
    absurd = node.put(resized(make_image(1024, seed="absurd"), 2**63 - 1))
    yield Wrong("size beyond all", Reason.REGISTRY_UNREACHABLE, absurd)  # it never ends


def _odd_answers(node: RealNode, elsewhere: Registry) -> Iterator[Wrong]:
    """What proxies, static servers and stores of blobs answer in a registry's place."""
    for name, kind, answer, reason in (
        ("login page", Kind.MANIFEST, _page, Reason.REGISTRY_ERROR),
        ("nothing", Kind.MANIFEST, _nothing, Reason.REGISTRY_ERROR),
        ("rubbish", Kind.MANIFEST, _rubbish, Reason.REGISTRY_ERROR),
        ("expired address", Kind.BLOB, _expired(elsewhere), Reason.REGISTRY_ERROR),
    ):
        reference = node.image()
        node.registry.faults(repository_of(reference)).instead = _only(kind, answer)
        yield Wrong(name, reason, reference)
    image = make_image(1024, seed="plain text")
    plain = node.put(image)
    node.registry.faults(repository_of(plain)).instead = _only(
        Kind.MANIFEST,
        lambda _: web.Response(body=image.manifest.content, content_type="text/plain"),
    )
    yield Wrong("manifest as plain text", Reason.UNSUPPORTED_IMAGE, plain)


_Answer = Callable[[Hit], web.Response]


def _only(kind: Kind, answer: _Answer) -> Callable[..., Awaitable[web.Response | None]]:
    async def instead(_: web.Request, hit: Hit) -> web.Response | None:
        return answer(hit) if hit.kind is kind else None

    return instead


def _page(_: Hit) -> web.Response:
    return web.Response(text="<html>Sign in to the network</html>", content_type="text/html")


def _nothing(_: Hit) -> web.Response:
    return web.Response(body=b"", content_type=MANIFEST)


def _rubbish(_: Hit) -> web.Response:
    return web.Response(body=b"{", content_type=MANIFEST)


def _expired(elsewhere: Registry) -> _Answer:
    """Redirect to a signed address of another host, which has expired: 403 without words."""
    elsewhere.faults("store").instead = _only(
        Kind.BLOB,
        lambda _: web.Response(status=403, text="<Error>", content_type="application/xml"),
    )

    def redirect(hit: Hit) -> web.Response:
        address = f"{elsewhere.url}/v2/store/blobs/{hit.reference}?X-Amz-Signature=s3cret"
        return web.Response(status=307, headers={"Location": address})

    return redirect


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
