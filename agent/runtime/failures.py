"""From a runtime's error text to a reason: one table, from top to bottom, the first match wins.

Codes are of little use (containerd answers UNKNOWN to most), so the texts are matched. Those here
were recorded from containerd 1.6.20, 1.7.24 and 2.1.9; a few more come from their sources and from
CRI-O's library. What an image is called must never decide, so its name and all URLs are taken out
before matching, and no pattern can be spelled by what may remain of them: a reference has no space.
"""

from __future__ import annotations

import re

from agent.runtime.protocol import PullFailed
from common.reasons import MESSAGE_LIMIT, Reason
from common.redaction import HIDDEN, redact

UNAVAILABLE = "UNAVAILABLE"
"""The code that says that the way to the runtime is broken, rather than anything behind it."""

_TABLE: tuple[tuple[Reason, str], ...] = (
    (Reason.INVALID_REFERENCE, r"^failed to parse image reference"),
    (Reason.INVALID_REFERENCE, r"invalid reference format|unsupported digest algorithm"),
    (Reason.INVALID_REFERENCE, r"^image name cannot be empty"),  # crictl itself
    # Credentials that the runtime cannot even read.
    (Reason.UNAUTHORIZED, r"illegal base64 data|parse server address: "),
    # All "not found" that is not the registry's word comes first: platforms of an index, and
    # content or a lease that was garbage collected on the node while it was in use.
    (Reason.PLATFORM_MISMATCH, r"no match for platform in manifest"),
    (Reason.PLATFORM_MISMATCH, r"no image found in (image index|manifest list) for arch"),
    (Reason.UNKNOWN, r"lease does not exist|content digest \S+: not found"),
    (Reason.DISK_FULL, r"no space left on device|disk quota exceeded"),
    (Reason.CORRUPT_IMAGE, r"unexpected commit (digest|size)|wrong diff id calculated"),
    (Reason.CORRUPT_IMAGE, r"archive/tar: |gzip: |flate: |zstd: |magic number mismatch"),
    (Reason.CORRUPT_IMAGE, r"failed to extract layer .*unexpected EOF"),
    (Reason.CORRUPT_IMAGE, r"mismatched image rootfs and manifest layers"),
    # Before TLS: a registry may be called x509, and "lookup x509: no such host".
    (Reason.REGISTRY_UNREACHABLE, r"\b(dial|read|write) (tcp|udp)\b|no such host"),
    (Reason.REGISTRY_UNREACHABLE, r"unexpected EOF|: EOF$|connection reset by peer|broken pipe"),
    (
        Reason.REGISTRY_UNREACHABLE,
        r"handshake timeout|timeout awaiting|Client\.Timeout exceeded|http2: ",
    ),
    (Reason.TLS_ERROR, r"server gave HTTP response to HTTPS client|x509: |\btls: "),
    (Reason.RATE_LIMITED, r"429 Too Many Requests|toomanyrequests: |pull rate limit"),
    (Reason.UNAUTHORIZED, r"401 Unauthorized|403 Forbidden|no basic auth credentials"),
    (Reason.UNAUTHORIZED, r"pull access denied|authentication required|insufficient_scope: "),
    (Reason.IMAGE_NOT_FOUND, r"404 Not Found|from remote: not found|(manifest|name) unknown"),
    (Reason.IMAGE_NOT_FOUND, r"failed to resolve (image|reference \"IMAGE\"): \S+: not found"),
    (Reason.REGISTRY_ERROR, r"\b[45]\d\d [A-Z][a-z]+|unexpected status"),
)
_COMPILED = tuple((reason, re.compile(pattern)) for reason, pattern in _TABLE)

# What a gRPC code says by itself, where no text has decided.
_BY_CODE = {
    "CANCELLED": Reason.STALLED,  # not by us: the runtime's own image_pull_progress_timeout
    "DEADLINE_EXCEEDED": Reason.TIMEOUT,
    "NOT_FOUND": Reason.IMAGE_NOT_FOUND,
    "PERMISSION_DENIED": Reason.UNAUTHORIZED,
    "UNAUTHENTICATED": Reason.UNAUTHORIZED,
    "UNIMPLEMENTED": Reason.RUNTIME_UNAVAILABLE,  # a runtime without the image service of CRI v1
}

_URL = re.compile(r"https?://[^\s\"]+")
_AUTHORIZATION = re.compile(r"\b(Basic|Bearer) [A-Za-z0-9+/=._~-]{8,}")
_TAIL = MESSAGE_LIMIT * 2 // 3


def classify(code: str, text: str, reference: str) -> PullFailed:
    """Make of a failed call what the puller understands.

    ``code`` is a gRPC status by name (``NOT_FOUND``; empty where unknown), ``text`` what came with
    it, ``reference`` the image as the runtime was asked for it.
    """
    return PullFailed(_reason(code, text, reference), presentable(text, reference))


def _reason(code: str, text: str, reference: str) -> Reason:
    if code == UNAVAILABLE:
        return Reason.RUNTIME_UNAVAILABLE
    nameless = _URL.sub("URL", text.replace(reference, "IMAGE") if reference else text)
    matches = (reason for reason, pattern in _COMPILED if pattern.search(nameless))
    return next(matches, _BY_CODE.get(code, Reason.UNKNOWN))


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
