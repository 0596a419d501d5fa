from __future__ import annotations

from ipaddress import ip_address

import pytest

from coordinator.access.receivers import Receivers, parse_networks

pytestmark = pytest.mark.pure

REFUSED = [
    ("127.0.0.1", "loopback"),
    ("127.9.9.9", "loopback"),
    ("::1", "loopback"),
    ("::ffff:127.0.0.1", "loopback"),
    ("64:ff9b::7f00:1", "loopback"),
    ("169.254.169.254", "link-local"),
    ("fe80::1", "link-local"),
    ("::ffff:169.254.169.254", "link-local"),
    ("64:ff9b::a9fe:a9fe", "link-local"),
    ("2002:a9fe:a9fe::1", "link-local"),
    ("fd00:ec2::254", "metadata"),
    ("100.100.100.200", "metadata"),
    ("0.0.0.0", "unspecified"),  # noqa: S104 - to be refused
    ("0.1.2.3", "unspecified"),
    ("::", "unspecified"),
    ("224.0.0.1", "multicast"),
    ("ff02::1", "multicast"),
    ("255.255.255.255", "reserved"),
    ("240.0.0.1", "reserved"),
]
OTHER_FORMS = ["127.1", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "[::1]", "::1%lo"]
PRIVATE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd12::1", "::ffff:10.0.0.1"]
PUBLIC = ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize(("address", "kind"), REFUSED)
def test_what_is_nobodys_receiver_is_refused(address: str, kind: str) -> None:
    """In whichever form it is written; what is listed is allowed."""
    assert Receivers().refusal_of_host(address) == kind
    bits = ip_address(address).max_prefixlen
    listed = Receivers(networks=parse_networks(f"{address}/{bits}, 192.0.2.0/24"))
    assert listed.refusal_of_host(address) is None


@pytest.mark.parametrize("host", OTHER_FORMS)
def test_every_form_that_connects_is_known(host: str) -> None:
    """The system takes all of these for this machine."""
    assert Receivers().refusal_of_host(host) == "loopback"


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_as_the_setting_says(address: str) -> None:
    """Allowed, unless they are not to be."""
    assert Receivers().refusal_of_host(address) is None
    assert Receivers(private=False).refusal_of_host(address) == "private"


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    """Always."""
    assert Receivers(private=False).refusal_of_host(address) is None


def test_loopback_where_the_service_is_for_this_machine() -> None:
    """All of it, and nothing else of what is refused."""
    here = Receivers(loopback=True, private=False)
    assert here.refusal_of_host("127.0.0.1") is None
    assert here.refusal_of_host("[::1]") is None
    assert here.refusal_of_host("::ffff:127.0.0.1") is None
    assert here.refusal_of_host("169.254.169.254") == "link-local"


def test_a_name_is_not_an_address() -> None:
    """It is looked at once it is resolved."""
    for name in ("localhost", "hooks.example", "127.0.0.1.example", ""):
        assert Receivers().refusal_of_host(name) is None


@pytest.mark.parametrize("bad", ["", "10.0.0.1/8", "10.0.0.0/33", "a", "10.0.0.0/8,"])
def test_networks_are_written_as_they_are(bad: str) -> None:
    """A mask that cuts an address is a mistake."""
    with pytest.raises(ValueError, match=r"."):
        parse_networks(bad)
