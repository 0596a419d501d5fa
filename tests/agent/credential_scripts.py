"""Programs that know credentials, as shell scripts that note what they were asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

API = "credentialprovider.kubelet.k8s.io/v1"
SECRET = "s3cret-41c7"


class Script:
    """One program. Each of its runs is noted: its arguments, question and environment."""

    def __init__(self, folder: Path, name: str, body: str = "") -> None:
        self.path = folder / name
        self._notes = folder / f"{name}.notes"
        self._notes.mkdir()
        self.say(body)

    def say(self, body: str) -> None:
        """What it does when it has read the question."""
        notes = self._notes
        self.path.write_text(
            f'#!/bin/sh\nat={notes}/$$\ncat >"$at.asked"\nenv >"$at.env"\n'
            f'printf "%s" "$*" >"$at.args"\n{body}\n'
        )
        self.path.chmod(0o755)

    def answer(self, value: Any) -> None:
        """Have it print JSON."""
        self.say(f"cat <<'END'\n{json.dumps(value)}\nEND")

    @property
    def asked(self) -> list[str]:
        """The questions, in any order."""
        return [each.read_text() for each in self._notes.glob("*.asked")]

    @property
    def environment(self) -> str:
        """Of every run."""
        return "\n".join(each.read_text() for each in self._notes.glob("*.env"))

    @property
    def arguments(self) -> set[str]:
        """Of its runs."""
        return {each.read_text() for each in self._notes.glob("*.args")}


def response(kind: str = "Image", duration: str | None = None, **auth: str) -> dict[str, Any]:
    """A provider's answer; user names by what they are for."""
    answer: dict[str, Any] = {
        "apiVersion": API,
        "kind": "CredentialProviderResponse",
        "cacheKeyType": kind,
        "auth": {name: {"username": user, "password": SECRET} for name, user in auth.items()},
    }
    return answer if duration is None else answer | {"cacheDuration": duration}


def provider(name: str, *images: str, **more: Any) -> dict[str, Any]:
    """An entry of the kubelet's file."""
    return {
        "name": name,
        "matchImages": list(images),
        "defaultCacheDuration": "10m",
        "apiVersion": API,
        **more,
    }


def config(*providers: Any) -> dict[str, Any]:
    """The kubelet's file."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1",
        "kind": "CredentialProviderConfig",
        "providers": list(providers),
    }
