"""Warm sets: which images are to be on which nodes, and what follows from what is there. Pure."""
