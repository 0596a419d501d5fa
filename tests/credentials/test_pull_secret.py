"""Secrets of Kubernetes with logins of registries, as the API server shows them."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from common.docker_config import ImagePattern
from common.image_reference import ImageReference
from common.messages import NOT_DECODABLE
from coordinator.credentials.pull_secret import (
    LONGEST_ENTRY_NAME,
    MOST_ENTRIES,
    PullSecretError,
    decode_pull_secret,
    is_pull_secret,
)
from tests.credentials.secrets import CANARY, CONFIG, secret

pytestmark = pytest.mark.pure

IMAGE = ImageReference.parse("reg.example/team/app:1")


@pytest.mark.parametrize(
    "text", ["shop/regcred", "s/r", "a-1/b.c-2.d", f"{'n' * 63}/{'.'.join(['s' * 63] * 3)}"]
)
def test_a_name(text: str) -> None:
    """A namespace's and a Secret's, as Kubernetes allows them."""
    assert is_pull_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "regcred",
        "/regcred",
        "shop/",
        "shop/a/b",
        "Shop/regcred",
        "shop/../x",
        "shop/a?b",
        "sh.op/regcred",
        "shop/regcred\n",
        f"{'n' * 64}/a",
        f"a/{'s' * 254}",
        "shop/-a",
        "shop/a..b",
        "shop/a%2fb",
    ],
)
def test_no_name(text: str) -> None:
    """It becomes a path of the API server."""
    assert not is_pull_secret(text)


@pytest.mark.parametrize("kind", ["dockerconfigjson", "dockercfg"])
def test_either_type(kind: str) -> None:
    """Nothing of what is in it is shown by what was read."""
    found = decode_pull_secret("shop/regcred", json.dumps(secret(kind=kind)).encode())
    [login] = found.config.matching(IMAGE)
    assert (login.username, login.password) == ("ci", CANARY)
    assert (found.name, found.version) == ("shop/regcred", "u1/7")
    assert CANARY not in repr(found)


OTHER_KINDS = ["Opaque", "kubernetes.io/service-account-token", "kubernetes.io/tls", ""]


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_another_type_is_refused(kind: str) -> None:
    """Whatever is in it: no other Secret leaves the coordinator."""
    body = secret() | {"type": kind}
    with pytest.raises(PullSecretError) as refused:
        decode_pull_secret("shop/regcred", json.dumps(body).encode())
    assert (refused.value.text.code, refused.value.text.params["name"]) == (
        "pullSecret.kind",
        "shop/regcred",
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {".dockercfg": b64encode(json.dumps(CONFIG).encode()).decode()},
        {".dockerconfigjson": "%%%"},
        {".dockerconfigjson": None},
        {".dockerconfigjson": b64encode(b"[]").decode()},
        {".dockerconfigjson": b64encode(b'{"auths": 5}').decode()},
        {".dockerconfigjson": b64encode(b'{"x":' + b"[" * 10_000).decode()},
        {".dockerconfigjson": b64encode(CANARY.encode()).decode()},
    ],
)
def test_what_is_no_configuration(data: dict[str, Any]) -> None:
    """The error repeats nothing of it."""
    with pytest.raises(PullSecretError) as refused:
        decode_pull_secret("shop/regcred", json.dumps(secret() | {"data": data}).encode())
    assert refused.value.text.code == "pullSecret.unreadable"
    assert CANARY not in str(refused.value)


@pytest.mark.parametrize("kind", ["dockerconfigjson", "dockercfg"])
@pytest.mark.parametrize(
    ("names", "fits"),
    [
        ([f"{n}.example" for n in range(MOST_ENTRIES)], True),
        ([f"{n}.example" for n in range(MOST_ENTRIES + 1)], False),
        ([f"https://{n}@reg.example" for n in range(MOST_ENTRIES + 1)], False),
        ([f"reg.example/{'a' * (LONGEST_ENTRY_NAME - 12)}"], True),
        (["*a" * 250 + ".x"], False),
    ],
    ids=["most", "one more", "of one registry", "longest", "too long"],
)
def test_how_much_a_secret_may_hold(kind: str, names: list[str], fits: bool) -> None:
    """Each entry is compared with every image of a task, by the leader itself."""
    body = json.dumps(secret(dict.fromkeys(names, CONFIG["auths"]["reg.example"]), kind)).encode()
    if fits:
        assert len(decode_pull_secret("shop/regcred", body).config.logins) == len(names)
        return
    with pytest.raises(PullSecretError) as refused:
        decode_pull_secret("shop/regcred", body)
    assert refused.value.text.code == "pullSecret.tooMany"


def test_patterns_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many images are looked up."""
    auths = {f"{n}.example": CONFIG["auths"]["reg.example"] for n in range(20)}
    found = decode_pull_secret("shop/regcred", json.dumps(secret(auths)).encode())
    parsed: list[str] = []
    parse = ImagePattern.parse

    def counted(text: str) -> ImagePattern:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(ImagePattern, "parse", counted)
    for n in range(10):
        assert len(list(found.config.matching(ImageReference.parse(f"{n}.example/a")))) == 1
    assert len(parsed) == 10


@pytest.mark.parametrize("body", [b"", b"[]", b'{"metadata": 5}', b'{"metadata": {}, "data": []}'])
def test_what_is_no_secret_at_all(body: bytes) -> None:
    """That is the API server's fault."""
    with pytest.raises(NOT_DECODABLE):
        decode_pull_secret("shop/regcred", body)
