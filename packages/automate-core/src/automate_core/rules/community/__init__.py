"""The dialect of the community's compat-tables, for whoever asks for it: ``engine_for("community")``.

Most of it is the classic engine. What differs is here: numbers that are none are errors, which ``try`` catches;
comparisons are chains; a single operand that gives a list stands for all operands; ``val`` reads paths of keys, also in
the scopes around an item.
"""

from __future__ import annotations

from automate_core.rules.community.operators import COMMUNITY

__all__ = ["COMMUNITY"]
