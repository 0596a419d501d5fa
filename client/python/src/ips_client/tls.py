"""Whom to trust: the system's store, unless a file is named."""

from __future__ import annotations

import os
import ssl

import truststore


def context(
    ca: str | None = None,
    cert: str | None = None,
    key: str | None = None,
    *,
    insecure: bool = False,
) -> ssl.SSLContext:
    """What a TLS connection is made with; names are those of PEM files.

    ``ca`` holds the authorities to trust and no others. Without it they are those of
    ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` where one of them is set, else the system's. ``cert``
    (with ``key``, if that is a file of its own) is what the client shows of itself. ``insecure``
    trusts whoever answers. Raises ValueError for a file that cannot be used.
    """
    if key and not cert:
        raise ValueError("a key is of no use without its certificate")
    if insecure:
        made = ssl.create_default_context()
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    else:
        made = _trusting(ca)
    if cert:
        try:
            made.load_cert_chain(cert, key, password=_no_password)
        except (OSError, ValueError) as why:
            names = cert if key is None else f"{cert}, {key}"
            raise ValueError(f"{names}: no certificate with its key ({_words(why)})") from None
    return made


def _trusting(ca: str | None) -> ssl.SSLContext:
    file = ca or os.environ.get("SSL_CERT_FILE") or None
    folder = None if ca else os.environ.get("SSL_CERT_DIR") or None
    if file is None and folder is None:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        made.load_verify_locations(cafile=file, capath=folder)
    except OSError as why:
        raise ValueError(f"{file or folder}: no certificates to trust ({_words(why)})") from None
    return made


def _no_password() -> str:
    """Refuse a key that is encrypted: OpenSSL would ask the terminal for its password."""
    raise ValueError("the key is encrypted")


def _words(why: Exception) -> str:
    return getattr(why, "strerror", None) or str(why)
