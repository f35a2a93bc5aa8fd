"""Finding or creating the Django project, and the one change to its settings."""

from __future__ import annotations

import difflib
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from automate_core.errors import ConfigurationError

__all__ = ["APPS", "Project", "create", "find", "settings_module_of"]

APPS = ("automate_outbox", "automate")
"""What goes into ``INSTALLED_APPS``."""

_MODULE = re.compile(r"""DJANGO_SETTINGS_MODULE['"]\s*,\s*['"]([\w.]+)['"]""")
_IGNORED = {".git", ".venv", "venv", ".python-version", ".DS_Store", ".idea", ".vscode"}

_MANAGE = '''\
"""The project's command line."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    execute_from_command_line(sys.argv)
'''

_SETTINGS = '''\
"""Settings for development; see Django's deployment checklist before production."""

from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "{secret_key}"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {{
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        }},
    }}
]
ROOT_URLCONF = "project.urls"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {{
    "default": {{
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": BASE_DIR / "db.sqlite3",
        "OPTIONS": {{
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
        }},
    }}
}}
'''

_URLS = '''\
"""The admin."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

urlpatterns = [path("admin/", admin.site.urls), path("", RedirectView.as_view(pattern_name="admin:index"))]
'''


@dataclass(frozen=True, slots=True)
class Project:
    """A Django project on disk.

    Args:
        root: The folder of its ``manage.py``.
        settings_module: The module of its settings.
        settings_file: The file of that module.
        new: Whether it was created just now, so that nobody has to be asked about changing it.
    """

    root: Path
    settings_module: str
    settings_file: Path
    new: bool = False

    def change(self) -> tuple[str, str]:
        """Return what the settings file would become, and the difference as text; both empty where nothing is missing.

        The apps are added behind the existing settings, so that nothing of the project's own is rewritten.
        """
        before = self.settings_file.read_text(encoding="utf-8")
        missing = [app for app in APPS if not re.search(rf"""['"]{app}(\\.apps\\.\\w+)?['"]""", before)]
        if not missing:
            return "", ""
        names = ", ".join(f'"{app}"' for app in missing)
        after = f"{before.rstrip()}\n\n# Automate\nINSTALLED_APPS = [*INSTALLED_APPS, {names}]\n"
        name = str(self.settings_file.relative_to(self.root))
        lines = difflib.unified_diff(before.splitlines(), after.splitlines(), name, name, lineterm="", n=1)
        return after, "\n".join(lines)


def find(folder: Path) -> Project | None:
    """Find the project in a folder.

    Args:
        folder: The folder.

    Returns:
        The project; None where the folder holds nothing yet.

    Raises:
        ConfigurationError: If the folder holds something else than a project, or the settings cannot be found.
    """
    manage = folder / "manage.py"
    if not manage.exists():
        others = sorted(path.name for path in folder.iterdir() if path.name not in _IGNORED)
        if others:
            raise ConfigurationError(
                f"{folder} holds no manage.py, but {', '.join(others[:3])}. Go to the folder of your project, or to an "
                f"empty one."
            )
        return None
    module = settings_module_of(manage)
    if module is None:
        raise ConfigurationError("manage.py does not name a settings module: set DJANGO_SETTINGS_MODULE in it.")
    base = folder.joinpath(*module.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return Project(folder, module, candidate)
    raise ConfigurationError(f"The settings module {module!r} that manage.py names is not in {folder}.")


def settings_module_of(manage: Path) -> str | None:
    """Return the settings module that a ``manage.py`` names, by reading it; it is not run.

    Args:
        manage: The file; one that does not exist names none.
    """
    found = _MODULE.search(manage.read_text(encoding="utf-8")) if manage.exists() else None
    return None if found is None else found[1]


def create(folder: Path) -> Project:
    """Create a small project on SQLite.

    Args:
        folder: An empty folder.
    """
    package = folder / "project"
    package.mkdir()
    files = {
        folder / "manage.py": _MANAGE,
        package / "__init__.py": "",
        package / "settings.py": _SETTINGS.format(secret_key=secrets.token_urlsafe(40)),
        package / "urls.py": _URLS,
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
    return Project(folder, "project.settings", package / "settings.py", new=True)
