"""System checks: settings that are unknown or contradict each other, plugins that are broken."""

from __future__ import annotations

from typing import Any

from automate_core.errors import AutomateError, ConfigurationError
from django.apps import apps
from django.core.checks import CheckMessage, Error, Warning, register

__all__ = [
    "check_apps",
    "check_artifacts",
    "check_artifacts_for_deployment",
    "check_audit_for_deployment",
    "check_audit_keys",
    "check_plugins",
    "check_policy",
    "check_settings",
    "check_tenants",
]


@register()
def check_settings(**kwargs: Any) -> list[CheckMessage]:
    """Refuse a ``DJANGO_AUTOMATE`` that cannot be meant.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate.conf import get_settings

    try:
        settings = get_settings()
    except ConfigurationError as error:
        lines = error.context.get("problems") or [str(error)]
        return [Error(f"DJANGO_AUTOMATE: {line}", id="automate.E001") for line in lines]
    problems: list[CheckMessage] = []
    if settings.metrics_export and not _importable("prometheus_client"):
        problems.append(
            Error(
                "DJANGO_AUTOMATE: METRICS_EXPORT is True, but prometheus-client is not installed.",
                hint="pip install 'django-automate[observability]'",
                id="automate.E002",
            )
        )
    if "regex" in settings.rules.extensions and not _importable("re2"):
        problems.append(
            Error(
                "DJANGO_AUTOMATE: RULES.extensions has 'regex', but google-re2 is not installed.",
                hint="pip install 'automate-core[regex]'",
                id="automate.E006",
            )
        )
    return problems


@register()
def check_apps(**kwargs: Any) -> list[CheckMessage]:
    """Refuse a project that lacks the app of the outbox.

    Args:
        **kwargs: What Django passes to a check.
    """
    if apps.is_installed("automate_outbox"):
        return []
    return [
        Error(
            "The outbox has no tables: 'automate_outbox' is not in INSTALLED_APPS.",
            hint="INSTALLED_APPS = [..., 'automate_outbox', 'automate']",
            id="automate.E003",
        )
    ]


@register()
def check_tenants(**kwargs: Any) -> list[CheckMessage]:
    """Refuse a ``TENANTS_OF_USER`` that cannot be called: every page would fail.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings
    from automate_core.tenancy import finder

    try:
        target = settings.current().tenants_of_user
    except ConfigurationError:
        return []  # check_settings tells
    try:
        find = finder(target)
    except AutomateError as error:
        return [Error(f"DJANGO_AUTOMATE: {error.message}", id="automate.E008")]
    if find is None or callable(find):
        return []
    return [Error("DJANGO_AUTOMATE: TENANTS_OF_USER names what is no function.", id="automate.E008")]


@register()
def check_artifacts(**kwargs: Any) -> list[CheckMessage]:
    """Refuse to keep large values where files are served to anybody, and tell where they cannot be kept at all.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings

    try:
        settings.current()
    except ConfigurationError:
        return []  # check_settings tells
    from automate.artifacts import storage
    from automate.artifacts.files import served_below

    try:
        served = served_below(storage())
    except Exception as error:  # noqa: BLE001 - a storage of somebody else may raise anything while it is made
        hint = "Until then, values above EXECUTION.inline_bytes are refused."
        return [Warning(f"Artifacts cannot be kept: {type(error).__name__}: {error}", hint=hint, id="automate.W002")]
    if not served:
        return []
    return [
        Error(
            f"Artifacts are kept in {served}, whose files are served: payloads could be read by anybody.",
            hint="Give STORAGES['automate'], or ARTIFACTS.location, a directory of its own.",
            id="automate.E005",
        )
    ]


@register(deploy=True)
def check_artifacts_for_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Warn of a production where large values are kept wherever the code happens to be.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings
    from django.conf import settings as django_settings

    from automate.artifacts.files import ALIAS

    try:
        chosen = settings.current().artifacts.location
    except ConfigurationError:
        return []
    if chosen or ALIAS in django_settings.STORAGES:
        return []
    return [
        Warning(
            "Artifacts are kept next to the code, in automate_artifacts: other hosts do not see them, and they may go "
            "with the next release.",
            hint="Set ARTIFACTS.location to a directory that all hosts share, or define STORAGES['automate'].",
            id="automate.W003",
        )
    ]


@register()
def check_audit_keys(**kwargs: Any) -> list[CheckMessage]:
    """Refuse keys of the audit log that are none: nothing could be recorded, and so nothing changed.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings

    from automate.audit.keys import read_ring

    try:
        config = settings.current().audit
    except ConfigurationError:
        return []  # check_settings tells
    try:
        read_ring(config)
    except AutomateError as error:
        return [Error(f"DJANGO_AUTOMATE: {error}", id="automate.E007")]
    return []


@register(deploy=True)
def check_audit_for_deployment(**kwargs: Any) -> list[CheckMessage]:
    """Warn of a production whose audit log anybody can rewrite who can write its table.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings

    from automate.audit.keys import GENERATE_KEY

    try:
        if settings.current().audit.keys:
            return []
    except ConfigurationError:
        return []
    return [
        Warning(
            "The audit log has no key: whoever can write its table can also write what fits it.",
            hint=f"Make a key with {GENERATE_KEY}, and set AUDIT.keys.",
            id="automate.W005",
        )
    ]


@register()
def check_plugins(**kwargs: Any) -> list[CheckMessage]:
    """Warn of plugins that are broken; everything else works.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings
    from automate_core.registry import registry
    from automate_core.specs import KINDS

    problems: list[CheckMessage] = []
    try:
        settings.current()
    except ConfigurationError:
        return problems  # check_settings tells; which plugins are blocked is not known before that is mended
    try:
        for kind in KINDS:
            registry.specs(kind)
    except AutomateError as error:
        problems.append(Error(str(error), id="automate.E004"))
    for info in registry.plugins():
        if info.state in ("failed", "incompatible"):
            problems.append(
                Warning(
                    f"Plugin {info.name!r} of {info.distribution} {info.version} is {info.state}: {info.reason}",
                    hint="Upgrade or remove the distribution, or block the name with PLUGINS.blocked.",
                    id="automate.W001",
                )
            )
    return problems


@register()
def check_policy(**kwargs: Any) -> list[CheckMessage]:
    """Warn of patterns that mean nothing installed: a denial that misspells an action denies nothing.

    Args:
        **kwargs: What Django passes to a check.
    """
    from automate_core import settings
    from automate_core.policy import matches
    from automate_core.registry import registry

    try:
        policy = settings.current().policy
        connectors = registry.list_connectors()
    except AutomateError:
        return []  # check_settings and check_plugins tell
    lists = {"POLICY": policy, **{f"POLICY.tenants.{name}": own for name, own in policy.tenants.items()}}
    named = [
        (f"{where}.{name}", pattern)
        for where, section in lists.items()
        for name in ("connector_allowlist", "connector_denylist")
        for pattern in getattr(section, name) or ()
    ]
    # What a connector offers is known once it is imported, which takes its time: only where a pattern asks for it.
    actions = list(registry.list_actions()) if any("." in pattern for _, pattern in named) else []
    return [
        Warning(
            f"DJANGO_AUTOMATE: {setting} has {pattern!r}, which means nothing that is installed.",
            hint=f"Installed: {', '.join(sorted(actions) if '.' in pattern else connectors)}.",
            id="automate.W004",
        )
        for setting, pattern in named
        if not any(matches(pattern, name) for name in (actions if "." in pattern else connectors))
    ]


def _importable(module: str) -> bool:
    from importlib.util import find_spec

    return find_spec(module) is not None
