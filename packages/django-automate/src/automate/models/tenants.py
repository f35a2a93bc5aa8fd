"""Whose rows these are."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Self, TypeVar

from automate_core.tenancy import tenants_of
from django.db import models

__all__ = ["TenantModel", "TenantQuerySet"]

_Row = TypeVar("_Row", bound=models.Model, covariant=True)


class TenantQuerySet(models.QuerySet[_Row, _Row]):
    """Rows of tenants."""

    def of_tenants(self, tenants: Collection[str]) -> Self:
        """Leave the rows of some tenants.

        Args:
            tenants: Their names; empty is the installation's own.
        """
        model: Any = self.model
        return self.filter(model.within(sorted(tenants)))

    def visible_to(self, user: Any) -> Self:
        """Leave the rows that somebody may see, as ``TENANTS_OF_USER`` says.

        Args:
            user: The user.
        """
        tenants = tenants_of(user)
        return self.all() if tenants is None else self.of_tenants(tenants)


class TenantModel(models.Model):
    """A row that belongs to a tenant, or to something that does."""

    tenant_lookup: ClassVar[str] = "tenant"
    """Where the tenant's name stands."""

    class Meta:
        """Abstract."""

        abstract = True

    @classmethod
    def within(cls, tenants: Collection[str]) -> models.Q:
        """Return the condition that a row belongs to one of some tenants.

        Args:
            tenants: Their names.
        """
        return models.Q(**{f"{cls.tenant_lookup}__in": tenants})
