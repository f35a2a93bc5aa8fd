"""``manage.py automate_worker``: work off the outbox."""

from __future__ import annotations

import argparse
import os
from typing import Any

from automate_core import settings
from automate_core.errors import AutomateError
from django.core.management.base import BaseCommand, CommandError

from automate import logs
from automate.doctor import unapplied
from automate.worker.loop import Worker, WorkerOptions, default_worker_id
from automate.worker.supervisor import SUPERVISED, Supervisor, child_command, when_orphaned

_MOST = 1_000_000


class Command(BaseCommand):
    """Run a worker until it is told to stop.

    SIGTERM and SIGINT stop claiming; what is in hand is finished within the grace, and handed back after it without
    being charged. A second signal ends the process at once. Exit status: 0 after a stop, 1 on an error.
    """

    help = "Work off the outbox: decide about events and run workflows."
    requires_system_checks = ()

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser.
        """
        parser.add_argument("--mode", choices=("thread", "process", "synchronous"), help="default: WORKER_MODE")
        parser.add_argument(SUPERVISED, action="store_true", help=argparse.SUPPRESS)
        parser.add_argument("--concurrency", type=_at_least(1, int), help="items in hand; default: WORKER.concurrency")
        parser.add_argument("--worker-id", help="name in the leases; default: host, process and a random part")
        parser.add_argument("--lease", type=_at_least(1, float), help="seconds; default: OUTBOX.lease_seconds")
        parser.add_argument("--poll", type=_at_least(0.01, float), help="seconds; default: WORKER.poll_seconds")
        parser.add_argument("--grace", type=_at_least(0, float), help="seconds; default: WORKER.grace_seconds")
        stop = parser.add_mutually_exclusive_group()
        stop.add_argument("--once", action="store_true", help="stop after one claim")
        stop.add_argument("--drain", action="store_true", help="stop when nothing is due")

    def handle(self, **options: Any) -> None:
        """Run the worker.

        Args:
            **options: The parsed options.

        Raises:
            CommandError: If it cannot start, tables are missing, or a child ended with an error.
        """
        self.check()
        if not options["supervised"]:
            _ensure_migrated()
        try:
            self._run(options)
        except AutomateError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        logs.configure(settings.current().logging_schema, verbosity=options["verbosity"])
        mode = options["mode"] or settings.current().worker_mode
        given = {name: options[name] for name in ("concurrency", "worker_id", "lease", "poll", "grace")}
        worker_options = WorkerOptions.from_settings(inline=mode == "synchronous", **given)
        if mode == "process":
            self._supervise(worker_options, options)
            return
        worker = Worker(worker_options)
        worker.install_signal_handlers()
        if options["supervised"]:
            when_orphaned(worker.stop)
        handled = worker.run(once=options["once"], drain=options["drain"])
        if options["verbosity"] > 0:
            self.stdout.write(f"{worker_options.worker_id} stopped after {handled} items.")

    def _supervise(self, chosen: WorkerOptions, options: dict[str, Any]) -> None:
        arguments = ["--mode", "thread", "--concurrency", "1", "--verbosity", str(options["verbosity"])]
        for name in ("lease", "poll", "grace"):
            arguments += [f"--{name}", str(getattr(chosen, name))]
        for name in ("once", "drain"):
            arguments += [f"--{name}"] if options[name] else []
        supervisor = Supervisor(
            child_command(os.environ.get("DJANGO_SETTINGS_MODULE"), *arguments),
            worker_id=options["worker_id"] or default_worker_id(),
            count=chosen.concurrency,
            grace=chosen.grace,
            replace=not (options["once"] or options["drain"]),
        )
        supervisor.install_signal_handlers()
        if supervisor.run():
            raise CommandError("a worker process ended with an error")


def _ensure_migrated() -> None:
    """Refuse to wait for tables that nobody is going to make; a database that is away is waited for by the worker."""
    from django.db import InterfaceError, OperationalError

    try:
        missing = unapplied()
    except (InterfaceError, OperationalError):
        return
    if missing:
        raise CommandError(f"Migrations are not applied: {', '.join(missing)}. Run 'python manage.py migrate' first.")


def _at_least(least: float, kind: type[int] | type[float]) -> Any:
    def parse(text: str) -> int | float:
        value = kind(text)
        if not least <= value <= _MOST:
            raise argparse.ArgumentTypeError(f"must lie between {least:g} and {_MOST}")
        return value

    parse.__name__ = kind.__name__
    return parse
