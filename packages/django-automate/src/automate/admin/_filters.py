"""Filters of the admin that name no tenant, and no workflow, which the user may not see."""

from __future__ import annotations

from typing import Any

from automate_core.tenancy import tenants_of
from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from automate.admin._read_only import RedactedChoices

__all__ = ["OwnTenantsFilter", "OwnWorkflowsFilter"]


class OwnTenantsFilter(RedactedChoices):
    """Names of tenants: the user's own."""

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: dict[str, list[str]],
        model: type[models.Model],
        model_admin: Any,
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        tenants = tenants_of(request.user)
        if tenants is not None:
            self.lookup_choices = self.lookup_choices.filter(**{f"{field.name}__in": ["", *tenants]})


class OwnWorkflowsFilter(admin.RelatedFieldListFilter):
    """Workflows: those that the user may see."""

    def field_choices(self, field: Any, request: HttpRequest, model_admin: Any) -> Any:
        """Return the choices.

        Args:
            field: The relation to a workflow.
            request: The request.
            model_admin: The page.
        """
        tenants = tenants_of(request.user)
        limit = {} if tenants is None else field.remote_field.model.within(sorted(tenants))
        ordering = self.field_admin_ordering(field, request, model_admin)
        return field.get_choices(include_blank=False, ordering=ordering, limit_choices_to=limit)
