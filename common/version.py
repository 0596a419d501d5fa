"""The version of the service: one for coordinator and agent, which are released together."""

from typing import Final

VERSION: Final = "1.0.0"
