"""The driver ``cri``: speaks CRI v1 to the runtime's socket, as the kubelet and crictl do.

Where the runtime is a containerd, its own API on the same socket completes it: a pull is done under
a lease, so that it can be resumed, and its bytes are watched. Elsewhere those are absent.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.runtime.containerd import UNIMPLEMENTED, Containerd, under_lease
from agent.runtime.downloads import Download, Downloads
from agent.runtime.endpoint import ANSWER_SECONDS, CallFailed, Endpoint, Method
from agent.runtime.failures import classify, presentable
from agent.runtime.image_parts import bounded_digest, bounded_size
from agent.runtime.image_status import ImageStatus, VerboseInfo, canonical, pulled, runtime_config
from agent.runtime.leases import Leases
from agent.runtime.node import runtime_facts
from agent.runtime.proto import cri_pb2 as api
from agent.runtime.protocol import (
    PresentImage,
    PullFailed,
    RemovalFailed,
    RuntimeAway,
    StoredImage,
)
from common.image_reference import ImageReference, InvalidReference
from common.messages import NOT_DECODABLE
from common.reasons import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.runtime.protocol import Credentials, OnBytes, RuntimeFacts

_RUNTIME = "/runtime.v1.RuntimeService"
_IMAGE = "/runtime.v1.ImageService"
_VERSION = Method(f"{_RUNTIME}/Version", api.VersionRequest, api.VersionResponse)
_IMAGE_STATUS = Method(f"{_IMAGE}/ImageStatus", api.ImageStatusRequest, api.ImageStatusResponse)
_LIST_IMAGES = Method(f"{_IMAGE}/ListImages", api.ListImagesRequest, api.ListImagesResponse)
_REMOVE_IMAGE = Method(f"{_IMAGE}/RemoveImage", api.RemoveImageRequest, api.RemoveImageResponse)
_LIST_CONTAINERS = Method(
    f"{_RUNTIME}/ListContainers", api.ListContainersRequest, api.ListContainersResponse
)
_STATUS = Method(f"{_RUNTIME}/Status", api.StatusRequest, api.StatusResponse)
_PULL_IMAGE = Method(f"{_IMAGE}/PullImage", api.PullImageRequest, api.PullImageResponse)
_IMAGE_FS_INFO = Method(f"{_IMAGE}/ImageFsInfo", api.ImageFsInfoRequest, api.ImageFsInfoResponse)

# After these a retry resumes. After the others what is left is of no use, or is the very fault:
# wrong bytes that would be found again, or a disk that it fills.
_RESUMABLE = frozenset(
    {
        Reason.REGISTRY_UNREACHABLE,
        Reason.REGISTRY_ERROR,
        Reason.RATE_LIMITED,
        Reason.UNAUTHORIZED,  # the next credentials may do
        Reason.TIMEOUT,
        Reason.STALLED,
        Reason.RUNTIME_UNAVAILABLE,
    }
)


# Releases whose limit of downloads is an image's own.
_ORDERS_BY_IMAGE = re.compile(r"v?(?:1\.|2\.0(?!\d))")


class CriRuntime:
    """A container runtime at an endpoint ``unix:///path``; it need not be there yet.

    ``installation`` names the installation of this service, of which several may have an agent on
    the node; none ends what another has half pulled. ``progress_seconds`` is the time between two
    reports of bytes, ``answer_seconds`` how long the runtime may take for what needs no registry.
    Raises ValueError.
    """

    driver = "cri"

    def __init__(
        self,
        endpoint: str,
        *,
        installation: str = "ips",
        progress_seconds: float = 1.0,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._endpoint = Endpoint(endpoint, answer_seconds)
        self._containerd = Containerd(self._endpoint)
        self._leases = Leases(self._containerd, installation)
        self._downloads = Downloads(self._containerd, self._leases, progress_seconds)

    @property
    def sees_bytes(self) -> bool:
        """Whether the runtime is a containerd, as far as it has answered yet."""
        return self._leases.available

    @property
    def resumes(self) -> bool:
        """Whether the runtime is a containerd, as far as it has answered yet."""
        return self._leases.available

    async def facts(self) -> RuntimeFacts:
        """Ask what the runtime is. Raises RuntimeAway, also for one that has no CRI."""
        try:
            version = await self._endpoint.call(_VERSION, api.VersionRequest())
            disks = await self._endpoint.call(_IMAGE_FS_INFO, api.ImageFsInfoRequest())
        except CallFailed as error:
            raise RuntimeAway(_why_no_cri(self._endpoint.url, error)) from error
        await self._leases.probe()
        self._downloads.slots.of_node = not _ORDERS_BY_IMAGE.match(version.runtime_version)
        mountpoints = [disk.fs_id.mountpoint for disk in disks.image_filesystems]
        return runtime_facts(
            version.runtime_name, version.runtime_version, next(iter(mountpoints), "")
        )

    async def find(self, reference: str) -> PresentImage | None:
        """Look an image up on the node; see the protocol."""
        with _explained(reference):
            status = await self._status(reference)
            if status is None or not status.runs_here:
                return None
            return PresentImage(await self._digest(reference, status), status.size)

    async def list_images(self) -> Sequence[StoredImage]:
        """Ask for every image on the node; see the protocol."""
        try:
            reply = await self._endpoint.call(_LIST_IMAGES, api.ListImagesRequest())
        except CallFailed as error:
            raise RuntimeAway(_why_no_cri(self._endpoint.url, error)) from error
        return [_stored(image) for image in reply.images]

    async def used_images(self) -> frozenset[str]:
        """Ask for every container, and for the sandboxes' image; see the protocol.

        containerd 1.6 tells of no image that it is pinned, the sandboxes' one included.
        """
        try:
            status = await self._endpoint.call(_STATUS, api.StatusRequest(verbose=True))
            reply = await self._endpoint.call(_LIST_CONTAINERS, api.ListContainersRequest())
        except CallFailed as error:
            raise RuntimeAway(_why_no_cri(self._endpoint.url, error)) from error
        sandbox_image = runtime_config(status.info.get("config", "")).sandbox_image
        names = {sandbox_image, canonical(sandbox_image)}
        for container in reply.containers:
            names |= {container.image.image, container.image_ref, container.image_id}
        return frozenset(names - {""})

    async def remove_image(self, image_id: str) -> None:
        """Remove an image; see the protocol."""
        request = api.RemoveImageRequest(image=api.ImageSpec(image=image_id))
        try:
            await self._endpoint.call(_REMOVE_IMAGE, request)
        except CallFailed as error:
            raise RemovalFailed(presentable(error.text)) from error

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Hear of images where the runtime is a containerd; see the protocol."""
        try:
            await self._containerd.watch_images(on_change)
        except CallFailed as error:
            if error.code == UNIMPLEMENTED:
                return
            raise RuntimeAway(_why_no_cri(self._endpoint.url, error)) from error
        raise RuntimeAway(f"the container runtime at {self._endpoint.url} tells no more of images")

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,
        keep_seconds: float,
        on_bytes: OnBytes,
    ) -> PresentImage:
        """Pull an image; see the protocol."""
        try:
            with _explained(reference):
                lease = await self._leases.take(resume_key, keep_seconds)
                await self._download(_request(reference, credentials), lease, on_bytes)
                image = await self._judge(reference)
        except PullFailed as failure:
            if failure.reason not in _RESUMABLE:
                await self._leases.drop(resume_key)
            raise
        # From here on the image itself keeps its blobs; a lease would keep them from the kubelet.
        await self._leases.drop(resume_key)
        return image

    async def forget(self, resume_key: str) -> None:
        """End the key's lease."""
        await self._leases.drop(resume_key)

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """End all leases of this installation whose key is not to be kept. Raises RuntimeAway."""
        await self._leases.sweep(keep)

    async def close(self) -> None:
        """Close the connection."""
        self._endpoint.close()

    async def _download(
        self, request: api.PullImageRequest, lease: str | None, on_bytes: OnBytes
    ) -> None:
        if lease is None:
            await self._endpoint.call(_PULL_IMAGE, request, patient=True)
            return
        download = Download()
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._downloads.watch(download, lease, on_bytes))
            failure = await self._failure_of_pull(request, under_lease(lease))
            watch.cancel()
        if failure is not None:
            raise failure
        if (everything := download.all_bytes) is not None:
            on_bytes(everything)

    async def _failure_of_pull(
        self, request: api.PullImageRequest, metadata: Mapping[str, str]
    ) -> CallFailed | RuntimeAway | None:
        """Pull, and return what is raised: from within a task group it would come as a group."""
        try:
            await self._endpoint.call(_PULL_IMAGE, request, metadata=metadata, patient=True)
        except (CallFailed, RuntimeAway) as failure:
            return failure
        return None

    async def _judge(self, reference: str) -> PresentImage:
        status = await self._status(reference)
        digest = await self._digest(reference, status) if status else None
        return pulled(reference, status, digest)

    async def _status(self, reference: str) -> ImageStatus | None:
        """Ask for an image; None if it is not there, or is no name for an image at all."""
        request = api.ImageStatusRequest(image=api.ImageSpec(image=reference), verbose=True)
        reply = await self._endpoint.call(_IMAGE_STATUS, request)
        if not reply.image.id:
            return None
        digests = tuple(reply.image.repo_digests)
        size = bounded_size(reply.image.size) or None
        info = _verbose(reply.info.get("info", ""))
        return ImageStatus(digests, size, info.platform, info.is_artifact)

    async def _digest(self, reference: str, status: ImageStatus) -> str | None:
        digest = status.digest_of(reference)
        if digest is not None:
            return digest
        try:
            return bounded_digest(await self._containerd.image_digest(reference))
        except CallFailed:  # no containerd, or not its record's name
            return None


def _stored(image: api.Image) -> StoredImage:
    return StoredImage(
        image.id,
        tuple(image.repo_tags),
        tuple(image.repo_digests),
        bounded_size(image.size) or None,
        image.pinned,
    )


@contextmanager
def _explained(reference: str) -> Iterator[None]:
    """Turn what a runtime's call raises into PullFailed."""
    try:
        yield
    except CallFailed as error:
        raise classify(error.code, error.text, reference) from error
    except RuntimeAway as error:
        raise PullFailed(Reason.RUNTIME_UNAVAILABLE, str(error)) from error


def _why_no_cri(url: str, error: CallFailed) -> str:
    if error.code == UNIMPLEMENTED:
        return f"what answers at {url} has no CRI v1 (in a containerd, is its cri plugin disabled?)"
    return f"the container runtime at {url} does not work: {presentable(str(error))}"


def _verbose(info: str) -> VerboseInfo:
    try:
        return msgspec.json.decode(info, type=VerboseInfo)
    except NOT_DECODABLE:
        return VerboseInfo()


def _request(reference: str, credentials: Credentials | None) -> api.PullImageRequest:
    """Make the call as the kubelet does: without a server address.

    With one, a name that hosts.toml leads elsewhere could never be pulled with credentials, as the
    runtime compares the address with the host that it really asks.
    """
    request = api.PullImageRequest(image=api.ImageSpec(image=reference))
    if credentials is not None and credentials.registry == _registry_of(reference):
        request.auth.username = credentials.username
        request.auth.password = credentials.password
        request.auth.identity_token = credentials.identity_token
        request.auth.registry_token = credentials.registry_token
    return request


def _registry_of(reference: str) -> str:
    try:
        return ImageReference.parse(reference).registry
    except InvalidReference:
        return ""
