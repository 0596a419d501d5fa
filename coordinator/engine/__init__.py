"""The coordinator at work: it feeds the core with what happens; a leader does what it decides."""
