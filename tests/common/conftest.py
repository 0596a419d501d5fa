"""Properties here have no deadline: on shared cores it would measure the neighbours."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
