"""A runtime that speaks CRI and nothing else, as CRI-O does, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Stream

from agent.runtime.node import node_platform
from agent.runtime.proto import containerd_pb2 as containerd
from agent.runtime.proto import cri_pb2 as cri

IMAGE = "registry.example/app:1"
DIGEST = f"sha256:{'a' * 64}"
Call = Stream[Any, Any]


# What a gRPC server says of methods that it does not have. grpclib's own says it in a form that its
# client does not understand.
_ABSENT = {
    "/containerd.services.leases.v1.Leases/List": containerd.ListRequest,
    "/containerd.services.images.v1.Images/Get": containerd.GetImageRequest,
    "/runtime.v1.RuntimeService/Version": cri.VersionRequest,
    "/runtime.v1.ImageService/ImageStatus": cri.ImageStatusRequest,
    "/runtime.v1.RuntimeService/Status": cri.StatusRequest,
}


class EmptyRuntime:
    """Has no method of those that are asked for."""

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(self._refuse, Cardinality.UNARY_UNARY, request, containerd.Empty)
            for path, request in _ABSENT.items()
        }

    async def _refuse(self, call: Call) -> None:
        await call.recv_message()
        raise GRPCError(Status.UNIMPLEMENTED, "unknown service")


@dataclass
class BareRuntime(EmptyRuntime):
    """Pulls whatever it is asked for, at once unless ``held``."""

    padding: int = 0
    """Bytes that a status carries for nothing."""
    held: asyncio.Event | None = None
    """A pull waits for it."""
    pulling: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    images: set[str] = field(default_factory=set)
    containers: list[cri.Container] = field(default_factory=list)
    config: str = ""
    """What a status tells of the configuration."""
    keeps: str = ""
    """Why it removes no image."""
    pulls: list[Call] = field(default_factory=list)

    def sever(self) -> None:
        """Break the connections of all pulls, as a runtime that dies does."""
        for call in self.pulls:
            call._stream._transport.abort()

    def __mapping__(self) -> dict[str, Handler]:
        return {
            **super().__mapping__(),
            **_handler("RuntimeService/Version", self._version),
            **_handler("ImageService/ImageFsInfo", self._image_fs_info),
            **_handler("ImageService/ImageStatus", self._image_status),
            **_handler("RuntimeService/Status", self._status),
            **_handler("RuntimeService/ListContainers", self._list_containers),
            **_handler("ImageService/RemoveImage", self._remove_image),
            **_handler("ImageService/PullImage", self._pull_image),
        }

    async def _version(self, call: Call) -> None:
        await call.recv_message()
        await call.send_message(cri.VersionResponse(runtime_name="cri-o", runtime_version="1.30.0"))

    async def _image_fs_info(self, call: Call) -> None:
        await call.recv_message()
        await call.send_message(cri.ImageFsInfoResponse())

    async def _image_status(self, call: Call) -> None:
        request: cri.ImageStatusRequest = await call.recv_message() or cri.ImageStatusRequest()
        reply = cri.ImageStatusResponse()
        if request.image.image in self.images:
            system, _, architecture = node_platform().partition("/")
            spec = f'{{"os": "{system}", "architecture": "{architecture}"}}'
            reply.info["info"] = f'{{"imageSpec": {spec}}}'
            reply.info["padding"] = " " * self.padding
            reply.image.id = "sha256:1"
            reply.image.size = 5
            reply.image.repo_digests.append(f"registry.example/app@{DIGEST}")
        await call.send_message(reply)

    async def _status(self, call: Call) -> None:
        await call.recv_message()
        await call.send_message(cri.StatusResponse(info={"config": self.config}))

    async def _list_containers(self, call: Call) -> None:
        await call.recv_message()
        await call.send_message(cri.ListContainersResponse(containers=self.containers))

    async def _remove_image(self, call: Call) -> None:
        await call.recv_message()
        if self.keeps:
            raise GRPCError(Status.UNKNOWN, self.keeps)
        await call.send_message(cri.RemoveImageResponse())

    async def _pull_image(self, call: Call) -> None:
        request: cri.PullImageRequest = await call.recv_message() or cri.PullImageRequest()
        self.pulls.append(call)
        self.pulling.set()
        try:
            if self.held is not None:
                await self.held.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        self.images.add(request.image.image)
        await call.send_message(cri.PullImageResponse(image_ref="sha256:1"))


def _handler(name: str, answer: Callable[[Call], Coroutine[Any, Any, None]]) -> dict[str, Handler]:
    """Make an entry of a server's mapping for a method of CRI."""
    method = name.partition("/")[2]
    request, reply = (getattr(cri, f"{method}{kind}") for kind in ("Request", "Response"))
    return {f"/runtime.v1.{name}": Handler(answer, Cardinality.UNARY_UNARY, request, reply)}
