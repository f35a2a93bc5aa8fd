"""The command itself."""

from __future__ import annotations

import argparse
import os
import secrets
import socket
import sys
import threading
from pathlib import Path
from typing import Any, ClassVar

from automate_core.cli import Command
from automate_core.errors import ConfigurationError

from automate.commands import set_up
from automate.up import project, sample

__all__ = ["UpCommand"]


class UpCommand(Command):
    """Find or create a project, run the sample, and serve web and worker in one process."""

    help: ClassVar[str] = "from nothing, or from your project, to a first run: migrate, run a sample, serve"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser of this subcommand.
        """
        edit = parser.add_mutually_exclusive_group()
        edit.add_argument("--yes", action="store_true", help="apply the change to the settings without asking")
        edit.add_argument("--no-edit", action="store_true", help="change no file")
        parser.add_argument("--no-serve", action="store_true", help="end when the sample has run")
        parser.add_argument("--port", type=_port, default=8000, help="port of the web server; default: 8000")

    def run(self, args: argparse.Namespace) -> int:
        """Do it.

        Args:
            args: The parsed arguments.

        Returns:
            0, or 1 where the settings were not to be changed or the sample failed.

        Raises:
            ConfigurationError: If the folder or the port cannot be used.
        """
        if not args.no_serve and not _is_free(args.port):
            raise ConfigurationError(f"Port {args.port} is in use. Take another one: --port {args.port + 1}")
        found = _project(args)
        if not _settings(found, args):
            return 1
        _set_up(found)
        return _Session(args).run()


def _say(done: str, text: str) -> None:
    sys.stdout.write(f"{done:<9} {text}\n")
    sys.stdout.flush()


def _port(text: str) -> int:
    number = int(text)
    if not 0 < number < 65_536:
        raise argparse.ArgumentTypeError("must lie between 1 and 65535")
    return number


_port.__name__ = "port"  # what argparse calls it in its error


def _is_free(port: int) -> bool:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _project(args: argparse.Namespace) -> project.Project:
    folder = Path.cwd()
    found = project.find(folder)
    if found is not None:
        _say("found", f"manage.py with {found.settings_module}")
        return found
    if args.no_edit:
        raise ConfigurationError(f"{folder} is empty, and --no-edit lets nothing be created.")
    _say("created", "a project on SQLite: manage.py, project/")
    return project.create(folder)


def _settings(found: project.Project, args: argparse.Namespace) -> bool:
    after, difference = found.change()
    if not difference:
        _say("unchanged", "the settings have both apps")
        return True
    sys.stdout.write(f"\n{difference}\n\n")
    if args.no_edit:
        _say("stopped", "--no-edit: make this change yourself, then run 'automate up' again")
        return False
    if not (args.yes or found.new) and not _ask("Apply this change? [y/N] "):
        _say("stopped", "nothing was changed; 'automate up --yes' applies it")
        return False
    found.settings_file.write_text(after, encoding="utf-8")
    _say("changed", str(found.settings_file.relative_to(found.root)))
    return True


def _ask(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    return input(question).strip().lower() in ("y", "yes")


def _set_up(found: project.Project) -> None:
    set_up(os.environ.get("DJANGO_SETTINGS_MODULE") or found.settings_module, found.root)


class _Session:
    """Everything that needs Django to be set up."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._port: int = args.port
        self._serve: bool = not args.no_serve

    def run(self) -> int:
        from automate.worker.loop import Worker, WorkerOptions

        self._migrate()
        if not self._examine():
            return 1
        new = sample.install()
        _say("installed" if new else "unchanged", f"the sample workflow {sample.SAMPLE['slug']}")
        event_id = sample.emit()
        worker = Worker(WorkerOptions.from_settings(concurrency=2, poll=0.2))
        thread = threading.Thread(target=worker.run, name="automate-worker", daemon=True)
        thread.start()
        try:
            run = sample.finished_run(event_id)
            if run is None or run.status != "SUCCESS":
                _say("failed", f"the sample run: {run.error if run else 'it did not end in time'}")
                return 1
            _say("ran", f"event user.created {event_id}, run {run.pk}: {run.status}")
            self._tell(run)
            if self._serve:
                self._serve_web()
        finally:
            worker.stop()
            thread.join(timeout=5)
        return 0

    def _migrate(self) -> None:
        from django.core.management import call_command
        from django.db import connection
        from django.db.migrations.executor import MigrationExecutor

        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        if plan:
            call_command("migrate", verbosity=0, interactive=False)
        _say("migrated" if plan else "unchanged", f"{len(plan)} migrations applied" if plan else "the database")

    def _examine(self) -> bool:
        from automate.doctor import examine

        findings = examine()
        for finding in findings:
            if finding.level != "ok":
                level = "hint" if finding.level == "warning" else finding.level  # nothing is wrong with a first run
                _say(level, f"{finding.name}: {finding.message} {finding.remedy}")
        healthy = all(finding.level != "error" for finding in findings)
        if healthy:
            _say("checked", "settings, database, migrations, plugins, workflows, outbox")
        return healthy

    def _tell(self, run: Any) -> None:
        from django.urls import NoReverseMatch, reverse

        try:
            path = reverse("admin:automate_executionrun_change", args=[run.pk])
        except NoReverseMatch:
            _say("look", "add the admin to your urls to see the run")
            return
        if self._serve:
            _say("look", f"http://127.0.0.1:{self._port}{path}")
            _say("login", _login())
        else:
            _say("look", f"at {path} in the admin: 'automate up' serves it")

    def _serve_web(self) -> None:
        from django.core.management import call_command

        os.environ["DJANGO_RUNSERVER_HIDE_WARNING"] = "true"
        _say("serving", "web and worker in this process; Ctrl-C ends both")
        call_command("runserver", f"127.0.0.1:{self._port}", use_reloader=False, skip_checks=True)


def _login() -> str:
    """Return how to log in, making a development user with a password of this minute where nobody could."""
    from django.conf import settings
    from django.contrib.auth import get_user_model

    model = get_user_model()
    manager: Any = model._default_manager
    if not settings.DEBUG:
        return "with a staff user of yours (DEBUG is off, so none is made)"
    known = manager.filter(is_superuser=True, is_active=True).exclude(**{model.USERNAME_FIELD: _name(model)})
    if known.exists():
        return "with a superuser of yours"
    password = secrets.token_urlsafe(9)
    user = manager.filter(**{model.USERNAME_FIELD: _name(model)}).first()
    if user is None:
        required = {name: _value(model, name) for name in model.REQUIRED_FIELDS}
        user = manager.create_superuser(**{model.USERNAME_FIELD: _name(model)}, password=password, **required)
    else:
        user.set_password(password)
        user.save()
    return f"{_name(model)}  password {password}"


def _name(model: Any) -> str:
    return str(_value(model, model.USERNAME_FIELD))


def _value(model: Any, name: str) -> Any:
    from django.db import models

    field = model._meta.get_field(name)
    if isinstance(field, models.EmailField):
        return "automate@localhost.invalid"
    return "automate" if isinstance(field, models.CharField) else field.to_python("1970-01-01")
