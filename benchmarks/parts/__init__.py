"""The parts of ``delivery.py``: each has ``measure(run)`` and ``report(figures)``."""
