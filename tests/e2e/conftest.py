"""One cluster for all tests of a run, with our images and those of others in its registry."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from sandbox.kubernetes.cluster import Cluster, running_cluster
from sandbox.kubernetes.node import Node
from sandbox.kubernetes.node_images import put_busybox, put_nats, put_pause
from sandbox.kubernetes.our_images import put_our_images
from tests.e2e.installation import NAMESPACE, Installation

SECONDS = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give every test here time for the cluster that the first of them has to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(SECONDS))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two nodes, Ready; every image that the manifests name can be pulled."""
    with asyncio.Runner() as runner:
        running = running_cluster()
        cluster = runner.run(running.__aenter__())
        try:
            put_pause(cluster.registry)
            put_busybox(cluster.registry)
            put_nats(cluster.registry)
            put_our_images(cluster.registry)
            yield cluster
        finally:
            runner.run(running.__aexit__(None, None, None))


@pytest.fixture
async def service(installation: Installation) -> AsyncIterator[Installation]:
    """The installation of the test's module, all of it ready, and a client of it."""
    await installation.rolled_out()
    async with installation.session() as http:
        installation.http = http
        await installation.known_nodes(len(installation.cluster.nodes))
        yield installation


@pytest.fixture
async def third_node(cluster: Cluster) -> AsyncIterator[Node]:
    """A node that joins for one test."""
    [node] = await cluster.add_nodes(3)
    yield node
    if node.name in cluster.nodes:
        await cluster.remove_node(node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let a failure say what the cluster looked like."""
    report = yield
    cluster = getattr(item, "funcargs", {}).get("cluster")
    if report.failed and isinstance(cluster, Cluster):
        for question in (
            ("get", "nodes,pods", "-A", "-o", "wide"),
            ("get", "events", "-n", NAMESPACE, "--sort-by=.lastTimestamp"),
            ("logs", "-n", NAMESPACE, "deployment/ips-coordinator", "--tail=60"),
            ("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=ips-agent", "--tail=40"),
        ):
            try:
                said = cluster.kubectl(*question)
            except Exception as error:  # noqa: BLE001 - the failure that it is about counts more
                said = repr(error)
            report.sections.append((f"kubectl {' '.join(question)}", said[-8000:]))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests have measured."""
    measured = [
        (report.nodeid, report.user_properties)
        for report in terminalreporter.getreports("passed")
        if isinstance(report, pytest.TestReport) and report.user_properties
    ]
    for test, properties in measured:
        said = ", ".join(f"{name} {value}" for name, value in properties)
        terminalreporter.write_line(f"{test.rpartition('::')[2]}: {said}")
