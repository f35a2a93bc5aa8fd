"""Faults done on purpose to real processes and real databases, and a checker of what became of the work."""
