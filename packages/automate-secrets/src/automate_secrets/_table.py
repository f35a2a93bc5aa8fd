"""The way to the table of secrets: what goes wrong with the database is a typed error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from automate_core.errors import SecretBackendUnavailable

if TYPE_CHECKING:
    from automate_secrets.models import Secret

__all__ = ["asking"]


@contextmanager
def asking() -> Iterator[type[Secret]]:
    """Give the model.

    Raises:
        SecretBackendUnavailable: If the app or its table is missing, or the database cannot be asked.
    """
    from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
    from django.db import Error, OperationalError, ProgrammingError

    try:
        yield _model()
    except (AppRegistryNotReady, ImproperlyConfigured, LookupError) as error:
        raise SecretBackendUnavailable(
            "The secret backend 'db' needs Django's settings with 'automate_secrets' in INSTALLED_APPS.",
            retryable=False,
        ) from error
    except Error as error:
        # A receiver of secret_changed may lack a table of its own.
        missing = (isinstance(error, ProgrammingError) or "no such" in str(error)) and _names_table(error)
        remedy = " Run: python manage.py migrate automate_secrets" if missing else ""
        raise SecretBackendUnavailable(
            f"The database cannot be asked for secrets ({type(error).__name__}).{remedy}",
            retryable=isinstance(error, OperationalError) and not missing,
        ) from error


def _names_table(error: Exception) -> bool:
    return _model()._meta.db_table in str(error)


def _model() -> type[Secret]:
    from django.apps import apps

    model: type[Secret] = apps.get_model("automate_secrets", "Secret")
    return model
