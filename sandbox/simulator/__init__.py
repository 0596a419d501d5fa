"""Every bad day in virtual time: a whole fleet, struck by what a seed draws, and what must hold.

``make sim SEEDS=200`` runs histories; ``make sim SEED=17`` runs one again, exactly, and tells what
happened. ``fates.py`` is what can go wrong, ``laws.py`` what must be so whatever does.
"""
