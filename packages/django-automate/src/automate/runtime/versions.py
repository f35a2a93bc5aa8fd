"""Compiled workflow versions, kept for as long as they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from automate_core import settings
from automate_core.workflow.compiled import CompiledWorkflow, compile_workflow
from automate_core.workflow.definition import parse

from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import WorkflowVersion

__all__ = ["compiled"]

_MOST = 1024
_cache: dict[tuple[object, ...], CompiledWorkflow] = {}


def compiled(version: WorkflowVersion) -> CompiledWorkflow:
    """Compile a version, once for each definition.

    Args:
        version: The version.

    Returns:
        Its compiled form; versions are immutable, so it is found again by the hash of the definition, as long as the
        settings want rules of the same kind.
    """
    rules = settings.current().rules
    key = (version.hash, rules.dialect, rules.extensions)
    found = _cache.get(key)
    if found is None:
        if len(_cache) >= _MOST:
            _cache.clear()
        found = _cache[key] = compile_workflow(parse(version.definition), current_engine())
    return found
