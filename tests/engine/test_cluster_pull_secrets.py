"""Tasks and sets that name Secrets of Kubernetes, with real agents' logic, in virtual time."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from agent.runtime.protocol import Credentials, PullFailed
from agent.runtime.simulated import SimulatedRuntime
from common import credential_texts as texts
from common.docker_config import ConfiguredLogin, DockerConfig
from common.image_reference import ImageReference
from common.messages import Assign
from common.reasons import Reason
from coordinator.access.callers import SecretRead
from coordinator.access.credential_rights import USE
from coordinator.core.sets.standing import SetNodePhase
from coordinator.core.task import Asker, TaskImage, TaskSpec, TaskStatus
from coordinator.credentials.pull_secret import decode_pull_secret
from coordinator.set_port import SetOrder
from sandbox.simulator.cluster import Cluster, task_of
from sandbox.virtual.time import virtual
from tests.credentials.secrets import CANARY, secret
from tests.engine.shop import LOGIN, Shop

ANN = Asker(user="ann", way="kubernetes", groups=("ops",))
REGCRED = "shop/regcred"
READ = SecretRead("shop", "regcred")


def entry(user: str, password: str = CANARY) -> dict[str, str]:
    """One as Docker writes it."""
    return {"auth": b64encode(f"{user}:{password}".encode()).decode()}


def wanted(*images: str, **more: Any) -> TaskSpec:
    """A task of Ann's that names the Secret."""
    work = tuple(TaskImage(name=image, reference=image) for image in images)
    made = task_of("reg.example/a:1")
    return with_fields(
        made, images=images, work=work, pull_secrets=(REGCRED,), asked_by=ANN, **more
    )


ONE = wanted("reg.example/a:1")


def put(shop: Shop, auths: Any, version: str = "7") -> None:
    """Have a Secret hold these entries."""
    body = secret(auths)
    body["metadata"]["resourceVersion"] = version
    shop.secrets.known[REGCRED] = decode_pull_secret(REGCRED, json.dumps(body).encode())


def users(shown: list[Credentials | None]) -> list[str | None]:
    """Who was shown to a registry; None for nobody."""
    return [None if each is None else each.username for each in shown]


@virtual
async def test_the_registry_is_shown_what_the_secret_holds(shown: list[Credentials | None]) -> None:
    """Whoever may use all credentials is not asked about the Secret."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {"reg.example": entry("ci")})
        head, _ = await shop.run(ONE)
        assert head.status is TaskStatus.COMPLETED
        assert shown[0] is not None
        assert (shown[0].registry, shown[0].username, shown[0].password) == (
            "reg.example",
            "ci",
            CANARY,
        )
        assert shop.rights.wanted == [USE]


@virtual
async def test_each_image_is_shown_what_is_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the beginning of its path, the more specific first, as the kubelet does."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(
            shop,
            {"*.example": entry("glob"), "reg.example/b": entry("b"), "reg.example": entry("r")},
        )
        without = SimulatedRuntime.pull
        tried: dict[str, list[str | None]] = {}

        async def pull(
            self: SimulatedRuntime, reference: str, credentials: Credentials | None, **more: Any
        ) -> Any:
            user = None if credentials is None else credentials.username
            tried.setdefault(reference, []).append(user)
            if user is not None:
                raise PullFailed(Reason.UNAUTHORIZED, "no")
            return await without(self, reference, credentials, **more)

        monkeypatch.setattr(SimulatedRuntime, "pull", pull)
        images = ("reg.example/a:1", "reg.example/b:1", "other.example/c:1", "none.test/d:1")
        head, _ = await shop.run(wanted(*images))
        assert head.status is TaskStatus.COMPLETED
        assert tried == {
            "reg.example/a:1": ["r", "glob", None],
            "reg.example/b:1": ["b", "r", "glob", None],
            "other.example/c:1": ["glob", None],
            "none.test/d:1": [None],
        }


@virtual
async def test_a_right_to_the_secret_will_do(shown: list[Credentials | None]) -> None:
    """It is asked about where the other is missing."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {"reg.example": entry("ci")})
        shop.rights.refused = {USE}
        head, _ = await shop.run(ONE)
        assert (head.status, users(shown)) == (TaskStatus.COMPLETED, ["ci"])
        assert shop.rights.wanted == [USE, READ]


@virtual
async def test_a_right_that_lapsed_before_the_start(shown: list[Credentials | None]) -> None:
    """Who and which Secret are named, and nothing is tried again."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {"reg.example": entry("ci")})
        shop.rights.refused = {USE, READ}
        head, node = await shop.run(with_fields(ONE, max_retries=3))
        assert (head.status, node.reason, shown) == (TaskStatus.FAILED, Reason.UNAUTHORIZED, [])
        assert (node.text.code, node.text.params) == (
            "pullSecret.noRight",
            {"user": "ann", "name": REGCRED},
        )


@virtual
async def test_both_kinds_need_the_right_to_both() -> None:
    """A right to the Secret gives none to what is stored."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {"reg.example": entry("ci")})
        shop.rights.refused = {USE}
        _, node = await shop.run(with_fields(ONE, credentials=("shop",)))
        assert node.text.code == "credential.noRight"


@virtual
async def test_both_kinds_are_shown(shown: list[Credentials | None]) -> None:
    """What is stored comes first."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        await shop.table.put(with_fields(LOGIN, registry="reg.example", username="stored"), None)
        put(shop, {"reg.example": entry("ci")})
        heard: list[Assign] = []
        decode = msgspec.json.Decoder(Assign).decode
        await cluster.observer.subscribe(
            "ips.v1.command.>",
            lambda received: (
                heard.append(decode(received.data)) if b'"assign"' in received.data else None
            ),
        )
        for credentials in ((), ("shop",), ()):
            image = f"reg.example/a:{len(heard)}"
            await shop.run(with_fields(wanted(image), credentials=credentials))
        assert users(shown) == ["ci", "stored", "ci"]
        put(shop, {"reg.example": entry("ci")}, version="8")
        await shop.run(wanted("reg.example/a:9"))
        keys = [each.images[0].credentials for each in heard]
        # Equal only for the same at the same version: by this an agent knows who shares a pull.
        assert keys[0] == keys[2]
        assert len({*keys}) == 3
        assert not any(CANARY in msgspec.json.encode(each).decode() for each in heard)


@virtual
async def test_a_set_asks_again_at_each_repair(shown: list[Credentials | None]) -> None:
    """Once the right is gone nothing more is pulled, and the node says why."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {"reg.example": entry("ci")})
        sets = shop.coordinator.service.sets

        def phase() -> SetNodePhase | None:
            shot = sets.node("web", "n1")
            return None if shot is None else shot.state.phase

        await sets.put(SetOrder("web", ONE, paused=False), None, None)
        await cluster.until(lambda: phase() is SetNodePhase.WARM)
        assert users(shown) == ["ci"]
        shop.rights.allowed = False
        runtime = cluster.nodes["n1"].runtime
        assert isinstance(runtime, SimulatedRuntime)
        runtime.remove("reg.example/a:1")
        await cluster.until(lambda: phase() not in (SetNodePhase.WARM, None))
        tasks = shop.coordinator.service.tasks
        await cluster.until(
            lambda: any(
                head is not None and head.set == "web" and head.status is TaskStatus.FAILED
                for head in map(tasks.head, tasks.ids())
            )
        )
        [last] = [
            head
            for head in map(tasks.head, tasks.ids())
            if head is not None and head.status is TaskStatus.FAILED
        ]
        shot = await tasks.snapshot_with_nodes(last.id)
        assert shot.run is not None
        text = shot.run.by_name["n1"].text
        assert text is not None
        assert (text.code, text.params["user"]) == ("pullSecret.noRight", "ann")
        assert users(shown) == ["ci"]


@pytest.mark.parametrize(
    "why",
    [texts.PULL_SECRET_GONE(name=REGCRED), texts.PULL_SECRET_FORBIDDEN(name=REGCRED)],
    ids=lambda why: why.code,
)
@virtual
async def test_a_secret_that_cannot_be_read(why: Any) -> None:
    """The node fails with the reason, which names it."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.secrets.known[REGCRED] = why
        head, node = await shop.run(ONE)
        assert (head.status, node.reason) == (TaskStatus.FAILED, Reason.UNAUTHORIZED)
        assert (node.text.code, node.text.params) == (why.code, {"name": REGCRED})


@pytest.mark.parametrize(
    "why",
    [texts.PULL_SECRET_GONE(name=REGCRED), texts.PULL_SECRET_FORBIDDEN(name=REGCRED)],
    ids=lambda why: why.code,
)
@virtual
async def test_a_secret_that_is_being_replaced(shown: list[Credentials | None], why: Any) -> None:
    """By a delete and a create, as many tools do: it is asked for again."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        shop.secrets.known[REGCRED] = why
        task = await cluster.create(shop.coordinator, ONE)
        await asyncio.sleep(3.0)
        put(shop, {"reg.example": entry("ci")})
        head = await cluster.over(shop.coordinator, task)
        assert (head.status, users(shown)) == (TaskStatus.COMPLETED, ["ci"])


@virtual
async def test_entries_that_cannot_be_used(shown: list[Credentials | None]) -> None:
    """Those of other images are no matter; of this one's all must be bad, and one is named."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        bad = {"auth": f"%%%{CANARY}"}
        put(shop, {"reg.example": bad, "other.test": bad, "*.example": entry("ci")})
        head, _ = await shop.run(ONE)
        assert (head.status, users(shown)) == (TaskStatus.COMPLETED, ["ci"])
        long = entry("ci", "x" * 9000)
        for unusable, word in ((bad, "'reg.example'"), (long, "characters")):
            put(shop, {"reg.example": unusable})
            _, node = await shop.run(wanted(f"reg.example/{word[1:4]}:1"))
            assert node.text.code == "pullSecret.entry"
            assert word in node.text.params["why"]
            assert CANARY not in node.text.message


@virtual
async def test_more_logins_than_a_message_holds() -> None:
    """Said by name, and not tried for ever."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {f"reg.example/a{'a' * n}": entry(f"u{n}") for n in range(25)})
        _, node = await shop.run(wanted(f"reg.example/a{'a' * 30}:1"))
        assert (node.text.code, node.text.params) == ("credential.tooManyLogins", {"most": 20})


@virtual
async def test_longer_logins_than_a_message_holds() -> None:
    """As few as they are; those of half the length are given."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        for characters, code in ((8192, "credential.loginsTooLarge"), (4096, None)):
            password = "\u00e9" * characters
            put(shop, {f"https://{n}@reg.example": entry(f"u{n}", password) for n in range(10)})
            _, node = await shop.run(wanted(f"reg.example/a:{characters}"))
            assert (None if node.text is None else node.text.code) == code


@virtual
async def test_too_many_logins_end_the_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every image is looked up before it is said."""
    looked_up: list[ImageReference] = []
    matching = DockerConfig.matching

    def counted(config: DockerConfig, image: ImageReference) -> Iterator[ConfiguredLogin]:
        looked_up.append(image)
        return matching(config, image)

    monkeypatch.setattr(DockerConfig, "matching", counted)
    async with Cluster() as cluster:
        shop = await Shop.open(cluster)
        put(shop, {f"https://{n}@reg.example": entry(f"u{n}") for n in range(25)})
        _, node = await shop.run(wanted(*(f"reg.example/{n}:1" for n in range(50))))
    assert node.text.code == "credential.tooManyLogins"
    assert len(looked_up) == 1


@virtual
async def test_without_kubernetes_there_are_no_secrets() -> None:
    """A task that was stored while there was fails by name."""
    async with Cluster() as cluster:
        shop = await Shop.open(cluster, kubernetes=False)
        _, node = await shop.run(ONE)
        assert node.text.code == "pullSecret.noKubernetes"
