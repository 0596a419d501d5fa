"""Credential providers of the kubelet's, as real programs, by its own contract."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.credential_programs import CredentialProgramError, answer_of
from agent.credential_providers import MOST_KEPT, CredentialProviders
from agent.provider_config import seconds_of_go
from common.image_reference import ImageReference
from tests.access.hand_clock import HandClock
from tests.agent.credential_scripts import API, SECRET, Script, config, provider, response

IMAGE = "1234.dkr.ecr.eu-west-1.amazonaws.com/team/app:1"
GLOB = "*.dkr.ecr.*.amazonaws.com"


class Node:
    """A node with a file of providers, and their programs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "config.yaml"
        self.clock = HandClock(100.0)
        self.providers = CredentialProviders(self.file, folder, self.clock)

    def write(self, *providers: Any) -> None:
        """Write the file, as YAML."""
        self.file.write_text(yaml.safe_dump(config(*providers)))

    def script(self, name: str = "ecr") -> Script:
        """Make a provider's program."""
        return Script(self.folder, name)

    async def users(self, image: str = IMAGE) -> list[str]:
        """Who would be shown to the registry."""
        found = await self.providers.lookup(ImageReference.parse(image))
        assert found.faults == []
        assert all(each.password == SECRET for each in found.credentials)
        return [each.username for each in found.credentials]

    async def faults(self, image: str = IMAGE) -> list[str]:
        """What is said of those that gave nothing."""
        return (await self.providers.lookup(ImageReference.parse(image))).faults


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node."""
    return Node(tmp_path)


async def test_it_is_asked_as_the_kubelet_asks(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image without its tag, the arguments and variables of the file, and nothing of ours."""
    monkeypatch.setenv("IPS_NATS_TOKEN", "canary-of-ours")
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("MODE", "of the agent")
    ecr, variables = node.script(), [{"name": "MODE", "value": "of the file"}]
    ecr.answer(response(**{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB, args=["get-credentials", "--fast"], env=variables))
    found = await node.providers.lookup(ImageReference.parse(IMAGE))
    [login] = found.credentials
    assert (login.registry, login.username, login.password) == (
        IMAGE.partition("/")[0],
        "AWS",
        SECRET,
    )
    [asked] = ecr.asked
    assert json.loads(asked) == {
        "apiVersion": API,
        "kind": "CredentialProviderRequest",
        "image": IMAGE.removesuffix(":1"),
    }
    assert ecr.arguments == {"get-credentials --fast"}
    assert "canary-of-ours" not in ecr.environment
    assert "IPS_" not in ecr.environment
    assert "AWS_REGION=eu-west-1" in ecr.environment
    assert "MODE=of the file" in ecr.environment


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        (GLOB, True),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com/team", True),
        ("*.*.*.*.amazonaws.com", True),
        ("1234.dkr.ecr.eu-west-1.amazonaws.com/other", False),
        ("*.amazonaws.com", False),
        (f"{GLOB}:443", False),
        ("registry.example", False),
    ],
)
async def test_images_that_it_is_asked_about(node: Node, pattern: str, matches: bool) -> None:
    """A glob is within one label of the host; a path is how the image's begins."""
    ecr = node.script()
    ecr.answer(response(**{GLOB: "AWS"}))
    node.write(provider("ecr", "never.example", pattern))
    assert await node.users() == (["AWS"] if matches else [])
    assert len(ecr.asked) == matches


async def test_of_an_answer_the_more_specific_comes_first(node: Node) -> None:
    """What does not match the image is left out."""
    ecr = node.script()
    host = IMAGE.partition("/")[0]
    ecr.answer(response(**{GLOB: "glob", f"{host}/team": "path", host: "host", "b.example": "b"}))
    node.write(provider("ecr", GLOB))
    assert await node.users() == ["path", "host", "glob"]


TEAM, OTHER = IMAGE, IMAGE.replace("team", "other")
ELSEWHERE = IMAGE.replace("1234", "99")


@pytest.mark.parametrize(("kind", "runs"), [("Image", 3), ("Registry", 2), ("Global", 1)], ids=str)
async def test_an_answer_is_good_for_what_it_says(node: Node, kind: str, runs: int) -> None:
    """Until its time is over; a tag or digest makes no difference."""
    ecr = node.script()
    ecr.answer(response(kind, "1h", **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB))
    for _ in range(2):
        for image in (TEAM, TEAM.replace(":1", ":2"), OTHER, ELSEWHERE):
            assert await node.users(image) == ["AWS"]
        assert len(ecr.asked) == runs
        node.clock.now += 3599.0
    node.clock.now -= 3599.0
    node.clock.now += 1.0
    await node.users(TEAM)
    assert len(ecr.asked) == runs + 1


@pytest.mark.parametrize(
    ("said", "default", "good_for"),
    [(None, "10m", 600.0), (None, "0s", 0.0), ("0s", "10m", 0.0), ("1m30s", "10m", 90.0)],
)
async def test_for_how_long(node: Node, said: str | None, default: str, good_for: float) -> None:
    """What the answer says, else the file; 0 is not kept at all."""
    ecr = node.script()
    ecr.answer(response("Global", said, **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB, defaultCacheDuration=default))
    await node.users()
    node.clock.now += max(good_for - 1.0, 0.0)
    await node.users()
    assert len(ecr.asked) == (1 if good_for else 2)
    node.clock.now += 1.0
    await node.users()
    assert len(ecr.asked) == (2 if good_for else 3)


async def test_whoever_asks_meanwhile_waits_for_the_same_answer(node: Node) -> None:
    """So that a task of 50 images asks a registry's provider once."""
    ecr = node.script()
    ecr.answer(response("Registry", "1h", **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB))
    images = [f"{IMAGE.partition('/')[0]}/{n}" for n in range(5)]
    assert await asyncio.gather(*map(node.users, images)) == [["AWS"]] * 5
    assert len(ecr.asked) == 1


async def test_what_is_kept_waits_for_nobody(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does another registry's question."""
    ecr = node.script()
    ecr.answer(response("Registry", "1h", **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB))
    await node.users()
    asked, answered = asyncio.Event(), asyncio.Event()

    async def slow(*_arguments: object) -> bytes:
        asked.set()
        await answered.wait()
        return json.dumps(response("Image", "0s", **{GLOB: "slow"})).encode()

    monkeypatch.setattr("agent.credential_providers.answer_of", slow)
    waiting = asyncio.ensure_future(node.users(ELSEWHERE))
    await asyncio.wait_for(asked.wait(), 60.0)
    assert await asyncio.wait_for(node.users(), 60.0) == ["AWS"]
    assert not waiting.done()
    asked.clear()
    other = asyncio.ensure_future(node.users(IMAGE.replace("1234", "77")))
    await asyncio.wait_for(asked.wait(), 60.0)
    answered.set()
    assert await waiting == await other == ["slow"]


async def test_answers_that_are_kept_are_bounded(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest goes first."""
    assert MOST_KEPT == 1000
    monkeypatch.setattr("agent.credential_providers.MOST_KEPT", 1)
    ecr = node.script()
    ecr.answer(response("Image", "1h", **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB))
    for image in (TEAM, OTHER, OTHER, TEAM):
        await node.users(image)
    assert len(ecr.asked) == 3


BAD = {
    "nothing": "",
    "no JSON": f"echo {SECRET}",
    "another form": f'echo \'{{"apiVersion": "{API}", "auth": "{SECRET}"}}\'',
    "another kind": f"echo '{json.dumps(response() | {'kind': 'Other'})}'",
    "another version": f"echo '{json.dumps(response() | {'apiVersion': 'v0'})}'",
    "no kind of key": f"echo '{json.dumps(response('Pod'))}'",
    "no duration": f"echo '{json.dumps(response('Image', 'soon'))}'",
    "a failure": f"echo {SECRET}; echo no metadata here >&2; exit 3",
    "too much": "exec cat /dev/zero",
    "too deep": "head -c 100000 /dev/zero | tr '\\0' '['",
}


@pytest.mark.parametrize("case", BAD)
async def test_one_that_does_wrong_is_named_and_spoils_no_other(
    node: Node, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing that it printed is told, nor kept: the next pull asks again.

    What it said on stderr is in the log alone.
    """
    bad, good = node.script("bad"), node.script("good")
    bad.say(BAD[case])
    good.answer(response(**{GLOB: "AWS"}))
    node.write(provider("bad", GLOB), provider("good", GLOB))
    for _ in range(2):
        found = await node.providers.lookup(ImageReference.parse(IMAGE))
        assert [each.username for each in found.credentials] == ["AWS"]
        [fault] = found.faults
        assert fault.startswith("credential provider bad: ")
        assert SECRET not in fault
    assert len(bad.asked) == 2
    if case == "a failure":
        assert fault.endswith("it ended with code 3")
        assert "no metadata here" in caplog.text


async def test_one_that_is_not_there(node: Node) -> None:
    """Its path is named."""
    node.write(provider("ecr", GLOB))
    [fault] = await node.faults()
    assert fault == f"credential provider ecr: {node.folder / 'ecr'}: No such file or directory"


async def test_one_that_does_not_answer_is_ended_with_all_it_started(tmp_path: Path) -> None:
    """A child of its that holds its output open is ended, too."""
    script = Script(tmp_path, "slow", 'sleep 1000 & echo $! >"$at.child"; wait')
    with pytest.raises(CredentialProgramError, match=r"no answer within 0\.5 s"):
        await answer_of(script.path, [], b"?", {}, seconds=0.5)
    for child in tmp_path.glob("slow.notes/*.child"):
        status = Path("/proc", child.read_text().strip(), "status")
        # It may be a zombie until whoever takes orphans has looked.
        while status.exists() and "State:\tZ" not in status.read_text():
            await asyncio.sleep(0.01)


ESCAPED = "(setsid sh -c 'echo $$ >{at}; exec sleep 1000') & while ! [ -s {at} ]; do :; done\n"


@pytest.mark.parametrize("own", ["sleep 1000", "cat /dev/zero"], ids=["silent", "loud"])
async def test_a_child_that_has_left_its_group_holds_nobody_up(tmp_path: Path, own: str) -> None:
    """It holds the program's output open, and nothing of that is left open here."""
    at, program = tmp_path / "escaped", tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{ESCAPED.format(at=at)}exec {own}\n")
    program.chmod(0o755)
    before = len(list(Path("/proc/self/fd").iterdir()))
    try:
        with pytest.raises(CredentialProgramError):
            await asyncio.wait_for(answer_of(program, [], b"?", {}, seconds=0.5), 60.0)
        await asyncio.sleep(0)
        assert len(list(Path("/proc/self/fd").iterdir())) <= before
    finally:
        os.kill(int(at.read_text()), signal.SIGKILL)


async def test_whoever_prints_too_much_is_ended_though_a_child_prints(tmp_path: Path) -> None:
    """The program itself is over by then."""
    script = Script(tmp_path, "loud", 'cat /dev/zero & echo $! >"$at.child"')
    with pytest.raises(CredentialProgramError, match="prints more than"):
        await answer_of(script.path, [], b"?", {}, seconds=600.0)


async def test_one_that_reads_no_question(tmp_path: Path) -> None:
    """However long that is."""
    program = tmp_path / "deaf"
    program.write_text("#!/bin/sh\necho yes\n")
    program.chmod(0o755)
    assert await answer_of(program, [], b"x" * 1_000_000, {}) == b"yes\n"


WRONG = {
    "version": provider("bad", GLOB, apiVersion="credentialprovider.kubelet.k8s.io/v1alpha1"),
    "duration": provider("bad", GLOB, defaultCacheDuration="soon"),
    "name": provider("../bad", GLOB),
    "form": provider("bad", GLOB, args=[{}]),
    "pod": provider("bad", GLOB, tokenAttributes={"requireServiceAccount": True}),
}


@pytest.mark.parametrize("case", WRONG)
async def test_an_entry_that_will_not_do(
    node: Node, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once, told where it matters, and the others work."""
    good, bad = node.script("good"), node.script("bad")
    good.answer(response(**{GLOB: "AWS"}))
    node.write(WRONG[case], provider("good", GLOB), "no entry at all")
    for _ in range(2):
        found = await node.providers.lookup(ImageReference.parse(IMAGE))
        assert [each.username for each in found.credentials] == ["AWS"]
        [fault] = found.faults
        assert "bad: " in fault
    assert bad.asked == []
    assert await node.faults("registry.example/a") == []
    assert len([r for r in caplog.records if r.levelno == logging.WARNING]) == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "kind: Other",
        "kind: CredentialProviderConfig",
        "{",
        "kind: CredentialProviderConfig\nproviders: []\nsince: 2024-13-45",
        "since: !!timestamp x",
        "since: !!int x",
    ],
)
async def test_a_file_that_will_not_do(
    node: Node, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged once; pulls go on without."""
    node.file.write_text(text)
    assert await node.users() == await node.users() == []
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_the_file_may_appear_and_change(node: Node) -> None:
    """What was kept of the old one's answers is forgotten."""
    assert await node.users() == []
    ecr = node.script()
    ecr.answer(response("Global", "1h", **{GLOB: "AWS"}))
    node.write(provider("ecr", GLOB))
    assert await node.users() == ["AWS"]
    node.write(provider("ecr", GLOB), provider("none", "none.example"))
    assert await node.users() == ["AWS"]
    assert len(ecr.asked) == 2


async def test_a_folder_of_files(tmp_path: Path) -> None:
    """In the order of their names, JSON and YAML; others are none."""
    node = Node(tmp_path)
    folder = tmp_path / "providers"
    folder.mkdir()
    for name in ("b", "a", "c"):
        Script(tmp_path, name).answer(response(**{GLOB: name}))
    (folder / "2.json").write_text(json.dumps(config(provider("b", GLOB))))
    (folder / "1.yml").write_text(yaml.safe_dump(config(provider("a", GLOB))))
    (folder / "3.txt").write_text(json.dumps(config(provider("c", GLOB))))
    node.providers = CredentialProviders(folder, tmp_path, node.clock)
    assert await node.users() == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("0s", 0.0), ("12h0m0s", 43_200.0), ("1.5h", 5400.0), ("250ms", 0.25)],
)
def test_a_duration_of_go(text: str, seconds: float) -> None:
    """As Kubernetes writes them."""
    assert seconds_of_go(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "-1h", "1h ", "h", "1d", "1h1"])
def test_no_duration(text: str) -> None:
    """A negative one is none either."""
    with pytest.raises(ValueError, match="duration"):
        seconds_of_go(text)
