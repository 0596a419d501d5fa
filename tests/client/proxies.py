"""A real HTTP proxy, the program ``proxy`` of proxy.py, and certificates for both ends of TLS."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from sandbox.child import Child
from tests.client.conftest import eventually


class Proxy(Child):
    """Connects (CONNECT) and forwards, on loopback; with ``credentials`` it demands them."""

    def __init__(self, folder: Path, credentials: str | None = None) -> None:
        folder.mkdir()
        self._port_file = folder / "port"
        command = [sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0"]
        command += ["--port-file", str(self._port_file), "--num-workers", "1", "--threaded"]
        command += ["--num-acceptors", "1", "--data-dir", str(folder), "--log-level", "INFO"]
        if credentials is not None:
            command += ["--basic-auth", credentials]
        super().__init__(command, folder / "proxy.log")

    def serve(self) -> str:
        """Start it; its address."""
        self.start()
        eventually(lambda: self._port_file.exists() and self._port_file.read_text().strip() != "")
        return f"127.0.0.1:{self._port_file.read_text().strip()}"


@dataclass(frozen=True)
class Authority:
    """A certificate authority, and what it has signed for 127.0.0.1: PEM files."""

    ca: Path
    certificate: Path
    key: Path


def make_authority(folder: Path) -> Authority:
    """Make one with openssl(1); the certificate is good for servers and for clients."""
    made = Authority(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    own = ["-keyout", str(folder / "ca.key"), "-out", str(made.ca), "-subj", "/CN=authority"]
    _openssl("req", "-x509", *ec, *own)
    _openssl(
        *("req", "-x509", *ec, "-CA", str(made.ca), "-CAkey", str(folder / "ca.key")),
        *("-keyout", str(made.key), "-out", str(made.certificate), "-subj", "/CN=somebody"),
        *("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"),
    )
    return made


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)
