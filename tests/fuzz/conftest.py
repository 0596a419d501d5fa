"""How much is tried."""

from __future__ import annotations

import os
from typing import Final

REQUESTS: Final = int(os.environ.get("FUZZ_REQUESTS", "500"))
"""Requests to the API, at least; ``make fuzz`` says more."""
MESSAGES: Final = int(os.environ.get("FUZZ_MESSAGES", "5000"))
"""Messages on NATS."""
SEED: Final = int(os.environ.get("FUZZ_SEED", "1"))
