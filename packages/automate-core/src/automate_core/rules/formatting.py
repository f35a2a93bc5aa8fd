"""Explanations as text for a terminal."""

from __future__ import annotations

from automate_core.rules.explain import Node

__all__ = ["format_explanation"]

_MARKS = {True: "✓", False: "✗", None: "·"}
_CONDITIONS = frozenset({"and", "or", "if", "?:", "!", "!!", "all", "some", "none"})


def format_explanation(tree: Node) -> str:
    """Write an explanation for a terminal.

    Args:
        tree: What :func:`~automate_core.rules.explain` gave.

    Returns:
        One line for each condition, indented: a mark, the place in the rule, the reason.
    """
    lines: list[str] = []
    stack = [(tree, 0)]
    while stack:
        node, depth = stack.pop()
        mark = _MARKS[node["result"]]
        item = f" item {node['item']}" if "item" in node else ""
        lines.append(f"{'  ' * depth}{mark} {node['path'] or '/'} {node['operator']}{item}: {node['reason']}")
        visible = [child for child in node["children"] if _is_visible(child, node["operator"])]
        stack.extend((child, depth + 1) for child in reversed(visible))
    return "\n".join(lines)


def _is_visible(child: Node, parent: str) -> bool:
    if parent in _CONDITIONS:
        return bool(child["operator"] != "constant")
    return any(grandchild["operator"] != "constant" for grandchild in child["children"])
