"""What every section of the settings has in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

__all__ = ["Section"]

_LARGEST = 1_000_000_000


class Section(BaseModel):
    """A section: nothing that is unknown, nothing that clocks and databases cannot hold, and no change afterwards."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, populate_by_name=True, allow_inf_nan=False
    )

    @field_validator("*")
    @classmethod
    def _fits_clocks_and_databases(cls, value: Any) -> Any:
        if isinstance(value, (int, float, Decimal)) and value > _LARGEST:
            raise ValueError(f"Input should be at most {_LARGEST}")
        return value
