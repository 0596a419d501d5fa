"""Kubeconfigs: who asks which API server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Access:
    """Where an API server is, and whom to trust for it."""

    url: str
    authority: Path
    """The certificate that its own is signed by, as PEM."""

    def kubeconfig(self, file: Path, user: Mapping[str, str], *, context: str = "test") -> Path:
        """Write a kubeconfig for a user: ``{"token": …}`` or ``{"tokenFile": …}``."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": dict(user)}],
            "contexts": [{"name": context, "context": {"cluster": "cluster", "user": "user"}}],
        }
        file.write_text(json.dumps(document))  # JSON is YAML
        return file
