"""The operators of the dialect: the classic ones where they agree, and what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from automate_core.rules.community import forms, functions, parts
from automate_core.rules.operators import CLASSIC, Form, Operator, Shape

__all__ = ["COMMUNITY"]


def _computed(name: str, function: Callable[..., Any], minimum: int = 0) -> Operator:
    return Operator(name, minimum, function=function, budgeted=True, trusted=True, fails=True, spread=True)


def _lazy(name: str, shape: Shape, minimum: int = 0, maximum: int | None = None, boolean: bool = False) -> Operator:
    return Operator(
        name, minimum, maximum, None, Form.OWN, boolean=boolean, budgeted=True, trusted=True, shape=shape, listed=True
    )


def _bare(name: str, shape: Shape, minimum: int, maximum: int | None = None) -> Operator:
    return replace(_lazy(name, shape, minimum, maximum), listed=False)


_CHAIN = Shape(forms.chain, parts.chain)
_JUNCTION = Shape(forms.junction, parts.junction)
_ARRAY = Shape(forms.array, parts.array)

COMMUNITY: Mapping[str, Operator] = MappingProxyType(
    {
        **CLASSIC,
        **{
            operator.name: operator
            for operator in (
                *[_lazy(name, _CHAIN, 2, boolean=True) for name in functions.COMPARISONS],
                _lazy("and", _JUNCTION),
                _lazy("or", _JUNCTION),
                replace(CLASSIC["if"], listed=True),
                replace(CLASSIC["?:"], listed=True),
                _computed("+", functions.add),
                _computed("*", functions.multiply),
                _computed("-", functions.subtract, 1),
                _computed("/", functions.divide, 1),
                replace(_computed("%", functions.modulo), listed=False),
                _computed("max", functions.largest),
                _computed("min", functions.smallest),
                replace(CLASSIC["cat"], spread=True),
                replace(CLASSIC["merge"], spread=True),
                _lazy("map", _ARRAY, 2, 2),
                _lazy("filter", _ARRAY, 2, 2),
                _lazy("reduce", Shape(forms.reduction, parts.array), 2, 3),
                *[_lazy(name, _ARRAY, 2, 2, boolean=True) for name in ("all", "some", "none")],
                _bare("val", Shape(forms.value_of, parts.value_of), 0),
                _bare("exists", Shape(forms.exists, parts.exists), 1),
                _bare("??", Shape(forms.coalesce, parts.coalesce), 0),
                _bare("try", Shape(forms.rescue, parts.rescue), 1),
                Operator("throw", 1, 1, budgeted=True, trusted=True, fails=True, fix=functions.throw),
                replace(_bare("preserve", Shape(forms.preserve, parts.preserve), 0), quoted=True),
            )
        },
    }
)
"""The classic operators as the compat-tables have them, with ``val exists ?? try throw preserve``."""
