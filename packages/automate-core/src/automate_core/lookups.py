"""What the address of a list in the admin may ask: what its filters ask, and no more.

Django lets an address name any lookup of a model's own fields. Of a field that is shown redacted, or not at all, a
lookup such as ``startswith`` tells the whole value, a character at a time. What no database can compare with is refused
too.
"""

from __future__ import annotations

from typing import Any

__all__ = ["may_look_up"]

_DATES = frozenset({"DateField", "DateTimeField"})
_OF_FILTERS = frozenset({"", "exact", "isnull"})
_WHOLE = frozenset({"", "exact", "gte", "lt"})
_NUMBERS: dict[str, range] = {"year": range(2, 9999), "month": range(1, 13), "day": range(1, 32)}
"""Of dates: no year that the offset of a time zone can lead out of the calendar."""


def may_look_up(page: Any, lookup: str, value: str) -> bool:
    """Whether the address of a list may hold a lookup.

    Args:
        page: The page, a ``ModelAdmin``; its ``list_filter`` and ``date_hierarchy`` say what is asked.
        lookup: The lookup, such as ``status__exact``. Rows may always be chosen by ``pk``, by their primary key, and
            by the event that they name.
        value: What it is compared with; it has no NUL, and the year of a date is one of 2 to 9998.
    """
    if "\0" in value:
        return False
    meta = page.model._meta
    keys = {"pk", meta.pk.name, *(field.name for field in meta.fields if field.name == "event_id")}
    if lookup.removesuffix("__exact") in keys:
        return True
    filters = [entry[0] if isinstance(entry, list | tuple) else entry for entry in page.list_filter]
    paths = {path for path in (*filters, page.date_hierarchy) if isinstance(path, str)}
    return any(_is_of(page.model, path, lookup, value) for path in paths)


def _is_of(model: Any, path: str, lookup: str, value: str) -> bool:
    """Whether it is what a filter by the field at a path asks."""
    if lookup != path and not lookup.startswith(f"{path}__"):
        return False
    asked = lookup[len(path) :].removeprefix("__")
    for name in path.split("__"):
        field = model._meta.get_field(name)
        model = field.related_model
    if model is not None:
        return asked in (f"{field.target_field.name}__exact", "isnull")
    if field.get_internal_type() in _DATES and asked != "isnull":
        return _is_of_dates(asked, value)
    return asked in _OF_FILTERS


def _is_of_dates(asked: str, value: str) -> bool:
    """Whether a date can be compared so; a whole one begins with its year."""
    if asked in _WHOLE:
        asked, value = "year", value[:4]
    return value.isdecimal() and len(value) <= 4 and int(value) in _NUMBERS.get(asked, ())
