"""Self-signed certificates for registries that serve https to tests."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key as PEM files; whoever is to trust it takes it as its own CA."""

    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        """Make what a server needs to present it."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Make what a client needs to trust it and nothing else."""
        return ssl.create_default_context(cafile=str(self.certificate))


def self_signed(folder: Path, addresses: Sequence[str] = ("127.0.0.1",)) -> Certificate:
    """Make a certificate for IP addresses in a folder, good for a day, with openssl(1)."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    names = ",".join(f"IP:{address}" for address in addresses)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += [
        "-nodes",
        "-days",
        "1",
        "-subj",
        "/CN=sandbox",
        "-addext",
        f"subjectAltName={names}",
    ]
    command += ["-keyout", str(made.key), "-out", str(made.certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return made
