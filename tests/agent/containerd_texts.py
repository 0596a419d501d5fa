"""Texts of containerd 1.6.20, 1.7.24 and 2.1.9, each with who speaks in it; see text_of."""

from __future__ import annotations

from agent.runtime.failures import Speaker
from common.reasons import Reason

RUNTIME, REGISTRY, CONTENT, SNAPSHOTTER, UNPACKER = Speaker
FAILED = 'failed to pull and unpack image "{ref}": '
RESOLVE = FAILED + 'failed to resolve reference "{ref}": '
RESOLVE_2 = FAILED + "failed to resolve image: "
"""What containerd 2 says where 1.6 and 1.7 say the former."""
OPEN = FAILED + "failed to copy: httpReadSeeker: failed open: "
URL = "https://{host}/v2/{repository}"
ROOT = "/var/lib/containerd/io.containerd"
TOKEN = RESOLVE + "failed to authorize: failed to fetch anonymous token: "
TOKEN_2 = RESOLVE_2 + (
    "failed to authorize: failed to fetch oauth token: unexpected status from GET request to "
    "https://auth.example/token?scope=repository%3A{repository}%3Apull: "
)
SIGNED = "http://cdn.example/sha256:8d84?X-Amz-Expires=1&Signature=s3cret"

CONTAINERD = [
    # The runtime's own things, whatever the code.
    (RUNTIME, Reason.RUNTIME_UNAVAILABLE, "UNAVAILABLE", "error reading from server: EOF"),
    (
        CONTENT,
        Reason.UNKNOWN,
        "UNAVAILABLE",
        FAILED + "failed to copy: ref layer-sha256:0b07 locked for 5.2s (since 2026-11-29 22:00:00 "
        "+0000 UTC): unavailable",
    ),
    (RUNTIME, Reason.UNAUTHORIZED, "UNKNOWN", RESOLVE + "get registry creds: invalid auth config"),
    (RUNTIME, Reason.INVALID_REFERENCE, "", "image name cannot be empty"),
    # Nothing that this runtime can use.
    (
        RUNTIME,
        Reason.UNSUPPORTED_IMAGE,
        "INVALID_ARGUMENT",
        FAILED + "schema 1 image manifests are no longer supported: invalid argument",
    ),
    (
        RUNTIME,
        Reason.UNSUPPORTED_IMAGE,
        "UNIMPLEMENTED",
        RESOLVE_2 + 'not implemented: media type "application/vnd.docker.distribution.manifest.v1+'
        'prettyjws" is no longer supported since containerd v2.0, please rebuild the image as '
        '"application/vnd.oci.image.manifest.v1+json"',
    ),
    (RUNTIME, Reason.UNSUPPORTED_IMAGE, "UNKNOWN", RESOLVE + "no signatures"),
    (
        RUNTIME,
        Reason.UNSUPPORTED_IMAGE,
        "NOT_FOUND",
        (
            "get image config descriptor: unexpected media type "
            "application/vnd.example.thing+json for "
            "sha256:b7d0: not found"
        ),
    ),
    (
        UNPACKER,
        Reason.UNSUPPORTED_IMAGE,
        "UNKNOWN",
        FAILED + "failed to unpack image on snapshotter overlayfs: mismatched image rootfs and "
        "manifest layers",
    ),
    (
        UNPACKER,
        Reason.UNSUPPORTED_IMAGE,
        "UNKNOWN",
        FAILED + "number of layers and diffIDs don't match: 1 != 2",
    ),
    (
        UNPACKER,
        Reason.UNSUPPORTED_IMAGE,
        "UNKNOWN",
        FAILED + "failed to extract layer sha256:7f47: failed to get stream processor for "
        'application/vnd.oci.image.layer.v1.tar+gzip+encrypted: exec: "ctd-decoder": executable '
        "file not found in $PATH: unknown",
    ),
    (
        UNPACKER,
        Reason.UNSUPPORTED_IMAGE,
        "UNKNOWN",
        FAILED + "failed to unpack image on snapshotter overlayfs: failed to extract layer sha256:"
        "a1a5: failed to get stream processor for application/vnd.xyz: no processor for media-type:"
        " unknown",
    ),
    # A page, or nothing, in place of a manifest or a token.
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "NOT_FOUND",
        FAILED + "failed to unpack image on snapshotter overlayfs: unexpected media type text/html "
        "for sha256:b7d0: not found",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "NOT_FOUND",
        "get image config descriptor: unexpected media type text/html for sha256:b7d0: not found",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "NOT_FOUND",
        OPEN + "could not fetch content descriptor sha256:b936 (application/json) from remote: "
        "not found",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "INVALID_ARGUMENT",
        FAILED + "unable to fetch descriptor (sha256:e3b0) which reports content size of zero: "
        "invalid argument",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + '"sha256:zz" in header not a valid digest: invalid checksum digest length',
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        FAILED + "children: invalid desc sha256:021f: unexpected end of JSON input",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        FAILED + "children: invalid desc sha256:4f53: json: cannot unmarshal array into Go value "
        "of type images.unknownDocument",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        TOKEN + "unable to decode token response: invalid character '<' looking for beginning of "
        "value",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        TOKEN + "authorization server did not include a token in the response",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        TOKEN + "unexpected status: 503 Service Unavailable",
    ),
    (REGISTRY, Reason.REGISTRY_ERROR, "UNKNOWN", TOKEN_2 + "503 Service Unavailable"),
    (REGISTRY, Reason.RATE_LIMITED, "UNKNOWN", TOKEN + "unexpected status: 429 Too Many Requests"),
    (REGISTRY, Reason.UNAUTHORIZED, "UNKNOWN", TOKEN + "unexpected status: 401 Unauthorized"),
    (REGISTRY, Reason.UNAUTHORIZED, "UNKNOWN", TOKEN_2 + "403 Forbidden"),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + "invalid character '<' looking for beginning of value",
    ),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        RESOLVE + "pull access denied, repository does not exist or may require authorization: "
        "server message: insufficient_scope: authorization failed",
    ),
    # What the node has lost.
    (
        CONTENT,
        Reason.UNKNOWN,
        "NOT_FOUND",
        FAILED + f"blob sha256:c245 expected at {ROOT}.content.v1.content/blobs/sha256/c245: blob "
        "not found: not found",
    ),
    (
        SNAPSHOTTER,
        Reason.UNKNOWN,
        "UNKNOWN",
        FAILED + 'failed to prepare extraction snapshot "extract-907970003-ybEs sha256:d7cb": '
        f"failed to stat parent: stat {ROOT}.snapshotter.v1.overlayfs/snapshots/14/fs: "
        "no such file or directory",
    ),
    (
        SNAPSHOTTER,
        Reason.UNKNOWN,
        "NOT_FOUND",
        FAILED + "failed to prepare extraction snapshot: parent snapshot sha256:d7cb does not "
        "exist: not found",
    ),
    (
        SNAPSHOTTER,
        Reason.UNKNOWN,
        "NOT_FOUND",
        FAILED + "failed to stat snapshot: snapshot sha256:d7cb does not exist: not found",
    ),
    # Not what was promised.
    (
        CONTENT,
        Reason.CORRUPT_IMAGE,
        "FAILED_PRECONDITION",
        FAILED + 'failed commit on ref "layer-sha256:475a": "layer-sha256:475a" failed size '
        "validation: 10263 != 10256: failed precondition",
    ),
    (
        UNPACKER,
        Reason.CORRUPT_IMAGE,
        "UNKNOWN",
        FAILED + "failed to extract layer sha256:8c95: mount callback failed on /run/mount71: "
        "unexpected EOF: unknown",
    ),
    (
        UNPACKER,
        Reason.CORRUPT_IMAGE,
        "UNKNOWN",
        FAILED + "failed to extract layer sha256:8c95: mount callback failed on /run/mount71: "
        "unpigz: skipping: <stdin>: corrupted -- incomplete deflate data: exit status 1: unknown",
    ),
    # The way to the registry.
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '/manifests/{tag}": context deadline '
        "exceeded",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '/manifests/{tag}": Forbidden',
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '/manifests/{tag}": Proxy Authentication '
        "Required",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        FAILED + "failed to copy: stream error: stream ID 7; INTERNAL_ERROR; received from peer",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        FAILED + "failed to copy: write on body: use of closed network connection",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "UNKNOWN",
        RESOLVE + 'failed to do request: Head "' + URL + '/manifests/{tag}": net/http: TLS '
        "handshake timeout",
    ),
    # A signed address that has expired, and a registry that refuses.
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        OPEN + "unexpected status code " + URL + "/blobs/sha256:8d84: 403 Forbidden",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        OPEN + f"unexpected status from GET request to {SIGNED}: 403 Forbidden",
    ),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        OPEN + "unexpected status code " + URL + "/blobs/sha256:8c42: 403 Forbidden - Server "
        "message: denied: manifest unknown: 503 Service Unavailable",
    ),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        "UNKNOWN",
        OPEN + "unexpected status from GET request to " + URL + "/blobs/sha256:8c42: 403 Forbidden"
        "\ndenied: no space left on device",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE + "pulling from host {host} failed with status code [manifests {tag}]: 410 Gone",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        "UNKNOWN",
        RESOLVE_2 + "unexpected status from GET request to " + URL + "/manifests/{tag}: 405 Method "
        "Not Allowed",
    ),
    (REGISTRY, Reason.IMAGE_NOT_FOUND, "", "unexpected status code " + URL + ": 404 Not Found"),
    (REGISTRY, Reason.RATE_LIMITED, "", "denied: You have reached your pull rate limit"),
    (REGISTRY, Reason.REGISTRY_ERROR, "", "unexpected status"),
    (RUNTIME, Reason.STALLED, "CANCELLED", "stream terminated by RST_STREAM with CANCEL"),
    # A code that says nothing about an image says nothing at all.
    (None, Reason.UNKNOWN, "NOT_FOUND", FAILED + "something: not found"),
    (None, Reason.UNKNOWN, "PERMISSION_DENIED", FAILED + "mount /run/mount71: permission denied"),
    (None, Reason.UNKNOWN, "UNIMPLEMENTED", FAILED + "not implemented"),
]
