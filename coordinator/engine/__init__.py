"""The leader at work: feeds the core with what happens and carries out what it decides."""
