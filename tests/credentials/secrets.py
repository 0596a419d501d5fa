"""A Secret of Kubernetes with a registry's login."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

CANARY = "canary-3b9e"
AUTHS = {"reg.example": {"auth": b64encode(f"ci:{CANARY}".encode()).decode()}}
CONFIG = {"auths": AUTHS}


def secret(auths: Any = AUTHS, kind: str = "dockerconfigjson") -> dict[str, Any]:
    """One as the API server shows it."""
    content = auths if kind == "dockercfg" else {"auths": auths}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "regcred", "uid": "u1", "resourceVersion": "7"},
        "type": f"kubernetes.io/{kind}",
        "data": {f".{kind}": b64encode(json.dumps(content).encode()).decode()},
    }
