"""An authority of the installation's own, which vouches for its NATS servers and nobody else.

ECDSA on P-256: a handshake costs a server a third of what RSA costs (measured). Certificates say
what ``VERIFY_X509_STRICT`` asks for (RFC 5280, 4.2), which Python sets from 3.13 on.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final, NamedTuple, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
AUTHORITY_LEFT: Final = timedelta(days=730)
"""Signed anew, by the same key, when less is left: whoever trusts the one trusts the other."""
SERVER_LIFE: Final = timedelta(days=90)
SERVER_LEFT: Final = timedelta(days=30)
"""Made anew when less is left."""
_CLOCKS_DIFFER: Final = timedelta(hours=1)
_NAME: Final = x509.Name(
    [x509.NameAttribute(NameOID.COMMON_NAME, "Image Prewarm Service, NATS servers")]
)

_NO_CERTIFICATE: Final = (
    *(ValueError, TypeError, UnsupportedAlgorithm),
    *(InvalidSignature, x509.ExtensionNotFound),
)
"""What a certificate or key of others can raise."""


class Pair(NamedTuple):
    """A certificate and its private key, both PEM."""

    certificate: str
    key: str


class Authority:
    """Its certificate, and the key that signs others."""

    def __init__(self, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self._certificate = certificate
        self._key = key

    @classmethod
    def new(cls, now: datetime) -> Self:
        """With a key that nobody has."""
        return cls._signed(ec.generate_private_key(ec.SECP256R1()), now)

    @classmethod
    def read(cls, pair: Pair) -> Self:
        """From PEM. Raises ValueError."""
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
            key = load_pem_private_key(pair.key.encode(), password=None)
            is_of_key = certificate.public_key() == key.public_key()
        except (TypeError, UnsupportedAlgorithm) as why:  # a key with a password, say
            raise ValueError(f"the authority's key or certificate cannot be used: {why}") from why
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is none of an elliptic curve")  # noqa: TRY004
        if not is_of_key:
            raise ValueError("the authority's certificate is of another key")
        return cls(certificate, key)

    @property
    def pair(self) -> Pair:
        """As PEM."""
        return _pair(self._certificate, self._key)

    def kept_up(self, now: datetime, left: timedelta = SERVER_LEFT) -> Self:
        """The same, or with another certificate where it ends soon or is not valid yet.

        Raises ValueError where it is somebody's own, and is not good for longer than ``left``.
        """
        is_own = self._certificate.subject == self._certificate.issuer == _NAME
        if _lasts(self._certificate, now, AUTHORITY_LEFT if is_own else left):
            return self
        if not is_own:
            raise ValueError(
                "the authority's certificate, which is not the coordinator's own to renew, is "
                f"good from {self._certificate.not_valid_before_utc} to "
                f"{self._certificate.not_valid_after_utc}: put another one there"
            )
        return self._signed(self._key, now)

    @classmethod
    def _signed(cls, key: ec.EllipticCurvePrivateKey, now: datetime) -> Self:
        usage = _usage(signs_certificates=True)
        certificate = (
            _begun(_NAME, _NAME, key.public_key(), now + AUTHORITY_LIFE, now)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    # ── servers ──

    def issue(self, hosts: Collection[str], now: datetime) -> Pair:
        """A certificate for a server of these names and addresses, as a client of others, too."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nats")])
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        issuer = self._certificate.subject
        ends = min(now + SERVER_LIFE, self._certificate.not_valid_after_utc)
        authority = self._key_identifier()
        certificate = (
            _begun(subject, issuer, key.public_key(), ends, now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
            .add_extension(authority, critical=False)
            .add_extension(_names(hosts), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pair(certificate, key)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        """As the authority's certificate has it: somebody's own may count it in another way."""
        try:
            own = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
        except x509.ExtensionNotFound:
            return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own.value)

    def vouches_for(self, pair: Pair, hosts: Collection[str], now: datetime) -> bool:
        """Whether a server's certificate is of this authority, for all these, and lasts."""
        with suppress(*_NO_CERTIFICATE):
            certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
            certificate.verify_directly_issued_by(self._certificate)
            key = load_pem_private_key(pair.key.encode(), password=None)
            named = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            return (
                certificate.public_key() == key.public_key()
                and set(_names(hosts)) <= set(named.value)
                and _lasts(certificate, now, SERVER_LEFT)
            )
        return False


def _lasts(certificate: x509.Certificate, now: datetime, left: timedelta) -> bool:
    """Whether it is valid, for longer than that. One whose maker's clock was ahead is not yet."""
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - left


def is_of_one_key(certificate: str, other: str) -> bool:
    """Whether whoever trusts the one certificate trusts what the other's key signs. Both PEM."""
    if certificate.strip() == other.strip():
        return True
    with suppress(*_NO_CERTIFICATE):
        both = [x509.load_pem_x509_certificate(text.encode()) for text in (certificate, other)]
        return both[0].public_key() == both[1].public_key()
    return False


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    ends: datetime,
    now: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCKS_DIFFER)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Collection[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([_name(host) for host in hosts])


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Pair(certificate.public_bytes(Encoding.PEM).decode(), private.decode())
