"""Explanations cut to the levels of nesting that a place takes: a JSON column, or the redactor."""

from __future__ import annotations

from typing import Any

from automate_core.rules.display import MAX_LEVELS, snapshot
from automate_core.rules.ledger import Node

__all__ = ["prune"]

_LEVELS_PER_NODE = 2
_LEAST_BELOW = 3
"""Levels that the children of a node take at least: their list, one of them, and what it holds."""


def prune(tree: Node, levels: int) -> Node:
    """Cut an explanation to a number of levels of nesting.

    Args:
        tree: What :func:`~automate_core.rules.explain` gave; it is changed.
        levels: The levels that it may have, a scalar or an empty list counting as one; 2 at least.

    Returns:
        The tree. A node whose children are left out has ``omitted``, the number of all nodes below it; an ellipsis
        stands for what is left out of a value.
    """
    row, room = [tree], levels - 1
    while row:
        if room < MAX_LEVELS:
            for node in row:
                if isinstance(node["value"], list | dict):
                    node["value"] = snapshot(node["value"], room - 1)
        if room < _LEAST_BELOW:
            for node in row:
                if node["children"]:
                    node["omitted"] = _count(node["children"])
                    node["children"] = []
            break
        row = [child for node in row for child in node["children"]]
        room -= _LEVELS_PER_NODE
    return tree


def _count(nodes: list[Any]) -> int:
    count = 0
    while nodes:
        count += len(nodes)
        nodes = [child for node in nodes for child in node["children"]]
    return count
