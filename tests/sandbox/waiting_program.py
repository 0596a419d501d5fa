"""Says what it was given, and waits for a signal; with ``EXIT`` it ends with that code at once."""

import os
import signal
import sys

facts = (os.environ["WORD"], os.getpgid(0) == os.getpid(), "IPS_STRANGE" in os.environ)
sys.stdout.write(f"{facts}\n")
sys.stdout.flush()
sys.stderr.write("and\n")
if "EXIT" in os.environ:
    sys.exit(int(os.environ["EXIT"]))
signal.pause()
