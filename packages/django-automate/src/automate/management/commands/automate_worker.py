"""``manage.py automate_worker``: work off the outbox."""

from __future__ import annotations

import argparse
import gc
import logging
import os
import sys
import threading
from typing import Any

from automate_core import settings
from automate_core.errors import AutomateError
from automate_outbox.store.rows import check_worker
from django.core.management.base import BaseCommand, CommandError

from automate import logs
from automate.commands.people import actor
from automate.doctor import unapplied
from automate.runtime.connections import close_connections
from automate.worker.loop import Worker, WorkerOptions, default_worker_id
from automate.worker.output import guard
from automate.worker.recovery import Recovery
from automate.worker.supervisor import SUPERVISED, Supervisor, beat, child_command, child_name, when_orphaned

_MOST = 1_000_000
_LAST_LOOK_SECONDS = 2.0
"""How long the end may wait for the database to take back what children held that had to be killed."""
_BATCH_OF_GARBAGE = 50_000
"""Objects that may come before the collector looks at them: some batches of a claim, which it would find in use."""


class Command(BaseCommand):
    """Run a worker until it is told to stop.

    SIGTERM and SIGINT stop claiming; what is in hand is finished within the grace, and handed back after it without
    being charged. A second signal ends the process at once. Exit status: 0 after a stop, 1 on an error.

    The process is a small supervisor and its children: one with threads, or one for each run in ``process`` mode. A
    child that dies or hangs is replaced. With ``--once``, ``--drain`` or ``--unsupervised`` a worker with threads is
    this process itself.
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
        parser.add_argument(
            "--unsupervised", action="store_true", help="no supervisor: for service managers that replace what dies"
        )
        parser.add_argument("--queue", action="append", dest="queues", help="serve this queue alone; may be repeated")
        parser.add_argument("--concurrency", type=_at_least(1, int), help="items in hand; default: WORKER.concurrency")
        parser.add_argument("--worker-id", help="begins the name in the leases; default: host, process, a random part")
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
        if not options["supervised"]:  # a child has a parent that did, and somebody waits for what it is to take up
            self.check()
            _ensure_migrated()
        try:
            self._run(options)
        except AutomateError as error:
            raise CommandError(str(error)) from error

    def _run(self, options: dict[str, Any]) -> None:
        logs.configure(settings.current().logging_schema, verbosity=options["verbosity"])
        guard()
        mode = options["mode"] or settings.current().worker_mode
        given = {name: options[name] for name in ("concurrency", "worker_id", "lease", "poll", "grace")}
        given["queues"] = tuple(options["queues"]) if options["queues"] else None
        worker_options = WorkerOptions.from_settings(mode=mode, **given)
        name = worker_options.worker_id
        # The children's names are a little longer; one that cannot be stored would have them die for ever.
        check_worker(name if options["supervised"] or not name else child_name(name, worker_options.concurrency))
        alone = options["supervised"] or options["unsupervised"] or options["once"] or options["drain"]
        if not options["supervised"] and (mode == "process" or (mode == "thread" and not alone)):
            self._supervise(worker_options, options)
            return
        worker = Worker(worker_options)
        worker.install_signal_handlers()
        if options["supervised"]:
            when_orphaned(worker.stop)
            beat(lambda: worker.is_alive)
        worker.note_settings(actor("automate_worker"))
        _spare_the_collector()
        handled = worker.run(once=options["once"], drain=options["drain"])
        if options["verbosity"] > 0:
            self.stdout.write(f"{worker_options.worker_id} stopped after {handled} item{'' if handled == 1 else 's'}.")
        if not (options["once"] or options["drain"]):
            _leave()

    def _supervise(self, chosen: WorkerOptions, options: dict[str, Any]) -> None:
        each = 1 if chosen.mode == "process" else chosen.concurrency
        arguments = ["--mode", chosen.mode, "--concurrency", str(each), "--verbosity", str(options["verbosity"])]
        for queue in chosen.queues or ():
            arguments += ["--queue", queue]
        for name in ("lease", "poll", "grace"):
            arguments += [f"--{name}", str(getattr(chosen, name))]
        for name in ("once", "drain"):
            arguments += [f"--{name}"] if options[name] else []
        current = settings.current()
        recovery = Recovery(chosen.lease, current.outbox.max_crashes)
        supervisor = Supervisor(
            child_command(os.environ.get("DJANGO_SETTINGS_MODULE"), *arguments),
            worker_id=options["worker_id"] or default_worker_id(),
            count=chosen.concurrency if chosen.mode == "process" else 1,
            grace=chosen.grace,
            silence=current.worker.silence_seconds,
            replace=not (options["once"] or options["drain"]),
            died=recovery.take_back,
        )
        supervisor.install_signal_handlers()
        close_connections()  # this process asks the database nothing more until a child dies
        status = supervisor.run()
        recovery.close(_LAST_LOOK_SECONDS)
        if status:
            raise CommandError("a worker process ended with an error")


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking over all that was imported, and over every batch while it is in use."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_BATCH_OF_GARBAGE, *gc.get_threshold()[1:])


def _leave() -> None:
    """End the process although threads of executors hang: the interpreter would wait for them for ever."""
    main = threading.main_thread()
    if any(thread is not main and not thread.daemon for thread in threading.enumerate()):
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)


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
