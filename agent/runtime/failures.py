"""From a runtime's error text to a reason: one table, from top to bottom, the first match wins.

Each line says who spoke (the runtime, the registry, a content store, a snapshotter, an unpacker),
because a code of gRPC does not: containerd answers UNKNOWN to most, and NOT_FOUND is its word for a
repository that the registry has not, for a blob that the node has lost and for a proxy's page that
is no manifest. Permanent is only what the registry itself has said of the reference, or what no
retry can cure. The texts were recorded from containerd 1.6.20, 1.7.24 and 2.1.9; CRI-O's come from
the sources of its library, github.com/containers/image.

What an image is called must never decide, nor what a registry writes into its answers. So names,
URLs and a registry's own words are taken out before matching, and no pattern can be spelled by what
may remain of a name: a reference has no space.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from agent.runtime.protocol import PullFailed
from common.reasons import MESSAGE_LIMIT, Reason
from common.redaction import HIDDEN, redact

UNAVAILABLE = "UNAVAILABLE"
"""The code of a call that nobody answers; a runtime says it of things of its own, too."""


class Speaker(StrEnum):
    """Who says that something is wrong."""

    RUNTIME = "runtime"
    REGISTRY = "registry"
    """With the way to it: names, connections, certificates, proxies, servers of tokens."""
    CONTENT_STORE = "content store"
    SNAPSHOTTER = "snapshotter"
    UNPACKER = "unpacker"


class Line(NamedTuple):
    """One line of the table. ``code``: a gRPC status that has to be there besides; empty: any."""

    speaker: Speaker
    reason: Reason
    pattern: str
    code: str = ""


_RUNTIME, _REGISTRY, _CONTENT, _SNAPSHOTTER, _UNPACKER = Speaker
_NOT_OF_AN_IMAGE = r"^(?!.*(?:failed to (?:pull|resolve|copy|unpack)|pull image))"

TABLE: tuple[Line, ...] = (
    # Nobody is there. About an image the runtime has spoken, whatever the code.
    Line(_RUNTIME, Reason.RUNTIME_UNAVAILABLE, _NOT_OF_AN_IMAGE, UNAVAILABLE),
    # The reference and the credentials, before any registry is asked.
    Line(_RUNTIME, Reason.INVALID_REFERENCE, r"^failed to parse image reference"),
    Line(_RUNTIME, Reason.INVALID_REFERENCE, r"invalid reference format|unsupported digest algo"),
    Line(_RUNTIME, Reason.INVALID_REFERENCE, r"^image name cannot be empty"),  # crictl itself
    Line(_RUNTIME, Reason.INVALID_REFERENCE, r"short-name .*(?:did not resolve|enforced)"),
    Line(_RUNTIME, Reason.UNAUTHORIZED, r"illegal base64 data|parse server address: "),
    Line(_RUNTIME, Reason.UNAUTHORIZED, r"invalid auth config"),
    # The disk, whoever notices.
    Line(_CONTENT, Reason.DISK_FULL, r"no space left on device|disk quota exceeded"),
    # What came is for somebody else, or nothing that this runtime can use.
    Line(_RUNTIME, Reason.PLATFORM_MISMATCH, r"no match for platform in manifest"),
    Line(
        _RUNTIME,
        Reason.PLATFORM_MISMATCH,
        r"no image found in (?:image index|manifest list) for arch",
    ),
    Line(_RUNTIME, Reason.PLATFORM_MISMATCH, r"image operating system .*cannot be used on"),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"schema 1 (?:image manifests|not supported)"),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"media type \S+ is no longer supported"),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r": no signatures$"),  # of what was taken for schema 1
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"unsupported (?:manifest )?schema version"),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"unsupported image-specific operation on artifact"),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"unexpected media type application/vnd\."),
    Line(_RUNTIME, Reason.UNSUPPORTED_IMAGE, r"SignatureValidationFailed|Source image rejected: "),
    Line(_UNPACKER, Reason.UNSUPPORTED_IMAGE, r"mismatched image rootfs and manifest layers"),
    Line(_UNPACKER, Reason.UNSUPPORTED_IMAGE, r"number of layers and diffIDs don't match"),
    Line(_UNPACKER, Reason.UNSUPPORTED_IMAGE, r"failed to get stream processor for "),
    # A page or nothing at all in place of a manifest or a token: a proxy's sign-in, for example.
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"unexpected media type "),
    Line(
        _REGISTRY,
        Reason.REGISTRY_ERROR,
        r"could not fetch content descriptor \S+ \((?:text/|application/(?:json|xml|xhtml))",
    ),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"which reports content size of zero"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r" in header not a valid digest: "),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"unable to decode token response: "),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"server did not include a token in the response"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"parsing HTTP \d+ response body"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"children: invalid desc "),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"unexpected end of JSON|looking for beginning of "),
    # What the node has lost, in a crash or to its garbage collector: no word of the registry's.
    Line(_CONTENT, Reason.UNKNOWN, r"lease does not exist|content digest \S+: not found"),
    Line(_CONTENT, Reason.UNKNOWN, r"blob not found|ref \S+ locked for "),
    Line(_SNAPSHOTTER, Reason.UNKNOWN, r"snapshot \S+ does not exist"),
    Line(_SNAPSHOTTER, Reason.UNKNOWN, r"failed to (?:stat parent|prepare extraction snapshot)"),
    # What came is not what was promised.
    Line(_CONTENT, Reason.CORRUPT_IMAGE, r"unexpected commit (?:digest|size)|failed size valid"),
    Line(_CONTENT, Reason.CORRUPT_IMAGE, r"[Dd]igest did not match|provided manifest digest"),
    Line(_UNPACKER, Reason.CORRUPT_IMAGE, r"wrong diff id calculated|does not match config's Diff"),
    Line(_UNPACKER, Reason.CORRUPT_IMAGE, r"archive/tar: |gzip: |flate: |zlib: |zstd: "),
    Line(_UNPACKER, Reason.CORRUPT_IMAGE, r"\b(?:unpigz|pigz|igzip): |magic number mismatch"),
    Line(
        _UNPACKER,
        Reason.CORRUPT_IMAGE,
        r"(?:failed to extract layer|processing tar file).*unexpected EOF",
    ),
    # The way to the registry. Before TLS: a registry may be called x509.
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"RegistryUnavailable: "),
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"\b(?:dial|read|write) (?:tcp|udp)\b"),
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"unexpected EOF|: EOF$|no such host"),
    Line(
        _REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        r"connection reset by peer|broken pipe|use of closed network connection",
    ),
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"handshake timeout|timeout awaiting"),
    Line(
        _REGISTRY, Reason.REGISTRY_UNREACHABLE, r"Client\.Timeout exceeded|http2: |stream error: "
    ),
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"(?:do request|registry).*deadline exceeded$"),
    # What a proxy answers to CONNECT is all that Go tells of it.
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"proxyconnect |Proxy Authentication Required$"),
    Line(_REGISTRY, Reason.REGISTRY_UNREACHABLE, r"do request: \w+ \"URL\": (?:Forbidden|Bad Gat)"),
    Line(_REGISTRY, Reason.TLS_ERROR, r"server gave HTTP response to HTTPS client"),
    Line(_REGISTRY, Reason.TLS_ERROR, r"x509: |\btls: "),
    # Its answers. A token that cannot be had for a while is no refusal.
    Line(_REGISTRY, Reason.RATE_LIMITED, r"429 Too Many Requests|429 \(Too Many"),
    Line(_REGISTRY, Reason.RATE_LIMITED, r"toomanyrequests: |too many requests to registry"),
    Line(_REGISTRY, Reason.RATE_LIMITED, r"pull rate limit"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"\b5\d\d [A-Z][a-z]+|\b5\d\d \([A-Z]|Code: 5\d\d,"),
    # A blob's address that has expired: a registry that refuses says so in words of its own, a
    # store of blobs to which it has redirected does not. The next attempt gets a new address.
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"failed open: unexpected status .*\b40[13] [A-Z]\w+$"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"[Ff]etching blob: .*\b40[13] \("),
    Line(_REGISTRY, Reason.UNAUTHORIZED, r"401 Unauthorized|403 Forbidden|\b40[13] \([UF]"),
    Line(_REGISTRY, Reason.UNAUTHORIZED, r"no basic auth credentials|authentication required"),
    Line(_REGISTRY, Reason.UNAUTHORIZED, r"pull access denied|insufficient_scope: "),
    Line(_REGISTRY, Reason.UNAUTHORIZED, r"access to the resource is denied|\bunauthorized: "),
    Line(_REGISTRY, Reason.UNAUTHORIZED, r"invalid username/password|(?:NAME|errors:) denied: "),
    Line(_REGISTRY, Reason.IMAGE_NOT_FOUND, r"404 Not Found|\b404 \(Not Found|Code: 404,"),
    Line(_REGISTRY, Reason.IMAGE_NOT_FOUND, r"from remote: not found"),
    Line(_REGISTRY, Reason.IMAGE_NOT_FOUND, r"(?:manifest|name) unknown|repository name not known"),
    Line(
        _REGISTRY,
        Reason.IMAGE_NOT_FOUND,
        r"failed to resolve (?:image|reference \"IMAGE\"): \S+: not found",
    ),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"\b4\d\d [A-Z][a-z]+|\b4\d\d \([A-Z]|Code: 4\d\d,"),
    Line(_REGISTRY, Reason.REGISTRY_ERROR, r"unexpected (?:HTTP )?status|invalid status code"),
    # What a code says by itself, where no text has decided. A pull that the runtime cancels was
    # cancelled by its own limit (image_pull_progress_timeout).
    Line(_RUNTIME, Reason.STALLED, r"context canceled$"),
    Line(_RUNTIME, Reason.STALLED, r"", "CANCELLED"),
    Line(_RUNTIME, Reason.TIMEOUT, r"", "DEADLINE_EXCEEDED"),
    # A runtime without the image service of CRI v1.
    Line(_RUNTIME, Reason.RUNTIME_UNAVAILABLE, _NOT_OF_AN_IMAGE, "UNIMPLEMENTED"),
)
"""Whatever no line knows is ``Unknown``."""

_COMPILED = tuple((line, re.compile(line.pattern)) for line in TABLE)

# Where names stand in texts: as the reference, in URLs, and in a few phrases.
_NAMED = (
    (re.compile(r"https?://[^\s\"]+"), "URL"),
    (re.compile(r"docker://\S+"), "NAME"),
    (re.compile(r"reading manifest \S+ in \S+"), "reading manifest of NAME"),
    (re.compile(r"(pinging container registry|pulling from host|lookup) \S+"), r"\1 NAME"),
    (re.compile(r"\[manifests \S+\]"), "[manifests NAME]"),
)
# CRI-O tries everything a second time, as an artifact: what that comes to is beside the point.
_SECOND_TRY = re.compile(r"; artifact err: .*", re.DOTALL)
# The words of a registry's answer, behind its status; containerd 2.x puts them on a line of theirs.
_OWN_WORDS = re.compile(r"(\b[45]\d\d [A-Z][A-Za-z' -]*)(?: - Server message: |\n).*", re.DOTALL)

_LONGEST = 8192
"""Characters that are matched: what opens a text and what it comes to."""

_AUTHORIZATION = re.compile(r"\b(Basic|Bearer) [A-Za-z0-9+/=._~-]{8,}")
_TAIL = MESSAGE_LIMIT * 2 // 3


def classify(code: str, text: str, reference: str) -> PullFailed:
    """Make of a failed call what the puller understands.

    ``code`` is a gRPC status by name (``NOT_FOUND``; empty where unknown), ``text`` what came with
    it, ``reference`` the image as the runtime was asked for it.
    """
    line = line_of(code, text, reference)
    reason = Reason.UNKNOWN if line is None else line.reason
    return PullFailed(reason, presentable(text, reference))


def line_of(code: str, text: str, reference: str) -> Line | None:
    """Find the line of the table that a failed call falls under; None where none knows it."""
    nameless = _without_names(text, reference)
    matches = (
        line for line, pattern in _COMPILED if line.code in {"", code} and pattern.search(nameless)
    )
    return next(matches, None)


def _without_names(text: str, reference: str) -> str:
    """Take out what others have written: names, URLs, a registry's own words."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"
    nameless = text.replace(reference, "IMAGE") if reference else text
    nameless = _OWN_WORDS.sub(r"\1 with words", nameless)
    nameless = _SECOND_TRY.sub("", nameless)
    for pattern, name in _NAMED:
        nameless = pattern.sub(name, nameless)
    return nameless


def presentable(text: str, reference: str = "") -> str:
    """Make a text fit to be shown: no credentials, no opening that only repeats the image's name.

    Go wraps errors from the left, so of a long text the end says most: the middle is left out.
    """
    text = text.removeprefix(f'failed to pull and unpack image "{reference}": ')
    text = text.removeprefix(f'failed to resolve reference "{reference}": ')
    shown = " ".join(_AUTHORIZATION.sub(rf"\1 {HIDDEN}", redact(text)).split())
    if len(shown) <= MESSAGE_LIMIT:
        return shown
    return f"{shown[: MESSAGE_LIMIT - _TAIL - 3]} … {shown[-_TAIL:]}"
