"""Texts of real runtimes, each with the reason that it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.runtime.failures import classify, presentable
from common.reasons import MESSAGE_LIMIT, Reason

pytestmark = pytest.mark.pure

HOST, REPOSITORY, TAG = "registry.example:5000", "team/app", "1.2"
UNPACK = 'failed to pull and unpack image "{ref}": '
RESOLVE = UNPACK + 'failed to resolve reference "{ref}": '
RESOLVE_2 = UNPACK + "failed to resolve image: "
"""containerd 2 with its transfer service; with use_local_image_pull it says the former."""
URL = "https://{host}/v2/{repository}/manifests/{tag}"
BLOB_URL = "https://{host}/v2/{repository}/blobs/sha256:0b07?ns=%5BREDACTED%5D"
PATH = "/var/lib/containerd/io.containerd"

RECORDED = [
    (Reason.IMAGE_NOT_FOUND, "NOT_FOUND", RESOLVE + "{ref}: not found"),
    (Reason.IMAGE_NOT_FOUND, "NOT_FOUND", RESOLVE_2 + "{ref}: not found"),
    (
        Reason.IMAGE_NOT_FOUND,
        "NOT_FOUND",
        UNPACK + "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor "
        "sha256:0b07 (application/octet-stream) from remote: not found",
    ),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: "
        "401 Unauthorized",
    ),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE + "pull access denied, repository does not exist or may require authorization: "
        "authorization failed: no basic auth credentials",
    ),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE_2 + "unexpected status from HEAD request to " + URL + ": 401 Unauthorized",
    ),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: "
        "403 Forbidden",
    ),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE + "unexpected status from HEAD request to " + URL + ": 403 Forbidden",
    ),
    (Reason.UNAUTHORIZED, "UNKNOWN", RESOLVE + "illegal base64 data at input byte 0"),
    (
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE_2 + 'failed to get credentials for "{host}": parse server address: '
        'parse "{host}": first path segment in URL cannot contain colon',
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": dial tcp 127.0.0.1:5999: '
        "connect: connection refused",
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": dial tcp: lookup {hostname} on '
        "10.0.0.10:53: no such host",
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": dial tcp: lookup {hostname} on '
        "10.0.0.10:53: server misbehaving",
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": dial tcp: lookup {hostname} on '
        "10.0.0.10:53: read udp 10.0.0.5:40000->10.0.0.10:53: i/o timeout",
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        UNPACK + "failed to copy: failed to read expected number of bytes: unexpected EOF",
    ),
    (
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        UNPACK + "failed to copy: short read: expected 4198743 bytes but got 32768: unexpected EOF",
    ),
    (
        Reason.TLS_ERROR,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": http: server gave HTTP response to '
        "HTTPS client",
    ),
    (
        Reason.TLS_ERROR,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '": x509: certificate signed by unknown '
        "authority",
    ),
    (
        Reason.TLS_ERROR,
        "UNKNOWN",
        RESOLVE_2 + 'failed to do request: Head "' + URL + '": tls: failed to verify certificate: '
        "x509: certificate signed by unknown authority",
    ),
    (
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: "
        "400 Bad Request",
    ),
    (
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: "
        "503 Service Unavailable",
    ),
    (
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + "unexpected status from HEAD request to " + URL + ": 503 Service Unavailable",
    ),
    (
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        UNPACK
        + "failed to copy: httpReadSeeker: failed open: unexpected status code "
        + BLOB_URL
        + ": 503 Service Unavailable",
    ),
    (
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        UNPACK + "unexpected status from GET request to " + BLOB_URL + ": 503",
    ),
    (
        Reason.RATE_LIMITED,
        "UNKNOWN",
        RESOLVE + "unexpected status from HEAD request to " + URL + ": 429 Too Many Requests",
    ),
    (
        Reason.RATE_LIMITED,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: "
        "429 Too Many Requests",
    ),
    (
        Reason.PLATFORM_MISMATCH,
        "NOT_FOUND",
        UNPACK + "no match for platform in manifest: not found",
    ),
    (
        Reason.PLATFORM_MISMATCH,
        "NOT_FOUND",
        UNPACK + "get image config descriptor: no match for platform in manifest sha256:0b07: "
        "not found",
    ),
    (
        Reason.INVALID_REFERENCE,
        "UNKNOWN",
        (
            'failed to parse image reference "{ref}": invalid reference format: '
            "repository name must be lowercase"
        ),
    ),
    (
        Reason.INVALID_REFERENCE,
        "UNKNOWN",
        'failed to parse image reference "{ref}": unsupported digest algorithm',
    ),
    (
        Reason.DISK_FULL,
        "UNKNOWN",
        UNPACK + f"failed to copy: write {PATH}.content.v1.content/ingest/0b07/data: "
        "no space left on device",
    ),
    (
        Reason.DISK_FULL,
        "UNKNOWN",
        UNPACK + f"failed to extract layer sha256:0b07: write {PATH}.snapshotter.v1.overlayfs/"
        "snapshots/7/fs/data: no space left on device: unknown",
    ),
    (
        Reason.DISK_FULL,
        "UNKNOWN",
        UNPACK + "failed to extract layer (application/vnd.oci.image.layer.v1.tar+gzip "
        f'sha256:0b07) to overlayfs as "extract-1 sha256:0b07": open {PATH}.snapshotter.v1.'
        "overlayfs/snapshots/7/fs/data: no space left on device: unknown",
    ),
    (
        Reason.CORRUPT_IMAGE,
        "FAILED_PRECONDITION",
        UNPACK + 'failed commit on ref "layer-sha256:0b07": unexpected commit digest sha256:6c26, '
        "expected sha256:0b07: failed precondition",
    ),
    (
        Reason.CORRUPT_IMAGE,
        "UNKNOWN",
        UNPACK + 'wrong diff id calculated on extraction "sha256:0b07"',
    ),
    (
        Reason.CORRUPT_IMAGE,
        "UNKNOWN",
        UNPACK + "failed to extract layer sha256:0b07: archive/tar: invalid tar header: unknown",
    ),
    # What is no fault of the registry's although something is "not found".
    (Reason.UNKNOWN, "NOT_FOUND", UNPACK + "lease does not exist: not found"),
    (
        Reason.UNKNOWN,
        "NOT_FOUND",
        UNPACK + "failed to extract layer sha256:0b07: content digest sha256:0b07: not found",
    ),
    (Reason.TIMEOUT, "DEADLINE_EXCEEDED", "Deadline Exceeded"),
    (Reason.STALLED, "CANCELLED", UNPACK + "failed to copy: context canceled"),
    (
        Reason.RUNTIME_UNAVAILABLE,
        "UNAVAILABLE",
        (
            'connection error: desc = "transport: Error while dialing: dial unix /run/c.sock: '
            'connect: no such file or directory"'
        ),
    ),
    (Reason.RUNTIME_UNAVAILABLE, "UNAVAILABLE", "error reading from server: EOF"),
    (
        Reason.RUNTIME_UNAVAILABLE,
        "UNIMPLEMENTED",
        "unknown service runtime.v1.ImageService",
    ),
    (Reason.UNKNOWN, "UNKNOWN", UNPACK + "something that nobody has seen before"),
]


def text_of(template: str, host: str, repository: str, tag: str) -> tuple[str, str]:
    """Fill a template in: the text, and the reference that it is about."""
    reference = f"{host}/{repository}:{tag}"
    hostname = host.partition(":")[0]
    text = template.format(
        ref=reference, host=host, hostname=hostname, repository=repository, tag=tag
    )
    return text, reference


@pytest.mark.parametrize(("reason", "code", "template"), RECORDED)
def test_each_recorded_text_has_its_reason(reason: Reason, code: str, template: str) -> None:
    """What containerd 1.6, 1.7 and 2.1 were heard to say is understood."""
    text, reference = text_of(template, HOST, REPOSITORY, TAG)
    assert classify(code, text, reference).reason is reason


MISLEADING = [
    *("not-found", "401", "403", "404", "429", "503", "unauthorized", "x509", "tls", "eof"),
    *("no-such-host", "dial-tcp", "connection-refused", "no-space-left-on-device", "gzip"),
    *(
        "unexpected-commit-digest",
        "manifest",
        "unknown",
        "toomanyrequests",
        "http2",
        "lease",
        "insufficient_scope",
    ),
    *("failed-to-extract-layer", "archive", "tar", "zstd", "read", "write", "lookup", "image"),
]
PARTS = st.sampled_from(MISLEADING) | st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
HOSTS = st.builds(
    lambda labels, port: ".".join(labels) + port,
    st.lists(PARTS, min_size=1, max_size=3),
    st.sampled_from(["", ":401", ":503", ":5000"]),
)
REPOSITORIES = st.lists(PARTS, min_size=1, max_size=3).map("/".join)


TAGS = PARTS | st.just("Client.Timeout")


@settings(max_examples=settings().max_examples // 3)
@given(host=HOSTS, repository=REPOSITORIES, tag=TAGS)
def test_a_name_never_decides(host: str, repository: str, tag: str) -> None:
    """However an image and its registry are called, every reason is the same."""
    for reason, code, template in RECORDED:
        text, reference = text_of(template, host, repository, tag)
        assert classify(code, text, reference).reason is reason


PHRASES = [
    "not found",
    "401 Unauthorized",
    "503 Service Unavailable",
    "no space left on device",
    "dial tcp",
    "x509: ",
    "unexpected commit digest",
]


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_malformed_name_does_not_either(phrase: str) -> None:
    """A text in place of a name may hold anything, and is quoted all the same."""
    name = f"my {phrase} image"
    for reason, code, template in RECORDED:
        text = template.format(ref=name, host=HOST, hostname=HOST, repository=REPOSITORY, tag=TAG)
        assert classify(code, text, name).reason is reason


@given(st.text(), st.text(), st.text())
def test_any_text_makes_a_failure(code: str, text: str, reference: str) -> None:
    """Whatever a runtime says, the message is short."""
    assert len(classify(code, text, reference).message) <= MESSAGE_LIMIT


@pytest.mark.parametrize("part", ["failed to extract layer ", "short-name ", "docker:// "])
def test_a_long_text_takes_no_time(part: str) -> None:
    """However often it has half of a pattern; what it comes to still decides."""
    text = part * 100_000 + ": no space left on device"
    assert classify("UNKNOWN", text, "").reason is Reason.DISK_FULL


def test_the_message_does_not_repeat_the_name() -> None:
    """Two mentions of a long name would leave little of what matters."""
    text, reference = text_of(RESOLVE + "{ref}: not found", HOST, REPOSITORY, TAG)
    assert presentable(text, reference) == f"{reference}: not found"


def test_of_a_long_message_beginning_and_end_stay() -> None:
    """Go wraps errors from the left: the cause is at the end."""
    text = f"failed to copy: write /{'long/' * 100}data: no space left on device"
    shown = presentable(text)
    assert len(shown) <= MESSAGE_LIMIT
    assert shown.startswith("failed to copy: write /long")
    assert shown.endswith("data: no space left on device")


@pytest.mark.parametrize(
    "text",
    [
        'failed to do request: Head "https://user:s3cret@registry.example/v2/": EOF',
        "unexpected status from GET request to https://cdn.example/b?X-Signature=s3cret&a=b: 503",
        "request with Authorization: Basic dXNlcjpzM2NyZXQ= was refused",
        "request with Authorization: Bearer eyJhbGciOi.s3cret.c2ln was refused",
    ],
)
def test_no_credentials_are_shown(text: str) -> None:
    """Runtimes quote URLs and headers as they were sent."""
    shown = presentable(text)
    assert "s3cret" not in shown
    assert "dXNlcjpzM2NyZXQ" not in shown
    assert "c2ln" not in shown
