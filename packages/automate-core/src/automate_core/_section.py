"""What the sections of the settings have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

__all__ = ["Money", "Section"]

Money = Annotated[Decimal, BeforeValidator(lambda value: Decimal(str(value)) if isinstance(value, float) else value)]
"""US dollars. A float is read through its text, so that 10.1 means 10.1."""


_LARGEST = 1_000_000_000


class Section(BaseModel):
    """A section: unknown names and numbers that no clock or column holds are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, populate_by_name=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _fits_clocks_and_databases(cls, value: Any) -> Any:
        if isinstance(value, (int, float, Decimal)) and value > _LARGEST:
            raise ValueError(f"Input should be at most {_LARGEST}")
        return value
