"""``python -m coordinator``."""

import sys

from common.lifecycle import run
from coordinator.main import main

sys.exit(run(main))
