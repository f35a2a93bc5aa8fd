"""The hooks that a plugin may implement. Each registers; none is called at run time for anything else.

A plugin is a module (or object) named by an entry point in the group ``automate``::

    [project.entry-points.automate]
    acme = "automate_acme.plugin"

and marks its implementations with :data:`hookimpl`. A hook returns a list of :class:`automate_core.specs.Spec`.
What happens at run time is announced by Django signals (``automate.signals``), not by hooks.
"""

from __future__ import annotations

import pluggy

from automate_core.specs import Spec

__all__ = ["PROJECT_NAME", "hookimpl", "hookspec"]

PROJECT_NAME = "automate"
"""The pluggy project name, and the entry-point group."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


@hookspec
def automate_register_connectors() -> list[Spec]:  # type: ignore[empty-body]
    """Register connectors. Each target is a subclass of :class:`automate_core.connectors.Connector`."""


@hookspec
def automate_register_secret_backends() -> list[Spec]:  # type: ignore[empty-body]
    """Register secret backends. Each target is a subclass of :class:`automate_core.secrets.SecretBackend`."""


@hookspec
def automate_register_llm_providers() -> list[Spec]:  # type: ignore[empty-body]
    """Register LLM providers. Each target is a subclass of :class:`automate_core.llm.LLMProvider`."""


@hookspec
def automate_register_rag_stores() -> list[Spec]:  # type: ignore[empty-body]
    """Register document stores. Each target is a subclass of :class:`automate_core.rag.RagStore`."""


@hookspec
def automate_register_embedders() -> list[Spec]:  # type: ignore[empty-body]
    """Register embedders. Each target is a subclass of :class:`automate_core.rag.Embedder`."""


@hookspec
def automate_register_outbox_stores() -> list[Spec]:  # type: ignore[empty-body]
    """Register outbox stores. Each target implements :class:`automate_core.outbox.OutboxStore`."""


@hookspec
def automate_register_transports() -> list[Spec]:  # type: ignore[empty-body]
    """Register transports: doorbells that tell workers in other processes to look at the outbox now."""


@hookspec
def automate_register_commands() -> list[Spec]:  # type: ignore[empty-body]
    """Register subcommands of ``automate``. Each target is a subclass of :class:`automate_core.cli.Command`."""
