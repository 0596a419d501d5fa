from __future__ import annotations

import pytest

from common.labels import is_label_key, is_label_value


@pytest.mark.parametrize(
    "key", ["a", "A.b_c-9", "a" * 63, "example.com/a", "kubernetes.io/os", "a" * 253 + "/a"]
)
def test_keys(key: str) -> None:
    """A key is a name, with a DNS subdomain before it at most."""
    assert is_label_key(key)


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "a/", "/a", "a/b/c", "-a", "a-", "_a", "a b", "a=", "\u00e4", "a\n"),
        *("a" * 64, "A.com/a", "a_b/c", "a" * 254 + "/a", "*"),
    ],
)
def test_no_keys(key: str) -> None:
    """Kubernetes refuses these keys, and so does this."""
    assert not is_label_key(key)


@pytest.mark.parametrize("value", ["", "a", "0", "A.b_c-9", "a" * 63])
def test_values(value: str) -> None:
    """A value may be empty."""
    assert is_label_value(value)


@pytest.mark.parametrize("value", ["-a", "a-", ".", "a b", "a/b", "a" * 64, "\u0661", "a\n"])
def test_no_values(value: str) -> None:
    """Kubernetes refuses these values, and so does this."""
    assert not is_label_value(value)
