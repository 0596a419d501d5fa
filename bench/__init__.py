"""Figures, each a script of its own: ratios, counts and CPU time, because machines are noisy."""
