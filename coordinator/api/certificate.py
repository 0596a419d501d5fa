"""The API's certificate, taken anew from its files when they change: no restart for a renewal."""

from __future__ import annotations

import ssl
from pathlib import Path

from common.logs import Log

log = Log(__name__)


class CertificateError(ValueError):
    """Certificate and key cannot be used; the text says why."""


class ServedCertificate:
    """``context`` is for a server; whoever connects gets what the files hold by then.

    Two files are never replaced at one moment: while they do not fit, the last good ones stay.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises CertificateError."""
        self._files = certificate, key
        self._seen = self._state()
        self.context = self._current = self._load()
        self.context.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Called in each handshake, whether or not the client names a host."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            try:
                self._current = self._load()
            except CertificateError as why:
                log.warning("a certificate is not taken; the last good one stays", why=str(why))
            else:
                log.info("a certificate was read anew", path=str(self._files[0]))
        connection.context = self._current

    def _state(self) -> list[tuple[int, int, int] | None]:
        """What changes with a file, also where a mounted Secret is replaced by a link."""
        return [_state_of(file) for file in self._files]

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(*self._files, password=_no_password)
        except (OSError, ValueError) as why:  # ssl's own error is an OSError
            certificate, key = self._files
            said = why.strerror or str(why) if isinstance(why, OSError) else str(why)
            raise CertificateError(f"{certificate} and {key}: {said}") from why
        return context


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _no_password() -> str:
    """Instead of a question on the terminal."""
    raise ValueError("the key is encrypted")
