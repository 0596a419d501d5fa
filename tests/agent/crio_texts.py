"""Texts of CRI-O, as its library has them, each with who speaks in it; see text_of."""

from __future__ import annotations

from agent.runtime.failures import Speaker
from common.reasons import Reason

RUNTIME, REGISTRY, CONTENT, _, UNPACKER = Speaker
SOURCE = "initializing source docker://{ref}: "
MANIFEST = SOURCE + "reading manifest {tag} in {host}/{repository}: "
PING = SOURCE + 'pinging container registry {host}: Get "https://{host}/v2/": '
COPY = "copying system image from manifest list: "

CRI_O = [
    (REGISTRY, Reason.IMAGE_NOT_FOUND, MANIFEST + "manifest unknown"),
    (REGISTRY, Reason.IMAGE_NOT_FOUND, MANIFEST + "name unknown: repository not found"),
    (REGISTRY, Reason.IMAGE_NOT_FOUND, MANIFEST + "StatusCode: 404, not here"),
    (REGISTRY, Reason.UNAUTHORIZED, MANIFEST + "unauthorized: authentication required"),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        MANIFEST + "errors:\ndenied: requested access to the resource is denied\nunauthorized: "
        "authentication required\n",
    ),
    (REGISTRY, Reason.UNAUTHORIZED, MANIFEST + "denied: your token is for another project"),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        SOURCE + "unable to retrieve auth token: invalid username/password: unauthorized: "
        "incorrect username or password",
    ),
    (
        REGISTRY,
        Reason.UNAUTHORIZED,
        SOURCE + "Requesting bearer token: invalid status code from registry 403 (Forbidden)",
    ),
    (
        REGISTRY,
        Reason.RATE_LIMITED,
        MANIFEST + "toomanyrequests: You have reached your pull rate limit.",
    ),
    (REGISTRY, Reason.RATE_LIMITED, MANIFEST + "too many requests to registry"),
    (
        REGISTRY,
        Reason.RATE_LIMITED,
        SOURCE + "Requesting bearer token: received unexpected HTTP status: 429 Too Many Requests",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        MANIFEST + "received unexpected HTTP status: 503 Service Unavailable",
    ),
    (REGISTRY, Reason.REGISTRY_ERROR, MANIFEST + "StatusCode: 502, <html>Bad gateway</html>"),
    (REGISTRY, Reason.REGISTRY_ERROR, MANIFEST + "StatusCode: 418, teapot"),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        SOURCE + "Requesting bearer token: invalid status code from registry 405 (Method Not "
        "Allowed)",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        MANIFEST + "parsing HTTP 404 response body: invalid character '<' looking for beginning of "
        'value: "<html>Sign in</html>"',
    ),
    (
        REGISTRY,
        Reason.REGISTRY_ERROR,
        COPY + "reading blob sha256:0b07: fetching blob: invalid status code from registry 403 "
        "(Forbidden)",
    ),
    (
        REGISTRY,
        Reason.IMAGE_NOT_FOUND,
        COPY + "reading blob sha256:0b07: Error fetching blob: invalid status code from registry "
        "404 (Not Found)",
    ),
    (
        REGISTRY,
        Reason.REGISTRY_UNREACHABLE,
        "RegistryUnavailable: " + PING + "dial tcp 10.0.0.1:5000: connect: connection refused",
    ),
    (REGISTRY, Reason.REGISTRY_UNREACHABLE, PING + "dial tcp: lookup {hostname}: no such host"),
    (REGISTRY, Reason.REGISTRY_UNREACHABLE, PING + "context deadline exceeded"),
    (REGISTRY, Reason.TLS_ERROR, PING + "http: server gave HTTP response to HTTPS client"),
    (
        REGISTRY,
        Reason.TLS_ERROR,
        PING + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
    ),
    (
        RUNTIME,
        Reason.PLATFORM_MISMATCH,
        (
            "choosing an image from manifest list docker://{ref}: no image found in image "
            "index for "
            'architecture "amd64", variant "", OS "linux"'
        ),
    ),
    (
        RUNTIME,
        Reason.PLATFORM_MISMATCH,
        (
            "choosing image instance: no image found in manifest list for architecture "
            "amd64, variant "
            '"", OS linux'
        ),
    ),
    (
        RUNTIME,
        Reason.PLATFORM_MISMATCH,
        'copying system image: image operating system "windows" cannot be used on "linux"',
    ),
    (
        RUNTIME,
        Reason.UNSUPPORTED_IMAGE,
        (
            "parsing image configuration: unsupported image-specific operation on artifact "
            "with type "
            '"application/vnd.cncf.helm.config.v1+json"'
        ),
    ),
    (RUNTIME, Reason.UNSUPPORTED_IMAGE, SOURCE + "unsupported manifest schema version 1"),
    (
        RUNTIME,
        Reason.UNSUPPORTED_IMAGE,
        (
            "SignatureValidationFailed: Source image rejected: A signature was required, but no "
            "signature exists"
        ),
    ),
    (RUNTIME, Reason.INVALID_REFERENCE, "parsing the name: invalid reference format"),
    (
        RUNTIME,
        Reason.INVALID_REFERENCE,
        (
            'short-name "app:1" did not resolve to an alias and no unqualified-search '
            "registries are defined in /etc/containers/registries.conf"
        ),
    ),
    (
        CONTENT,
        Reason.DISK_FULL,
        COPY + 'writing blob: storing blob to file "/var/tmp/storage1/2": write /var/tmp/storage1/2'
        ": no space left on device",
    ),
    (
        CONTENT,
        Reason.DISK_FULL,
        COPY + "writing blob: adding layer with blob sha256:0b07: processing tar file(write /data: "
        "no space left on device): exit status 1",
    ),
    (
        CONTENT,
        Reason.CORRUPT_IMAGE,
        COPY + "writing blob: Digest did not match, expected sha256:0b07, got sha256:6c26",
    ),
    (
        CONTENT,
        Reason.CORRUPT_IMAGE,
        SOURCE + "manifest does not match provided manifest digest sha256:0b07",
    ),
    (
        UNPACKER,
        Reason.CORRUPT_IMAGE,
        COPY + "writing blob: adding layer with blob sha256:0b07: processing tar file(unexpected "
        "EOF): exit status 1",
    ),
    (
        UNPACKER,
        Reason.CORRUPT_IMAGE,
        COPY + "writing blob: layer sha256:0b07 does not match config's DiffID sha256:6c26",
    ),
    (RUNTIME, Reason.STALLED, COPY + "writing blob: context canceled"),
]
