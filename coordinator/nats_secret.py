"""``python -m coordinator.nats_secret``: give a new installation its NATS token, once.

Run as a Job beside the first start. It stores a Secret and may not read one: where there is one
already, that one stays.
"""

from __future__ import annotations

import base64
import os
import secrets
import sys
from typing import Any, Final

from common.lifecycle import StartupError, Stop, run
from common.logs import Log, configure
from coordinator.nodes.api_server import ApiServer, ApiServerError, ExistsError
from coordinator.settings import CoordinatorSettings

NAME: Final = "ips-nats"

log = Log(__name__)


async def main(_stop: Stop) -> None:
    """Create the Secret. Raises StartupError where Kubernetes does not let us."""
    settings = CoordinatorSettings.load(os.environ)
    configure(settings.log_level, settings.log_format)
    path = f"/api/v1/namespaces/{settings.namespace}/secrets"
    try:
        async with ApiServer.connected(settings.kube_context) as api:
            await api.post(path, secret(NAME))
    except ExistsError:
        log.info("there is a token already: it stays", secret=NAME)
    except ApiServerError as why:
        raise StartupError(f"the Secret {NAME} cannot be made: {why}") from why
    else:
        log.info("token made", secret=NAME)


def secret(name: str) -> dict[str, Any]:
    """A Secret with a random token. A letter comes first: to NATS 12e3… would be a number."""
    token = f"t{secrets.token_hex(24)}"
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": "Opaque",
        "data": {"token": base64.b64encode(token.encode()).decode()},
    }


if __name__ == "__main__":
    sys.exit(run(main))
