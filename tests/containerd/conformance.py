"""One suite for every driver: what the puller relies on, whatever the runtime.

``Conformance`` is what all do, the simulated one included. ``RealConformance`` adds what only a
registry and a containerd can do to a pull. The modules ``test_runtime_…`` run them.
"""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from agent.runtime.node import node_platform
from agent.runtime.protocol import Credentials, PullFailed
from agent.stock import marks
from common.reasons import MESSAGE_LIMIT, Reason
from sandbox.images import make_image, make_index
from tests.containerd import wrongs
from tests.containerd.nodes import (
    MIB,
    Node,
    Pull,
    RealNode,
    interrupt,
    repository_of,
)
from tests.fixtures.containerd import ContainerdFactory


class Conformance:
    """What every driver does."""

    async def test_facts_say_what_it_is(self, node: Node) -> None:
        """A name for the table of nodes, and the platform."""
        facts = await node.runtime.facts()
        assert facts.runtime
        assert facts.platform == node_platform()

    async def test_an_image_is_found_once_it_is_pulled(self, node: Node) -> None:
        """With the digest and size that its pull told."""
        reference = node.image()
        assert await node.runtime.find(reference) is None
        pulled = await Pull(node.runtime, reference).run()
        assert pulled.digest is not None
        assert pulled.digest.startswith("sha256:")
        assert pulled.size
        assert await node.runtime.find(reference) == pulled

    async def test_images_are_listed_by_name(self, node: Node) -> None:
        """Each with a mark that stays as long as the image is the same."""
        reference = node.image()
        assert reference not in marks(await node.runtime.list_images())
        await Pull(node.runtime, reference).run()
        mark = marks(await node.runtime.list_images())[reference]
        await Pull(node.runtime, reference).run()
        listed = await node.runtime.list_images()
        assert marks(listed)[reference] == mark
        (image,) = (image for image in listed if reference in (*image.tags, *image.digests))
        assert image.size
        assert not image.pinned

    async def test_an_image_is_removed(self, node: Node) -> None:
        """No container has it; what is not there is removed."""
        reference = node.image()
        await Pull(node.runtime, reference).run()
        listed = await node.runtime.list_images()
        (image,) = (image for image in listed if reference in (*image.tags, *image.digests))
        assert (await node.runtime.used_images()).isdisjoint((image.id, *image.tags))
        for _ in range(2):
            await node.runtime.remove_image(image.id)
            assert await node.runtime.find(reference) is None
            assert reference not in marks(await node.runtime.list_images())

    async def test_a_present_image_can_be_pulled_again(self, node: Node) -> None:
        """That is how imagePullPolicy Always asks the registry."""
        pull = Pull(node.runtime, node.image())
        assert await pull.run() == await pull.run()

    async def test_an_unknown_image(self, node: Node) -> None:
        """It is not found on the node either, without an error."""
        reference = node.missing()
        failure = await Pull(node.runtime, reference).failure()
        assert failure.reason is Reason.IMAGE_NOT_FOUND
        assert 0 < len(failure.message) <= MESSAGE_LIMIT
        assert await node.runtime.find(reference) is None

    async def test_two_images_at_once(self, node: Node) -> None:
        """Pulls do not stand in one another's way."""
        pulls = [Pull(node.runtime, node.image(), key=f"task-1/{n}") for n in range(2)]
        first, second = await asyncio.gather(*(pull.run() for pull in pulls))
        assert first.digest != second.digest

    async def test_bytes_rise_to_the_total(self, node: Node) -> None:
        """Where they are seen at all; elsewhere nothing is made up."""
        pull = Pull(node.runtime, node.image())
        node.hold(pull.reference)
        pulling = asyncio.create_task(pull.run())
        await node.under_way(pull)
        node.let_go(pull.reference)
        pulled = await pulling
        if not node.runtime.sees_bytes:
            assert pull.seen == []
            return
        assert pull.seen[0].done < pull.seen[-1].done
        assert all(a.done <= b.done for a, b in itertools.pairwise(pull.seen))
        told = {seen.total for seen in pull.seen}
        assert told - {None} == {pulled.size}  # a manifest that is slow to come is not waited for
        assert pull.seen[-1].done == pulled.size

    async def test_a_cancelled_pull_ends_at_once_and_can_be_repeated(self, node: Node) -> None:
        """No image appears on the node afterwards."""
        pull = Pull(node.runtime, node.image())
        await interrupt(node, pull)
        assert await node.runtime.find(pull.reference) is None
        assert (await pull.run()).digest

    async def test_an_interrupted_pull_is_resumed(self, node: Node) -> None:
        """The next one under the same key begins where it was."""
        pull = Pull(node.runtime, node.image())
        await interrupt(node, pull)
        again = Pull(node.runtime, pull.reference)
        await again.run()
        if node.runtime.resumes:
            assert again.seen[0].done >= pull.seen[-1].done

    async def test_forgetting_never_fails(self, node: Node) -> None:
        """Not twice, nor for a key that never was."""
        pull = Pull(node.runtime, node.image())
        await interrupt(node, pull)
        for key in (pull.key, pull.key, "never heard of"):
            await node.runtime.forget(key)
        assert (await pull.run()).digest

    async def test_a_sweep_drops_what_is_not_to_be_kept(self, node: Node) -> None:
        """An agent that starts claims what its tasks may come back for."""
        for key in ("kept", "dropped"):
            await interrupt(node, Pull(node.runtime, node.image(), key=key))
        asked: list[str] = []

        def keep(key: str) -> bool:
            asked.append(key)
            return key == "kept"

        await node.runtime.sweep(keep)
        await node.runtime.sweep(keep)
        assert sorted(asked) == (["dropped", "kept", "kept"] if node.runtime.resumes else [])


class RealConformance(Conformance):
    """What only real parts can do to a pull."""

    async def test_every_wrong_has_its_reason(self, node: RealNode, tmp_path: Path) -> None:
        """Whatever can be wrong in a registry or an image; and passwords are not told."""
        expected: dict[str, Reason] = {}
        got: dict[str, PullFailed] = {}
        async with wrongs.arranged(node, tmp_path) as cases:
            for case in cases:
                expected[case.name] = case.reason
                pull = Pull(node.runtime, case.reference)
                got[case.name] = await pull.failure(case.credentials)
        assert {name: failure.reason for name, failure in got.items()} == expected, got
        assert wrongs.PASSWORD not in str(got)

    async def test_an_image_goes_with_all_its_tags(self, node: RealNode) -> None:
        """Two repositories that have the same image are one image on a node."""
        twice = make_image(MIB, seed=77)
        one, other = node.put(twice), node.put(twice)
        for reference in (one, other):
            await Pull(node.runtime, reference).run()
        (image,) = (image for image in await node.runtime.list_images() if one in image.tags)
        assert set(image.tags) == {one, other}
        await node.runtime.remove_image(image.id)
        assert [await node.runtime.find(each) for each in (one, other)] == [None, None]

    async def test_good_credentials(self, node: RealNode) -> None:
        """They open what is protected, whatever characters they are of."""
        reference = node.image()
        node.registry.protect(repository_of(reference), "me", "s3cret:with/c\N{DEGREE SIGN}lon")
        credentials = Credentials(node.registry.host, "me", "s3cret:with/c\N{DEGREE SIGN}lon")
        assert (await Pull(node.runtime, reference).run(credentials)).digest

    async def test_a_single_manifest_for_another_platform(self, node: RealNode) -> None:
        """The runtime pulls it without a word; once the tag is mended, it is pulled rightly."""
        wrong = make_image(MIB, platform=wrongs.OTHER_PLATFORM)
        pull = Pull(node.runtime, node.registry.put("app/moved", "1", wrong))
        assert (await pull.failure()).reason is Reason.PLATFORM_MISMATCH
        assert await node.runtime.find(pull.reference) is None
        right = make_image(MIB, platform=node_platform())
        node.registry.put("app/moved", "1", right)
        assert (await pull.run()).digest == right.digest

    async def test_the_digest_is_the_one_that_a_reference_names(self, node: RealNode) -> None:
        """Of an index, not of the manifest in it; and of a digest, itself."""
        image = make_image(MIB, platform=node_platform())
        index = make_index(image, make_image(MIB, platform=wrongs.OTHER_PLATFORM))
        assert (await Pull(node.runtime, node.put(index)).run()).digest == index.digest
        node.registry.put("app/pinned", "1", image)
        pinned = f"{node.registry.host}/app/pinned@{image.digest}"
        assert (await Pull(node.runtime, pinned).run()).digest == image.digest

    async def test_a_moved_tag_has_another_mark(self, node: RealNode) -> None:
        """And so has its digest a name in the list."""
        first = node.image()
        pulled = await Pull(node.runtime, first).run()
        listed = marks(await node.runtime.list_images())
        assert f"{first.rpartition(':')[0]}@{pulled.digest}" in listed
        node.registry.put(repository_of(first), "1", make_image(1000, seed=77))
        await Pull(node.runtime, first).run()
        assert marks(await node.runtime.list_images())[first] != listed[first]

    async def test_two_pulls_of_one_image_bring_it_once(self, node: RealNode) -> None:
        """As when the kubelet wants it, too."""
        reference = node.image()
        node.hold(reference)
        pulls = [Pull(node.runtime, reference, key=f"task-{n}/1") for n in range(2)]
        both = asyncio.gather(*(pull.run() for pull in pulls))
        for pull in pulls:
            await node.under_way(pull)
        node.let_go(reference)
        first, second = await both
        assert first == second
        assert node.registry.sent() < (first.size or 0)

    async def test_corrupt_bytes_are_not_kept(self, node: RealNode) -> None:
        """Else each retry would find them again."""
        pull = Pull(node.runtime, node.image())
        faults = node.registry.faults(repository_of(pull.reference))
        faults.corrupt = True
        assert (await pull.failure()).reason is Reason.CORRUPT_IMAGE
        faults.heal()
        await node.until_collected()
        assert (await pull.run()).digest

    @pytest.mark.parametrize("size", [12 * MIB, 7 * MIB], ids=["download", "unpack"])
    async def test_a_full_disk(
        self, node: RealNode, containerd_factory: ContainerdFactory, size: int
    ) -> None:
        """It is freed again, so that what fits can be pulled afterwards."""
        small_disk = await containerd_factory(disk=10 * MIB)
        full = RealNode(node.connect, small_disk, node.registry)
        try:
            failure = await Pull(full.runtime, full.put(make_image(size, seed="big"))).failure()
            assert failure.reason is Reason.DISK_FULL
            await full.until_collected()
            assert (await Pull(full.runtime, full.put(make_image(MIB, seed="small"))).run()).digest
        finally:
            await full.runtime.close()

    async def test_a_runtime_that_dies_and_comes_back(self, node: RealNode) -> None:
        """The pull fails for that reason; the next one, on the same driver, resumes."""
        pull = Pull(node.runtime, node.put(make_image(5 * MIB, 5 * MIB)))
        node.registry.faults().stall(after=4 * MIB)
        failing = asyncio.create_task(pull.failure())
        await node.written(6 * MIB)  # of the 8 that are sent; a MiB of each layer at a time
        await node.containerd.kill()
        await node.hung_up()
        node.registry.faults().heal()
        assert (await failing).reason is Reason.RUNTIME_UNAVAILABLE
        assert (await pull.failure()).reason is Reason.RUNTIME_UNAVAILABLE
        with pytest.raises(PullFailed, match=r"^RuntimeUnavailable: no container runtime at unix:"):
            await node.runtime.find(pull.reference)
        await node.containerd.start()
        before = node.registry.sent()
        pulled = await pull.run()
        assert node.registry.sent() - before < (pulled.size or 0) - 3 * MIB
