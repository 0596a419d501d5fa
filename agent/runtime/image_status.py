"""What a CRI runtime says of an image on the node, and what that means here.

Both drivers get the same answer in two forms, protobuf and crictl's JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from agent.runtime.image_parts import bounded_digest
from agent.runtime.node import node_platform, runs_here
from agent.runtime.protocol import PresentImage, PullFailed
from common.image_reference import ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.reasons import Reason

_NAME = re.compile(r"(?P<repository>[^@]+?)(?::[^:/@]+)?(?:@(?P<digest>.+))?")


class RootFs(msgspec.Struct):
    """The part of an image's config that names its layers."""

    type: str = ""


class ImageConfig(msgspec.Struct):
    """The part of an image's config that says for what it was built."""

    os: str = ""
    architecture: str = ""
    rootfs: RootFs = msgspec.field(default_factory=RootFs)


class VerboseInfo(msgspec.Struct, rename="camel"):
    """What containerd and CRI-O add to a verbose ImageStatus: JSON under the key ``info``."""

    image_spec: ImageConfig | None = None

    @property
    def platform(self) -> str:
        """``os/arch``, or empty where the config does not say."""
        spec = self.image_spec or ImageConfig()
        return f"{spec.os}/{spec.architecture}" if spec.os and spec.architecture else ""

    @property
    def is_artifact(self) -> bool:
        """Whether the config is no image's: containerd 1.7 and later take any, of a chart too."""
        spec = self.image_spec
        return spec is not None and not (spec.os or spec.architecture or spec.rootfs.type)


class RuntimeConfig(msgspec.Struct, rename="camel"):
    """What containerd adds to a verbose Status: its CRI configuration, JSON under ``config``."""

    sandbox_image: str = ""
    """Up to 1.7; later ones pin that image themselves, as 1.7 does, too."""


def runtime_config(config: str) -> RuntimeConfig:
    """Read it; nothing is known where there is none."""
    try:
        return msgspec.json.decode(config, type=RuntimeConfig)
    except NOT_DECODABLE:
        return RuntimeConfig()


def canonical(name: str) -> str:
    """An image's name as runtimes list it; empty for what is none."""
    try:
        return ImageReference.parse(name).runtime_form
    except InvalidReference:
        return ""


@dataclass(frozen=True, slots=True)
class ImageStatus:
    """One image of a runtime's store."""

    digests: tuple[str, ...]
    """``repository@sha256:…`` of all manifests and indexes that it is known by."""
    size: int | None
    """Compressed bytes of blobs and manifests."""
    platform: str = ""
    """``os/arch`` of its config; empty where the runtime or the config does not say."""
    is_artifact: bool = False

    @property
    def runs_here(self) -> bool:
        """Whether this node can run it; an image that does not say for what it is, can."""
        return not self.is_artifact and (not self.platform or runs_here(self.platform))

    def digest_of(self, reference: str) -> str | None:
        """Tell what a reference to this image names; None where that is not certain.

        One image can have several digests in one repository: an index that was published again for
        another platform's sake.
        """
        name = _NAME.fullmatch(reference)
        if name is None or name["digest"]:
            return name and name["digest"]
        head = f"{name['repository']}@"
        found = {digest.removeprefix(head) for digest in self.digests if digest.startswith(head)}
        return bounded_digest(found.pop()) if len(found) == 1 else None


def pulled(reference: str, status: ImageStatus | None, digest: str | None) -> PresentImage:
    """Judge what a pull has brought. Raises PullFailed.

    A reference to a single manifest is pulled whatever its platform, without an error; only an
    index without the node's platform is refused by the runtime itself. So are, by some runtimes,
    artifacts.
    """
    if status is None:
        raise PullFailed(Reason.UNKNOWN, f"{reference} was pulled but is not there")
    if status.is_artifact:
        raise PullFailed(Reason.UNSUPPORTED_IMAGE, "what was pulled is an artifact, not an image")
    if not status.runs_here:
        text = f"the image is for {status.platform}, this node is {node_platform()}"
        raise PullFailed(Reason.PLATFORM_MISMATCH, text)
    return PresentImage(digest, status.size)
