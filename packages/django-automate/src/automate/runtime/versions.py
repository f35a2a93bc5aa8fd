"""Compiled workflow versions, kept for as long as they are used."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING

from automate_core import settings
from automate_core.workflow.compiled import CompiledWorkflow, compile_workflow
from automate_core.workflow.definition import parse

from automate.rules import current_engine

if TYPE_CHECKING:
    from automate.models import WorkflowVersion

__all__ = ["compiled"]

_MOST = 4096
_cache: OrderedDict[tuple[object, ...], CompiledWorkflow] = OrderedDict()
_lock = Lock()


def compiled(version: WorkflowVersion) -> CompiledWorkflow:
    """Compile a version, once for each definition among those used last.

    Args:
        version: The version.

    Returns:
        Its compiled form; versions are immutable, so it is found again by the hash of the definition, as long as the
        settings want rules of the same kind.
    """
    rules = settings.current().rules
    key = (version.hash, rules.dialect, rules.extensions)
    with _lock:
        if (found := _cache.get(key)) is not None:
            _cache.move_to_end(key)
            return found
    made = compile_workflow(parse(version.definition), current_engine())
    with _lock:
        _cache[key] = made
        if len(_cache) > _MOST:
            _cache.popitem(last=False)
    return made
