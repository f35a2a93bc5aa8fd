"""The subcommands of ``automate`` that work in a project, and what they share.

The same subcommand runs as ``automate NAME``, which finds the project, and as ``manage.py automate NAME``, which is in
one. Nothing of Django is imported before a subcommand runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from automate_core.aliases import ensure_alias
from automate_core.cli import Command
from automate_core.errors import ConfigurationError

__all__ = ["ProjectCommand", "add_common_options", "is_project_named", "print_json", "set_up"]


class ProjectCommand(Command):
    """Base class of a subcommand that needs the Django project.

    It is found by ``--settings``, by ``DJANGO_SETTINGS_MODULE``, or by the ``manage.py`` in the current folder. A
    subclass adds its options in :meth:`add_arguments` and does its work in :meth:`handle`, where models may be
    imported.
    """

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add ``--settings`` and the subclass's options.

        Args:
            parser: The parser of this subcommand.
        """
        parser.add_argument(
            "--settings",
            metavar="MODULE",
            help="the project's settings; default: DJANGO_SETTINGS_MODULE, or what manage.py in this folder names",
        )
        self.add_arguments(parser)

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add options.

        Args:
            parser: The parser of this subcommand.
        """

    def handle(self, args: argparse.Namespace) -> int:
        """Do the work; the project is set up.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status.
        """
        raise NotImplementedError(f"{type(self).__name__} must define handle()")

    def run(self, args: argparse.Namespace) -> int:
        """Set the project up and do the work.

        Args:
            args: The parsed arguments.

        Returns:
            The exit status.

        Raises:
            ConfigurationError: If there is no project, it cannot be set up, it has no database of the name that
                ``--database`` gives, or its database cannot be used.
        """
        _ensure_set_up(args.settings)
        _ensure_database(getattr(args, "database", None))
        from django.db import InterfaceError, OperationalError, ProgrammingError

        try:
            return self.handle(args)
        except (InterfaceError, OperationalError, ProgrammingError) as error:
            raise ConfigurationError(
                f"The database cannot be used: {type(error).__name__}: {error}. 'manage.py automate_doctor' looks "
                "why; 'manage.py migrate' makes tables that are missing."
            ) from error


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add what every subcommand about a database understands: ``--database`` and ``--json``.

    Args:
        parser: The parser of the subcommand.
    """
    parser.add_argument("--database", default="default", metavar="ALIAS", help="the database; default: default")
    parser.add_argument("--json", action="store_true", help="print JSON")


def print_json(value: Any) -> None:
    """Print a value for scripts.

    Args:
        value: What JSON has, and times.
    """
    sys.stdout.write(json.dumps(value, indent=2, default=datetime.isoformat) + "\n")


def is_project_named(settings_module: str | None) -> bool:
    """Return whether there is a project: one that is set up, or that :class:`ProjectCommand` would find.

    Args:
        settings_module: What ``--settings`` says.
    """
    from django.apps import apps

    return apps.ready or _settings_module(settings_module) is not None


def set_up(settings_module: str, root: Path | None = None) -> None:
    """Set Django up for this process.

    Args:
        settings_module: The module of the settings.
        root: The folder of the project's ``manage.py``, from which its modules are imported.

    Raises:
        ConfigurationError: If the settings or an app cannot be imported, or Automate's apps are not installed.
    """
    import django
    from django.apps import apps
    from django.core.exceptions import ImproperlyConfigured

    os.environ["DJANGO_SETTINGS_MODULE"] = settings_module
    if root is not None and str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        django.setup()
    except (ImportError, ImproperlyConfigured) as error:
        raise ConfigurationError(
            f"The project of {settings_module!r} cannot be set up: {type(error).__name__}: {error}. Run this in the "
            "folder of its manage.py, with the Python that its packages are installed for."
        ) from error
    if not apps.is_installed("automate"):
        raise ConfigurationError(
            f"{settings_module!r} does not use Automate: add 'automate_outbox' and 'automate' to INSTALLED_APPS, or "
            "run 'automate up', which does."
        )


def _ensure_set_up(settings_module: str | None) -> None:
    from django.apps import apps

    if apps.ready:  # manage.py did it
        return
    module, folder = _settings_module(settings_module), Path.cwd()
    if module is None:
        raise ConfigurationError(
            f"Which project? {folder} holds no manage.py that names its settings. Go to the folder of yours, or name "
            "the settings with --settings or DJANGO_SETTINGS_MODULE. 'automate up' makes a project from nothing."
        )
    set_up(module, folder if (folder / "manage.py").exists() else None)


def _ensure_database(alias: str | None) -> None:
    from django.db import connections

    if alias is not None:
        ensure_alias(alias, connections)


def _settings_module(given: str | None) -> str | None:
    from automate.up.project import settings_module_of

    return given or os.environ.get("DJANGO_SETTINGS_MODULE") or settings_module_of(Path.cwd() / "manage.py")
