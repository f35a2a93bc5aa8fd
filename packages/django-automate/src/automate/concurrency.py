"""Concurrency keys: which runs are counted together, and in whose order they wait."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

from automate_core.workflow.compiled import CompiledWorkflow

__all__ = ["EXCLUSIVE", "key_of", "ordering_key_of"]

EXCLUSIVE = ("skip", "cancel_running")
"""The modes in which a key has one live execution, which whoever starts the next one must see."""

_MOST_KEYS = 10_000
_turns: dict[str, int] = {}


def key_of(workflow: CompiledWorkflow, tenant: str, event: Mapping[str, Any]) -> str | None:
    """Return the key of a run: a digest, as what the template gives may be long, or nobody's business.

    It also takes the collations of databases, which may think two texts equal, out of the matter.

    Args:
        workflow: The workflow.
        tenant: Whose run it is.
        event: What templates see as ``event``.

    Returns:
        64 hexadecimal digits, other ones for each workflow, tenant and text; None where nothing limits the run.

    Raises:
        TemplateError: If the key cannot be rendered.
    """
    text = workflow.key_for(event)
    if not text:
        return None
    return hashlib.sha256(json.dumps([workflow.definition.slug, tenant, text]).encode()).hexdigest()


def ordering_key_of(workflow: CompiledWorkflow, key: str | None) -> str:
    """Return the ordering key of the item that carries a run: of the items with one of these, one is held at a time.

    A key whose runs are limited to ``n`` has ``n`` of them, which its runs are given in turn. So nothing is counted,
    and nothing can be counted wrongly; a run may wait for the one before it while another place is free.

    Args:
        workflow: The workflow.
        key: The key of the run.

    Returns:
        The ordering key; empty where runs of the key do not wait for each other.
    """
    concurrency = workflow.definition.concurrency
    if key is None or concurrency is None:
        return ""
    if concurrency.mode == "queue":
        return f"{workflow.definition.slug}:{key}"
    if concurrency.limit is None:
        return ""
    return f"{workflow.definition.slug}:{key}#{_turn(key) % concurrency.limit}"


def _turn(key: str) -> int:
    """Return the number of the turn; processes begin anywhere, so that they do not all begin with the same place."""
    if len(_turns) >= _MOST_KEYS:
        _turns.clear()
    turn = _turns[key] = _turns.get(key, random.randrange(1000)) + 1  # noqa: S311 - spreads, guards nothing
    return turn
