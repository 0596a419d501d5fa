"""What the Secrets of NATS are to hold: what is missing is made, what ends is renewed."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from coordinator.callout.signing_key import SigningKey, new_seed
from coordinator.nats_secrets import contents
from coordinator.nats_secrets.authority import SERVER_LEFT, SERVER_LIFE, Authority, Pair
from coordinator.nats_secrets.contents import Contents, SecretData

pytestmark = pytest.mark.pure

NOW = datetime(2026, 11, 30, tzinfo=UTC)
HOSTS = ("ips-nats", "ips-nats.ips-system.svc", "*.ips-nats-peers", "127.0.0.1", "::1")
NOTHING = SecretData(None)
UNKNOWN_KEY = """-----BEGIN PRIVATE KEY-----
MBACAQAwBQYDKgMEBAQEAmFi
-----END PRIVATE KEY-----"""
"""Of an algorithm that nobody knows."""


def held(made: Contents, **other: str) -> SecretData:
    """As the API server gives it back."""
    return SecretData(contents.encoded({**made, **other}))


def both(
    now: datetime = NOW, *, before: tuple[SecretData, SecretData] = (NOTHING, NOTHING)
) -> list[Contents]:
    """The coordinators' Secret, and the servers'."""
    own = contents.of_coordinators(before[0], now, tls=True)
    return [own, contents.of_servers(before[1], own, HOSTS, now)]


def certificate(made: Contents) -> x509.Certificate:
    """What the servers show."""
    return x509.load_pem_x509_certificate(made["tls.crt"].encode())


def with_password(key: str) -> str:
    """The same key, as many tools write it."""
    encryption = BestAvailableEncryption(b"secret")
    private = load_pem_private_key(key.encode(), password=None)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def test_where_there_is_nothing_everything_is_made() -> None:
    """Agents get the authority's certificate alone; no word is one that NATS reads as a number."""
    own, served = both()
    assert sorted(own) == ["ca.crt", "ca.key", "callout-key"]
    assert sorted(served) == ["ca.crt", "issuer", "route", "tls.crt", "tls.key", "token"]
    assert contents.of_agents(own) == {"ca.crt": own["ca.crt"]}
    assert served["ca.crt"] == own["ca.crt"]
    assert served["issuer"] == SigningKey(own["callout-key"]).issuer
    assert served["token"][0] == served["route"][0] == "t"
    assert len({served["token"], served["route"]}) == 2
    for secret in ("ca.key", "callout-key"):
        assert own[secret] not in "".join(served.values())


def test_what_is_there_stays() -> None:
    """Asked again, nothing changes; and what others keep in there is not looked at."""
    own, served = both()
    again = both(NOW + timedelta(days=1), before=(held(own), held(served, other="theirs")))
    assert again == [own, served]
    assert contents.changes(held(served), served) == {}


def test_the_token_of_the_version_before_stays_and_the_rest_is_added() -> None:
    """Whoever has it goes on being let in, while agents are replaced."""
    _, served = both(before=(NOTHING, held({"token": "of-before"})))
    assert served["token"] == "of-before"
    assert "token" not in contents.changes(held({"token": "of-before"}), served)
    assert served["route"] != "of-before"
    assert contents.of_servers(held({"token": "mine"}), None, HOSTS, NOW) == {"token": "mine"}


def test_a_certificate_is_made_anew_a_month_before_it_ends() -> None:
    """Of the same authority, so that whoever trusted the old one trusts the new one."""
    own, served = both()
    ends = certificate(served).not_valid_after_utc
    assert ends == NOW + SERVER_LIFE
    before = (held(own), held(served))
    soon = ends - SERVER_LEFT
    assert both(soon - timedelta(seconds=1), before=before)[1]["tls.crt"] == served["tls.crt"]
    renewed = both(soon, before=before)[1]
    assert certificate(renewed).not_valid_after_utc == soon + SERVER_LIFE
    assert renewed["tls.key"] != served["tls.key"]
    assert {key for key in renewed if renewed[key] != served[key]} == {"tls.crt", "tls.key"}


def test_what_a_clock_that_was_ahead_has_made_a_right_one_makes_anew() -> None:
    """Nobody takes a certificate that is not valid yet, the authority's no more than a server's."""
    ahead = NOW + timedelta(days=1)
    before = both(ahead)
    own, served = both(before=(held(before[0]), held(before[1])))
    for made in (own, served):
        issued = x509.load_pem_x509_certificate((made.get("tls.crt") or made["ca.crt"]).encode())
        assert issued.not_valid_before_utc < NOW
    assert own["ca.key"] == before[0]["ca.key"]
    assert both(NOW + timedelta(hours=1), before=(held(own), held(served))) == [own, served]


@pytest.mark.parametrize("change", ["host", "authority", "key", "rubbish"])
def test_a_certificate_that_does_not_fit_is_made_anew(change: str) -> None:
    """Of other names, of another authority, of another key, or none at all."""
    own, served = both()
    other = dict(served)
    hosts: tuple[str, ...] = HOSTS
    match change:
        case "host":
            hosts = (*HOSTS, "b-ips-nats")
        case "authority":
            own = both()[0]
        case "key":
            other["tls.key"] = both()[1]["tls.key"]
        case _:
            other["tls.crt"] = "rubbish"
    made = contents.of_servers(held(other), own, hosts, NOW)
    assert made["tls.crt"] != other["tls.crt"]
    authority = Authority.read(Pair(own["ca.crt"], own["ca.key"]))
    assert authority.vouches_for(Pair(made["tls.crt"], made["tls.key"]), hosts, NOW)


def test_an_authority_that_ends_is_signed_anew_by_the_same_key() -> None:
    """A server's certificate of before is good for whoever has the new one, and the other way."""
    own, served = both()
    later = NOW + timedelta(days=3650 - 700)
    renewed = contents.of_coordinators(held(own), later, tls=True)
    assert renewed["ca.crt"] != own["ca.crt"]
    assert renewed["ca.key"] == own["ca.key"]
    for trusted in (own, renewed):
        issuer = x509.load_pem_x509_certificate(trusted["ca.crt"].encode())
        certificate(served).verify_directly_issued_by(issuer)
        context = ssl.create_default_context(cadata=trusted["ca.crt"])
        assert context.cert_store_stats()["x509_ca"] > 0


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"ca.key": with_password(both()[0]["ca.key"])}, "password|encrypted"),
        ({"ca.key": UNKNOWN_KEY}, "cannot be used"),
        ({"callout-key": "no-seed"}, "no seed"),
        ({"ca.crt": "rubbish", "ca.key": "rubbish"}, "PEM"),
        ({"ca.key": both()[0]["ca.key"]}, "another key"),
    ],
)
def test_what_is_there_and_cannot_be_used_is_an_error(wrong: Contents, why: str) -> None:
    """It may be somebody's own: nothing is written over it."""
    own = {**both()[0], **wrong}
    with pytest.raises(ValueError, match=why):
        contents.of_coordinators(held(own), NOW, tls=True)


def admins_own(days: int, **extensions: x509.ExtensionType) -> Contents:
    """The coordinators' Secret with an authority that somebody else has made."""
    key = ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp, services")])
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Example Corp")])
    builder = x509.CertificateBuilder(
        issuer_name=root,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=7,
        not_valid_before=NOW - timedelta(days=1),
        not_valid_after=NOW + timedelta(days=days),
    ).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    for extension in extensions.values():
        builder = builder.add_extension(extension, critical=False)
    signed = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {"callout-key": new_seed(), "ca.crt": signed, "ca.key": private}


def test_an_authority_of_somebodys_own_signs_by_its_name_and_is_never_replaced() -> None:
    """Whoever checks a chain looks for the issuer by its name, and by its key's id."""
    own = admins_own(60, key=x509.SubjectKeyIdentifier(b"of-theirs"))
    kept = contents.of_coordinators(held(own), NOW, tls=True)
    assert kept["ca.crt"].strip() == own["ca.crt"].strip()
    served = contents.of_servers(NOTHING, kept, HOSTS, NOW)
    authority = x509.load_pem_x509_certificate(own["ca.crt"].encode())
    issued = certificate(served)
    assert issued.issuer == authority.subject
    issued.verify_directly_issued_by(authority)
    assert issued.not_valid_after_utc == authority.not_valid_after_utc
    by_key = issued.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert by_key.key_identifier == b"of-theirs"
    assert contents.of_servers(held(served), kept, HOSTS, NOW) == served


def test_an_authority_of_somebodys_own_that_ends_is_an_error_in_time() -> None:
    """It is for them to renew; the words say until when it is good."""
    own = held(admins_own(60))
    for now in (NOW + timedelta(days=30), NOW - timedelta(days=2)):
        with pytest.raises(ValueError, match=r"2027-01-29.*put another one there"):
            contents.of_coordinators(own, now, tls=True)
    ending = NOW + timedelta(days=31)
    contents.of_coordinators(own, ending, tls=True, left=timedelta())
    with pytest.raises(ValueError, match="put another one there"):
        contents.of_coordinators(own, NOW + timedelta(days=60), tls=True, left=timedelta())


def test_a_secret_without_a_token_or_with_one_that_is_no_text_is_an_error() -> None:
    """As it always was."""
    own = both()[0]
    with pytest.raises(ValueError, match="it has no key 'token'"):
        contents.of_servers(held({"other": "x"}), own, HOSTS, NOW)
    for data in ("/w==", "no base64"):
        with pytest.raises(ValueError, match="holds no text"):
            contents.of_servers(SecretData({"token": data}), own, HOSTS, NOW)


def test_without_tls_there_are_no_certificates() -> None:
    """The coordinators' key alone."""
    own = contents.of_coordinators(NOTHING, NOW, tls=False)
    assert list(own) == ["callout-key"]
    served = contents.of_servers(NOTHING, own, HOSTS, NOW)
    assert sorted(served) == ["issuer", "route", "token"]
    kept = contents.of_coordinators(held({"callout-key": new_seed()}), NOW, tls=True)
    assert kept["ca.key"]
