"""What django-automate registers."""

from __future__ import annotations

from automate_core.hookspecs import hookimpl
from automate_core.specs import Spec

__all__ = ["automate_register_commands", "automate_register_connectors"]


@hookimpl
def automate_register_connectors() -> list[Spec]:
    """Register the ``flow`` actions."""
    return [Spec("flow", "automate.flow:FlowConnector", "Flow control within a workflow")]


@hookimpl
def automate_register_commands() -> list[Spec]:
    """Register ``automate up`` and the subcommands that work in a project."""
    return [
        Spec("up", "automate.up.command:UpCommand", "From nothing to a first run"),
        Spec("dlq", "automate.commands.dlq:DeadLettersCommand", "List, requeue or discard dead letters"),
        Spec("audit", "automate.commands.audit:AuditCommand", "Read the audit log, export it, or verify it"),
        Spec("rules", "automate.commands.rules:RulesCommand", "Look at rules, and at what they would do"),
        Spec("workflows", "automate.commands.workflows:WorkflowsCommand", "List workflows; enable or promote one"),
        Spec("policy", "automate.commands.policy:PolicyCommand", "Show and try the policy; pause everything"),
        Spec("events", "automate.commands.events:EventsCommand", "Show the event types that are declared"),
        Spec("secrets", "automate.commands.secrets:SecretsCommand", "Keep secrets in the database, and rotate keys"),
        Spec("retention", "automate.commands.retention:RetentionCommand", "Delete history that is old enough"),
        Spec("size", "automate.commands.size:SizeCommand", "How large the tables are and will be"),
        Spec("partition", "automate.commands.partition:PartitionCommand", "Keep events in a partition per month"),
    ]
