"""Explanations as text for a terminal."""

from __future__ import annotations

from automate_core.rules.explain import Node

__all__ = ["format_explanation"]

_MARKS = {True: "✓", False: "✗", None: "·"}
_VALUE = "="
"""The mark of what is no condition: only its value matters."""

_COLORS = {"✓": "\x1b[32m", "✗": "\x1b[31m", "·": "\x1b[2m", _VALUE: "\x1b[2m"}
_PLAIN = "\x1b[0m"
_JUNCTIONS = frozenset({"and", "or", "if", "?:", "!", "!!"})
_SEARCHES = frozenset({"all", "some", "none"})


def format_explanation(tree: Node, *, colored: bool = False) -> str:
    """Write an explanation for a terminal.

    Args:
        tree: What :func:`~automate_core.rules.explain` gave.
        colored: Whether to color the marks, for a terminal that shows colors.

    Returns:
        One line for each condition, indented: a mark, the place in the rule, the reason. The marks are ``✓`` for what
        holds, ``✗`` for what does not, ``·`` for what was not reached and ``=`` for a value. A line of its own says
        how many deeper parts were left out of the tree. What would steer the terminal is left out of the text.
    """
    lines: list[str] = []
    stack = [(tree, 0, True)]
    while stack:
        node, depth, is_condition = stack.pop()
        children = [(child, depth + 1, _is_condition(node, at)) for at, child in enumerate(node["children"])]
        visible = [entry for entry in children if _is_visible(entry[0], node)]
        lines.append(_line(node, depth, is_condition, bool(visible), colored))
        if omitted := node.get("omitted"):
            lines.append(f"{'  ' * (depth + 1)}… {omitted} deeper {'part' if omitted == 1 else 'parts'} left out")
        stack.extend(reversed(visible))
    return "\n".join(lines)


def _line(node: Node, depth: int, is_condition: bool, is_open: bool, colored: bool) -> str:
    mark = _MARKS[node["result"]] if is_condition or node["skipped"] else _VALUE
    item = f" item {node['item']}" if "item" in node else ""
    reason = str(node["reason"])
    if is_open and depth and node["operator"] in ("and", "or"):
        # The line of the condition that decided follows, and says the rest.
        reason = reason.partition(": ")[0]
    named = f" {node['operator']}{item}"
    if not is_condition and reason.startswith(f"{node['operator']} "):
        named = ""  # the reason begins with it: "+ gives 150"
    text = "".join(character if character.isprintable() else " " for character in reason)
    shown = f"{_COLORS[mark]}{mark}{_PLAIN}" if colored else mark
    return f"{'  ' * depth}{shown} {node['path'] or '/'}{named}: {text}"


def _is_condition(parent: Node, at: int) -> bool:
    return parent["operator"] in _JUNCTIONS or (parent["operator"] in _SEARCHES and at == 1)


def _is_visible(child: Node, parent: Node) -> bool:
    if parent["operator"] in _JUNCTIONS or parent["operator"] in _SEARCHES:
        return bool(child["operator"] != "constant")
    return any(grandchild["operator"] != "constant" for grandchild in child["children"])
