"""The driver ``crictl``: runs the program for every call, for nodes where only that is wanted.

It can neither resume a pull nor see its bytes, and a runtime that resolves redirects or mirrors may
show its credentials to those. Exit codes say nothing (1 for every failure), so the error is read
from what the program writes, which crictl 1.35 to 1.37 word alike. Tested with the release that
``scripts/kubernetes/crictl/go.mod`` pins.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING

from agent.runtime.crictl_answers import (
    ProgramFailed,
    mountpoint,
    read_containers,
    read_failure,
    read_images,
    read_status,
)
from agent.runtime.endpoint import ANSWER_SECONDS, socket_path
from agent.runtime.failures import UNAVAILABLE, classify, presentable
from agent.runtime.image_status import ImageStatus, pulled
from agent.runtime.node import runtime_facts
from agent.runtime.program_output import TooMuchOutputError, read_both
from agent.runtime.protocol import (
    PinFailed,
    PresentImage,
    PullFailed,
    RemovalFailed,
    RuntimeAway,
    StoredImage,
)
from common.reasons import Reason

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.runtime.protocol import Credentials, OnBytes, RuntimeFacts

_MOST_OUTPUT = 16 * 1024 * 1024
"""Bytes that the program may print: what is asked of it takes some kilobytes."""
_STOP_SECONDS = 5.0
"""How long the program may take to stop a pull before it is killed; the runtime then stops it."""

_NO_CONFIG = os.devnull
"""An empty configuration file: what a machine has in its own is meant for people."""

_NOTHING: Mapping[str, str] = MappingProxyType({})


_ABSENT = re.compile(r"no such image .* present$")
_NOT_THERE = re.compile(r"no such image")
_FACT = re.compile(r"^(\w+): +(.*)$", re.MULTILINE)


class CrictlRuntime:
    """A container runtime at an endpoint ``unix:///path``, by way of a program on PATH.

    ``answer_seconds`` is how long it may take for what needs no registry. Raises ValueError.
    """

    driver = "crictl"
    sees_bytes = False
    resumes = False
    pins = False

    def __init__(
        self, endpoint: str, *, program: str = "crictl", answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        socket_path(endpoint)  # refuses what is none
        self._answer_seconds = answer_seconds
        self._endpoint = endpoint
        self._program = program

    async def facts(self) -> RuntimeFacts:
        """Ask what the runtime is. Raises RuntimeAway."""
        try:
            version = dict(_FACT.findall((await self._run("version")).decode()))
            disks = await self._run("imagefsinfo", "-o", "json")
        except ProgramFailed as error:
            raise RuntimeAway(self._why_away(error.text)) from error
        return runtime_facts(
            version.get("RuntimeName", ""), version.get("RuntimeVersion", ""), mountpoint(disks)
        )

    async def find(self, reference: str) -> PresentImage | None:
        """Look an image up on the node; see the protocol."""
        with self._explained(reference):
            status = await self._status(reference)
        if status is None or not status.runs_here:
            return None
        return PresentImage(status.digest_of(reference), status.size)

    async def list_images(self) -> Sequence[StoredImage]:
        """Ask for every image on the node; see the protocol."""
        try:
            return read_images(await self._run("images", "-o", "json"))
        except ProgramFailed as error:
            raise RuntimeAway(self._why_away(error.text)) from error

    async def used_images(self) -> frozenset[str]:
        """Ask for every container; see the protocol."""
        try:
            return read_containers(await self._run("ps", "-a", "-o", "json"))
        except ProgramFailed as error:
            raise RuntimeAway(self._why_away(error.text)) from error

    async def remove_image(self, image_id: str) -> None:
        """Remove an image; see the protocol."""
        try:
            await self._run("rmi", "--", image_id)
        except ProgramFailed as error:
            if not _NOT_THERE.search(error.text):
                raise RemovalFailed(presentable(error.text)) from error

    async def our_pins(self) -> frozenset[str]:
        """None: CRI has no call for that."""
        return frozenset()

    async def pin(self, image_id: str) -> None:  # noqa: ARG002  # see above
        """Fail; see above."""
        raise PinFailed("crictl cannot pin images")

    async def unpin(self, image_id: str) -> None:
        """Do nothing: nothing is pinned."""

    async def watch_images(self, on_change: Callable[[], None]) -> None:
        """Do nothing: the program tells of none."""

    async def pull(
        self,
        reference: str,
        credentials: Credentials | None,
        *,
        resume_key: str,  # noqa: ARG002  # the program takes no lease
        keep_seconds: float,  # noqa: ARG002  # see above
        on_bytes: OnBytes,  # noqa: ARG002  # the program shows no progress
    ) -> PresentImage:
        """Pull an image; see the protocol."""
        with self._explained(reference):
            await self._run("pull", "--", reference, secrets=_secrets(credentials), patient=True)
            status = await self._status(reference)
        return pulled(reference, status, status.digest_of(reference) if status else None)

    async def forget(self, resume_key: str) -> None:
        """Do nothing: nothing is kept."""

    async def sweep(self, keep: Callable[[str], bool]) -> None:
        """Do nothing: nothing is kept."""

    async def close(self) -> None:
        """Do nothing: each call is a process of its own."""

    async def _status(self, reference: str) -> ImageStatus | None:
        try:
            output = await self._run("inspecti", "-o", "json", "--", reference)
        except ProgramFailed as error:
            if _ABSENT.search(error.text):
                return None
            raise
        return read_status(output)

    async def _run(
        self,
        *arguments: str,
        secrets: Mapping[str, str] = _NOTHING,
        patient: bool = False,
    ) -> bytes:
        """Run the program and return what it prints. Raises ProgramFailed, RuntimeAway."""
        process = await self._start(arguments, secrets)
        try:
            async with asyncio.timeout(None if patient else self._answer_seconds):
                output, errors = await read_both(process, _MOST_OUTPUT)
                await process.wait()
        except TooMuchOutputError as error:
            raise ProgramFailed("", str(error)) from error
        except TimeoutError as error:
            why = self._why_away(f"no answer within {self._answer_seconds:g} s")
            raise RuntimeAway(why) from error
        finally:
            await _stop(process)
        if process.returncode:
            raise read_failure(errors.decode(errors="replace"))
        return output

    async def _start(self, arguments: Sequence[str], secrets: Mapping[str, str]) -> Process:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "CONTAINER_RUNTIME_ENDPOINT": self._endpoint,
            "IMAGE_SERVICE_ENDPOINT": self._endpoint,
            "CRI_CONFIG_FILE": _NO_CONFIG,
            **secrets,
        }
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                f"--timeout={self._answer_seconds:g}s",  # of short calls; a pull is not bound by it
                *arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise RuntimeAway(f"cannot run {self._program}: {error.strerror}") from error

    def _why_away(self, why: str) -> str:
        return f"no container runtime at {self._endpoint}: {presentable(why)}"

    @contextmanager
    def _explained(self, reference: str) -> Iterator[None]:
        """Turn what running the program raises into PullFailed."""
        try:
            yield
        except ProgramFailed as error:
            failure = classify(error.code, error.text, reference)
            if failure.reason is Reason.RUNTIME_UNAVAILABLE and error.code == UNAVAILABLE:
                failure = PullFailed(failure.reason, self._why_away(error.text))
            raise failure from error
        except RuntimeAway as error:
            raise PullFailed(Reason.RUNTIME_UNAVAILABLE, str(error)) from error


def _secrets(credentials: Credentials | None) -> dict[str, str]:
    """Put credentials where only the program's owner can read them: its environment, not argv.

    Raises PullFailed for tokens, which the program has no place for.
    """
    if credentials is None:
        return {}
    if credentials.identity_token or credentials.registry_token:
        raise PullFailed(Reason.UNAUTHORIZED, "crictl can be given no token; the driver cri can")
    pair = f"{credentials.username}:{credentials.password}"
    return {"CRICTL_AUTH": base64.b64encode(pair.encode()).decode()}


async def _stop(process: Process) -> None:
    """Make sure that a program is over; the runtime stops what it was doing for it."""
    if process.returncode is not None:
        return
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
