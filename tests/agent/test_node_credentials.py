"""All that a node has for registries, Docker's helpers among it, as real programs."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.credential_helpers import CredentialHelpers
from agent.credential_providers import CredentialProviders
from agent.credentials import Keyring
from agent.main import node_credentials
from agent.node_credentials import NodeCredentials
from agent.runtime.protocol import Credentials, PullFailed
from agent.settings import AgentSettings
from common.lifecycle import StartupError
from tests.agent.credential_scripts import SECRET, Script, config, provider, response

IMAGE = "registry.example/team/app:1"
AUTHS = {"registry.example": {"auth": b64encode(f"file:{SECRET}".encode()).decode()}}


class Node:
    """Its files and programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.json"
        self.providers = folder / "providers.yaml"
        self.credentials = NodeCredentials(
            Keyring(self.config),
            CredentialHelpers(folder),
            CredentialProviders(self.providers, folder),
        )

    def write(self, **settings: Any) -> None:
        """Write the config.json."""
        self.config.write_text(json.dumps(settings))

    def helper(self, name: str, **answer: str) -> Script:
        """Make a helper's program."""
        script = Script(self.folder, f"docker-credential-{name}")
        script.answer(answer)
        return script

    async def found(self, image: str = IMAGE) -> list[Credentials]:
        """What would be shown, where nothing is wrong."""
        found = await self.credentials.lookup(image)
        assert found.complaint == ""
        return list(found.credentials)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node."""
    return Node(tmp_path)


async def test_a_helper_is_asked_as_docker_asks(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``get``, the registry on standard input, and nothing of ours in its environment."""
    monkeypatch.setenv("IPS_NATS_TOKEN", "canary-of-ours")
    helper = node.helper("shop", ServerURL="registry.example", Username="ci", Secret=SECRET)
    node.write(credHelpers={"https://registry.example": "shop"})
    [login] = await node.found()
    assert (login.registry, login.username, login.password) == ("registry.example", "ci", SECRET)
    assert (helper.asked, helper.arguments) == (["registry.example"], {"get"})
    assert "canary-of-ours" not in helper.environment
    assert await node.found("other.example/a") == []


@pytest.mark.parametrize("key", ["docker.io", "index.docker.io", "https://index.docker.io/v1/"])
async def test_docker_hub_has_a_name_of_its_own(node: Node, key: str) -> None:
    """By which a helper is asked, however the file calls it."""
    helper = node.helper("hub", Username="<token>", Secret=SECRET)
    node.write(credHelpers={key: "hub"})
    [login] = await node.found("nginx")
    assert (login.username, login.password, login.identity_token) == ("", "", SECRET)
    assert helper.asked == ["https://index.docker.io/v1/"]


async def test_the_store_is_for_every_other_registry(node: Node) -> None:
    """One that has a helper of its own, if only an empty one, is not its business."""
    store = node.helper("store", Username="store", Secret=SECRET)
    node.helper("own", Username="own", Secret=SECRET)
    node.write(credsStore="store", credHelpers={"registry.example": "own", "none.example": ""})
    images = (IMAGE, "none.example/a", "other.example/a")
    assert [[each.username for each in await node.found(image)] for image in images] == [
        ["own"],
        [],
        ["store"],
    ]
    assert store.asked == ["other.example"]


async def test_a_helper_that_knows_nothing(node: Node) -> None:
    """That is no fault: most images need no credentials."""
    helper = node.helper("store")
    helper.say("echo credentials not found in native keychain; exit 1")
    node.write(credsStore="store")
    assert await node.found() == []
    helper.answer({"ServerURL": "", "Username": "", "Secret": ""})
    assert await node.found() == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (f"echo {SECRET}; echo 'the keychain is locked' >&2; exit 1", "code 1"),
        (f"echo {SECRET}", "not of the form"),
        ("exec cat /dev/zero", "more than"),
    ],
)
async def test_a_helper_that_does_wrong(node: Node, body: str, why: str) -> None:
    """It is named, without what it printed, and the others are asked all the same."""
    node.helper("bad").say(body)
    Script(node.folder, "good").answer(response(**{"registry.example": "provider"}))
    node.providers.write_text(yaml.safe_dump(config(provider("good", "registry.example"))))
    node.write(auths=AUTHS, credsStore="bad")
    found = await node.credentials.lookup(IMAGE)
    assert [each.username for each in found.credentials] == ["file", "provider"]
    assert found.complaint.startswith("docker-credential-bad: ")
    assert why in found.complaint
    assert SECRET not in found.complaint


@pytest.mark.parametrize("name", ["missing", "../shop", "a b", "-x", "x" * 200, "shop\n"])
async def test_a_helper_that_is_not_there(node: Node, name: str) -> None:
    """Nor is one that is named as no program of that folder can be."""
    node.helper("shop", Username="ci", Secret=SECRET)
    node.write(credsStore=name)
    found = await node.credentials.lookup(IMAGE)
    assert found.credentials == []
    assert found.complaint == f"docker-credential-{name}: there is no such program"


@pytest.mark.parametrize(
    "settings",
    [{"credsStore": 5}, {"credHelpers": ["a"]}, {"credHelpers": {"a": 1}}, {"credsStore": None}],
)
async def test_settings_of_another_form(node: Node, settings: dict[str, Any]) -> None:
    """They name nobody, and spoil no entry."""
    node.write(auths=AUTHS, **settings)
    assert [each.username for each in await node.found()] == ["file"]


async def test_a_bad_entry_counts_only_where_nothing_else_is(node: Node) -> None:
    """With a helper's answer it is told of, and no more than that."""
    node.write(auths={"registry.example": {"auth": "%%%"}})
    with pytest.raises(PullFailed, match="base64"):
        await node.credentials.lookup(IMAGE)
    node.helper("shop", Username="ci", Secret=SECRET)
    node.write(auths={"registry.example": {"auth": "%%%"}}, credsStore="shop")
    found = await node.credentials.lookup(IMAGE)
    assert [each.username for each in found.credentials] == ["ci"]
    assert "base64" in found.complaint


def test_half_of_the_settings() -> None:
    """A file of providers without their folder would silently do nothing."""
    needed = {"IPS_NODE_NAME": "n1", "IPS_NATS_URL": "nats://n"}
    only = AgentSettings.load(needed | {"IPS_CREDENTIAL_PROVIDER_CONFIG": "/etc/c.yaml"})
    with pytest.raises(StartupError, match="IPS_CREDENTIAL_PROVIDER_BIN_DIR"):
        node_credentials(only)
    both = needed | {
        "IPS_CREDENTIAL_PROVIDER_CONFIG": "/etc/c.yaml",
        "IPS_CREDENTIAL_PROVIDER_BIN_DIR": "/opt/bin",
    }
    assert node_credentials(AgentSettings.load(both)) is not None
