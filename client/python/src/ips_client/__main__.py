"""``python -m ips_client`` is ``ips``."""

import sys

from ips_client.command.main import main

sys.exit(main())
