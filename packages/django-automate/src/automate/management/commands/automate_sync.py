"""``manage.py automate_sync``: publish the workflows of the installed apps' ``automations`` modules."""

from __future__ import annotations

import argparse
import json
from typing import Any

from automate_core.errors import InvalidDefinitionError
from automate_core.rules import Severity
from automate_core.workflow.catalogue import RegistryCatalogue
from automate_core.workflow.checks import ensure_publishable
from automate_core.workflow.definition import WorkflowDefinition
from django.core.management.base import BaseCommand, CommandError

from automate.builder import WorkflowBuilder, definitions
from automate.linting import lint_definitions
from automate.models import Workflow, WorkflowVersion
from automate.models.workflows import LISTENING
from automate.publish import publish
from automate.rules import current_engine


class Command(BaseCommand):
    """Publish what has changed: a new version goes live or becomes the shadow, runs in flight stay on theirs."""

    help = "Publish the workflows that the installed apps define in their automations modules."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options.

        Args:
            parser: The parser.
        """
        parser.add_argument(
            "--check", action="store_true", help="publish nothing; exit with 1 where something would be"
        )
        parser.add_argument(
            "--strict", action="store_true", help="publish nothing where lint finds an error or a warning in a rule"
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, check: bool = False, strict: bool = False, **options: Any) -> None:
        """Publish.

        Args:
            check: Whether only to look.
            strict: Whether to publish nothing where something is wrong with a rule.
            **options: The other options.

        Raises:
            CommandError: If a definition cannot be published (then none is), on ``--check`` where one would be, or on
                ``--strict`` where something is wrong with a rule (then none is published).
        """
        found = definitions.all()
        problems = []
        for builder in found:
            try:
                ensure_publishable(builder.definition(), RegistryCatalogue(), current_engine())
            except InvalidDefinitionError as error:
                problems.append(f"{builder.origin}: {error}")
        if problems:
            raise CommandError("\n".join(problems))
        self._lint([builder.definition() for builder in found], strict=strict)
        rows = []
        for builder in found:
            if check:
                rows.append(_look(builder))
            else:
                definition, shadow = builder.definition(), builder.shadow
                rows.append(_row(*publish(definition, name=builder.name, actor="automate_sync", shadow=shadow)))
        self._print(rows, as_json=options["json"], check=check)
        if check and any(row["changed"] for row in rows):
            raise CommandError("Some workflows are not published as they are defined: run automate_sync.")

    def _lint(self, found: list[WorkflowDefinition], *, strict: bool) -> None:
        """Print what is wrong with the rules, apart from the output, so that it stays JSON."""
        tenants = Workflow.objects.filter(slug__in=[definition.slug for definition in found]).exclude(tenant="")
        lines = [
            f"{linted.workflow}: {finding}"
            for linted in lint_definitions(found, tenants=dict(tenants.values_list("slug", "tenant")), implied=False)
            for finding in linted.findings
            if finding.severity != Severity.NOTE
        ]
        if strict and lines:
            raise CommandError("\n".join([*lines, "Nothing was published: --strict."]))
        for line in lines:
            self.stderr.write(self.style.WARNING(line))

    def _print(self, rows: list[dict[str, Any]], *, as_json: bool, check: bool) -> None:
        if as_json:
            self.stdout.write(json.dumps(rows, indent=2))
            return
        for row in rows:
            word = ("to be published" if check else "published") if row["changed"] else "unchanged"
            place = " as shadow" if row["shadow"] else ""
            self.stdout.write(f"{row['workflow']}  v{row['version']}  {word}{place}")
        if not rows:
            self.stdout.write("No workflows found: define them in automations.py of an installed app.")


def _row(version: WorkflowVersion, changed: bool) -> dict[str, Any]:
    return {
        "workflow": version.workflow.slug,
        "version": version.version_num,
        "shadow": version.shadow is True,
        "changed": changed,
    }


def _look(builder: WorkflowBuilder) -> dict[str, Any]:
    definition = builder.definition()
    listening = WorkflowVersion.objects.select_related("workflow").filter(LISTENING, workflow__slug=definition.slug)
    standing = {"live" if version.live else "shadow": version for version in listening}
    places = ("live", "shadow") if builder.shadow else ("live",)
    for version in (standing[place] for place in places if place in standing):
        if version.hash == definition.hash():
            return _row(version, False)
    now = standing.get(places[-1])
    number = now.version_num if now else 0
    return {"workflow": definition.slug, "version": number, "shadow": builder.shadow, "changed": True}
