"""containerd's own API on the socket that also speaks CRI: leases, content, image records.

Public and the same from containerd 1.6 to 2.1, but no runtime promises it over the CRI socket:
one that has none of it (CRI-O) answers each call with UNIMPLEMENTED. Every method here raises
CallFailed and RuntimeAway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.runtime.endpoint import CallFailed, Method
from agent.runtime.image_parts import bounded_size
from agent.runtime.proto import containerd_pb2 as api

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.runtime.endpoint import Endpoint, Request, Response

UNIMPLEMENTED = "UNIMPLEMENTED"
"""The code of a call that a runtime does not have."""
NOT_FOUND = "NOT_FOUND"
"""The code of a call for something that is not there."""
CONTENT = "content"
"""The type of those resources of a lease that are complete blobs; their id is the digest."""
INGESTS = "ingests"
"""The type of those that are unfinished blobs; their id is what the download is called."""
SNAPSHOTS = "snapshots/"
"""How the type of those begins that are layers, unpacked or about to be; their id ends in the chain
id of the layer."""

_NAMESPACE = {"containerd-namespace": "k8s.io"}
"""CRI's own; a call without one is refused."""

_CONTENT = "/containerd.services.content.v1.Content"
_IMAGES = "/containerd.services.images.v1.Images"
_LEASES = "/containerd.services.leases.v1.Leases"
_EVENTS = "/containerd.services.events.v1.Events"

_CREATE_LEASE = Method(f"{_LEASES}/Create", api.CreateRequest, api.CreateResponse)
_DELETE_LEASE = Method(f"{_LEASES}/Delete", api.DeleteRequest, api.Empty)
_LIST_LEASES = Method(f"{_LEASES}/List", api.ListRequest, api.ListResponse)
_ADD_RESOURCE = Method(f"{_LEASES}/AddResource", api.AddResourceRequest, api.Empty)
_DELETE_RESOURCE = Method(f"{_LEASES}/DeleteResource", api.DeleteResourceRequest, api.Empty)
_LIST_RESOURCES = Method(
    f"{_LEASES}/ListResources", api.ListResourcesRequest, api.ListResourcesResponse
)
_LIST_STATUSES = Method(
    f"{_CONTENT}/ListStatuses", api.ListStatusesRequest, api.ListStatusesResponse
)
_INFO = Method(f"{_CONTENT}/Info", api.InfoRequest, api.InfoResponse)
_READ = Method(f"{_CONTENT}/Read", api.ReadContentRequest, api.ReadContentResponse)
_SUBSCRIBE = Method(f"{_EVENTS}/Subscribe", api.SubscribeRequest, api.Envelope)
_LIST_IMAGES = Method(f"{_IMAGES}/List", api.ListImageRecordsRequest, api.ListImageRecordsResponse)
_UPDATE_IMAGE = Method(f"{_IMAGES}/Update", api.UpdateImageRequest, api.UpdateImageResponse)
_GET_IMAGE = Method(f"{_IMAGES}/Get", api.GetImageRequest, api.GetImageResponse)


def under_lease(lease: str) -> dict[str, str]:
    """Make the metadata with which a call's work is kept under a lease; PullImage takes it too."""
    return {"containerd-lease": lease}


@dataclass(frozen=True, slots=True)
class Lease:
    """What keeps blobs and half downloads from being collected while it exists."""

    id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One name of an image: a tag, a digest, or the image's id."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resource:
    """One thing that a lease keeps; ``type`` is ``content``, ``ingests`` or ``snapshots/…``."""

    id: str
    type: str


@dataclass(frozen=True, slots=True)
class Blob:
    """A complete blob of the content store."""

    digest: str
    size: int
    labels: Mapping[str, str]

    @property
    def is_manifest(self) -> bool:
        """Whether it names the parts of an image.

        containerd marks manifests and indexes for its garbage collector before it fetches what they
        name.
        """
        return "containerd.io/gc.ref.content.config" in self.labels

    @property
    def is_index(self) -> bool:
        """Whether it names the manifests of several platforms."""
        return any(label.startswith("containerd.io/gc.ref.content.m.") for label in self.labels)


@dataclass(frozen=True, slots=True)
class Ingest:
    """A blob that is not complete. containerd also lists what waits for its turn to be fetched."""

    name: str
    """``layer-sha256:…``, ``config-…``, ``manifest-…``, ``index-…``."""
    offset: int
    """Bytes that are here, counted about a MiB at a time."""
    size: int
    """Bytes that it is to have; 0 where that is not known."""
    started: float
    """When it was begun, in an earlier pull perhaps; seconds since 1970."""

    @property
    def digest(self) -> str:
        """What it will be."""
        return self.name.partition("-")[2]

    @property
    def lacks_bytes(self) -> bool:
        """Whether some have still to come; else it is being verified."""
        return not self.size or self.offset < self.size


class Containerd:
    """The few calls that are used, in plain types."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    async def create_lease(self, name: str, labels: Mapping[str, str]) -> None:
        """Make a lease under an id that is free."""
        await self._call(_CREATE_LEASE, api.CreateRequest(id=name, labels=labels))

    async def delete_lease(self, name: str) -> None:
        """End a lease; what only it kept is collected soon afterwards."""
        await self._call(_DELETE_LEASE, api.DeleteRequest(id=name))

    async def leases(self, labels: Mapping[str, str]) -> list[Lease]:
        """List the leases that carry all of these labels."""
        request = api.ListRequest(filters=[_with(labels)])
        reply = await self._call(_LIST_LEASES, request)
        return [Lease(lease.id, dict(lease.labels)) for lease in reply.leases]

    async def resources(self, lease: str) -> list[Resource]:
        """List what a lease keeps."""
        reply = await self._call(_LIST_RESOURCES, api.ListResourcesRequest(id=lease))
        return [Resource(resource.id, resource.type) for resource in reply.resources]

    async def add_resource(self, lease: str, resource: Resource) -> None:
        """Have one more thing kept by a lease."""
        added = api.Resource(id=resource.id, type=resource.type)
        await self._call(_ADD_RESOURCE, api.AddResourceRequest(id=lease, resource=added))

    async def release_resource(self, lease: str, resource: Resource) -> None:
        """Have one thing no longer kept by a lease."""
        released = api.Resource(id=resource.id, type=resource.type)
        await self._call(_DELETE_RESOURCE, api.DeleteResourceRequest(id=lease, resource=released))

    async def ingests(self) -> list[Ingest]:
        """List the unfinished blobs of the whole node."""
        reply = await self._call(_LIST_STATUSES, api.ListStatusesRequest())
        return [
            Ingest(
                each.ref,
                bounded_size(each.offset) or 0,
                bounded_size(each.total) or 0,
                each.started_at.seconds + each.started_at.nanos / 1e9,
            )
            for each in reply.statuses
        ]

    async def blob(self, digest: str) -> Blob:
        """Look a complete blob up."""
        info = (await self._call(_INFO, api.InfoRequest(digest=digest))).info
        return Blob(info.digest, bounded_size(info.size) or 0, dict(info.labels))

    async def read(self, digest: str) -> bytes:
        """Read a complete blob; meant for manifests."""
        request = api.ReadContentRequest(digest=digest)
        parts = await self._endpoint.stream(_READ, request, metadata=_NAMESPACE)
        return b"".join(part.data for part in parts)

    async def image_digest(self, reference: str) -> str:
        """Look up what manifest or index an image's record points at."""
        reply = await self._call(_GET_IMAGE, api.GetImageRequest(name=reference))
        return reply.image.target.digest

    async def image_records(self, labels: Mapping[str, str]) -> list[ImageRecord]:
        """List the records of images that carry all of these labels."""
        request = api.ListImageRecordsRequest(filters=[_with(labels)])
        reply = await self._call(_LIST_IMAGES, request)
        return [ImageRecord(record.name, dict(record.labels)) for record in reply.images]

    async def image_labels(self, name: str) -> dict[str, str]:
        """Look up the labels of an image's record."""
        reply = await self._call(_GET_IMAGE, api.GetImageRequest(name=name))
        return dict(reply.image.labels)

    async def label_image(self, name: str, labels: Mapping[str, str]) -> None:
        """Set labels of an image's record, or take away those that are empty; no others change.

        The record is sent back whole, with what is not read here: one without its target ends
        containerd itself (measured on 1.7 and 2.1), though the mask names labels alone.
        """
        record = (await self._call(_GET_IMAGE, api.GetImageRequest(name=name))).image
        if not record.HasField("target"):
            raise CallFailed(NOT_FOUND, f"the image {name} has no target")
        for label, value in labels.items():
            record.labels[label] = value
        mask = api.FieldMask(paths=[f"labels.{label}" for label in labels])
        await self._call(_UPDATE_IMAGE, api.UpdateImageRequest(image=record, update_mask=mask))

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Tell of each image record that is made, changed or removed, until the runtime stops."""
        request = api.SubscribeRequest(filters=['topic~="^/images/"'])

        def changed(_: api.Envelope) -> None:
            on_change()

        await self._endpoint.watch(_SUBSCRIBE, request, changed, metadata=_NAMESPACE)

    async def _call(self, method: Method[Request, Response], request: Request) -> Response:
        return await self._endpoint.call(method, request, metadata=_NAMESPACE)


def _with(labels: Mapping[str, str]) -> str:
    """A filter for what carries all of these labels."""
    return ",".join(f'labels."{label}"=="{value}"' for label, value in labels.items())
