"""What the program crictl prints and says, read: with ``-o json``, and of an error.

Whatever cannot be read is a failure of the program.
"""

from __future__ import annotations

import re

import msgspec

from agent.runtime.image_parts import bounded_size
from agent.runtime.image_status import ImageStatus, VerboseInfo
from agent.runtime.protocol import StoredImage
from common.messages import NOT_DECODABLE

# What it writes of an error: ``err="…"`` in a line of its log library's, which has the gRPC code,
# then ``msg="…"`` in its own last line, which has it only sometimes. Both are quoted as Go does.
_QUOTED = re.compile(r"\b(?:err|msg)=\"((?:[^\"\\]|\\.)*)\"")
_ESCAPED = re.compile(r"\\(.)")
_RPC_ERROR = re.compile(r"rpc error: code = (\w+) desc = (.*)", re.DOTALL)
_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_CODES = {"CANCELED": "CANCELLED"}  # Go's names, where they are not gRPC's own
_SIZE = re.compile(r"[0-9]{1,20}")  # as many digits as 64 bits have


class _Status(msgspec.Struct, rename="camel"):
    repo_digests: list[str] = []
    size: str = ""


class _Inspected(msgspec.Struct):
    """``crictl inspecti -o json``."""

    status: _Status
    info: VerboseInfo = msgspec.field(default_factory=VerboseInfo)


class _Listed(msgspec.Struct, rename="camel"):
    id: str = ""
    repo_tags: list[str] | None = None
    repo_digests: list[str] | None = None
    size: str = ""
    pinned: bool = False


class _Images(msgspec.Struct):
    """``crictl images -o json``."""

    images: list[_Listed] = []


class _ContainerImage(msgspec.Struct):
    image: str = ""


class _Container(msgspec.Struct, rename="camel"):
    image: _ContainerImage = msgspec.field(default_factory=_ContainerImage)
    image_ref: str = ""
    image_id: str = ""


class _Containers(msgspec.Struct):
    """``crictl ps -a -o json``."""

    containers: list[_Container]


class _FilesystemId(msgspec.Struct):
    mountpoint: str = ""


class _Filesystem(msgspec.Struct, rename="camel"):
    fs_id: _FilesystemId


class _Filesystems(msgspec.Struct, rename="camel"):
    image_filesystems: list[_Filesystem] = []


class _ImageFsInfo(msgspec.Struct):
    """``crictl imagefsinfo -o json``."""

    status: _Filesystems


class ProgramFailed(Exception):  # noqa: N818  # what happened, as in endpoint.CallFailed
    """crictl ended with a failure: a gRPC status by name, empty where it told none, and a text."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


def read_failure(errors: str) -> ProgramFailed:
    """Find what went wrong in what the program has written."""
    quoted = [_ESCAPED.sub(_unescaped, text) for text in _QUOTED.findall(errors)]
    for text in quoted:
        if answer := _RPC_ERROR.search(text):
            code = _WORD.sub("_", answer[1]).upper()
            return ProgramFailed(_CODES.get(code, code), answer[2])
    text = quoted[-1] if quoted else errors.strip()
    return ProgramFailed("", text.removeprefix("pulling image: ") or "it failed without a word")


def _unescaped(escape: re.Match[str]) -> str:
    return " " if escape[1] in "nrt" else escape[1]


def read_status(output: bytes) -> ImageStatus:
    """What ``inspecti`` prints. Raises ProgramFailed."""
    try:
        image = msgspec.json.decode(output, type=_Inspected)
    except NOT_DECODABLE as error:
        raise ProgramFailed("", f"cannot read what inspecti says: {error}") from error
    digests, size = tuple(image.status.repo_digests), _read_size(image.status.size)
    return ImageStatus(digests, size, image.info.platform, image.info.is_artifact)


def _read_size(text: str) -> int | None:
    return bounded_size(int(text)) if _SIZE.fullmatch(text) else None


def read_images(output: bytes) -> list[StoredImage]:
    """What ``images`` prints. Raises ProgramFailed."""
    try:
        listed = msgspec.json.decode(output, type=_Images).images
    except NOT_DECODABLE as error:
        raise ProgramFailed("", f"cannot read what images says: {error}") from error
    return [
        StoredImage(
            image.id,
            tuple(image.repo_tags or ()),
            tuple(image.repo_digests or ()),
            _read_size(image.size) or None,
            image.pinned,
        )
        for image in listed
    ]


def read_containers(output: bytes) -> frozenset[str]:
    """The images that ``ps -a`` names. Raises ProgramFailed."""
    try:
        containers = msgspec.json.decode(output, type=_Containers).containers
    except NOT_DECODABLE as error:
        raise ProgramFailed("", f"cannot read what ps says: {error}") from error
    names = {n for each in containers for n in (each.image.image, each.image_ref, each.image_id)}
    return frozenset(names - {""})


def mountpoint(output: bytes) -> str:
    """Find where images are in what imagefsinfo says; empty if it does not."""
    try:
        disks = msgspec.json.decode(output, type=_ImageFsInfo).status.image_filesystems
    except NOT_DECODABLE:
        return ""
    return disks[0].fs_id.mountpoint if disks else ""
