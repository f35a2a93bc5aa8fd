"""What templates and conditions see: the large values themselves, read when they are looked up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from automate_core.workflow.templates import find_references

from automate.artifacts.files import content
from automate.artifacts.reference import Reference

__all__ = ["reveal"]

_Path = tuple[str | int, ...]


def reveal(context: Mapping[str, Any], templates: Any) -> dict[str, Any]:
    """Put large values into a context in the place of their references.

    Args:
        context: What templates see: ``event`` with ``payload``, and ``steps`` with ``output`` of each. Not changed.
        templates: What is to be rendered with it; a value that no template looks up is not read. None for what may
            look up anything.

    Returns:
        The context; the same one where nothing in it is large.

    Raises:
        ArtifactUnavailable: If the storage does not answer, or has no such file.
        ArtifactCorrupt: If a file does not hold what was written.
    """
    large = list(_large(context))
    if not large and isinstance(context, dict):
        return context
    revealed = dict(context)
    paths = None if templates is None else [path for _, path in find_references(templates)]
    for path, reference in large:
        if paths is not None and not any(_meet(path, looked_up) for looked_up in paths):
            continue
        value = content(reference)
        if path[0] == "event":
            revealed["event"] = {**revealed["event"], "payload": value}
        else:
            step = {**revealed["steps"][path[1]], "output": value}
            revealed["steps"] = {**revealed["steps"], path[1]: step}
    return revealed


def _large(context: Mapping[str, Any]) -> Iterable[tuple[_Path, Reference]]:
    payload = context["event"].get("payload")
    if type(payload) is Reference:
        yield ("event", "payload"), payload
    for name, step in context["steps"].items():
        if type(step["output"]) is Reference:
            yield ("steps", name, "output"), step["output"]


def _meet(path: _Path, looked_up: _Path) -> bool:
    """Whether one of two paths leads on from the other; what is looked up may be written out in part alone."""
    return all(one == other for one, other in zip(path, looked_up, strict=False))
