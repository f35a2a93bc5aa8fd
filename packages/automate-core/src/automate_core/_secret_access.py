"""Which step may use which secret: the rules of ``SECRETS.access``."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from automate_core._action_patterns import matches
from automate_core._references import SCHEMES
from automate_core._secret_names import SecretPlace, aws_names, find_names
from automate_core._secret_ref import SecretRef, is_reference
from automate_core.errors import SecretAccessDenied, SecretNotFoundError

if TYPE_CHECKING:
    from automate_core.settings import SecretSettings

__all__ = ["AccessRecord", "SecretAccess", "SecretRule", "ensure_permitted", "find_own_references", "is_listed"]

_ABOUT_REFERENCES = {"access", "allow", "shared"}
"""Settings that say something about references, and read none."""

_OF_AWS = frozenset({"$env:AWS_ACCESS_KEY_ID", "$env:AWS_SECRET_ACCESS_KEY", "$env:AWS_SESSION_TOKEN"})
"""What boto3 logs in with; no setting names it."""

_BEGINNINGS = ("*", "$*", *(f"${scheme}:" for scheme in SCHEMES))


class SecretRule(BaseModel):
    """Who may use some secrets. What it leaves out, it allows to all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    refs: tuple[str, ...] = Field(
        min_length=1, description='The references that it is about, such as "$vault:kv/billing/*".'
    )
    workflows: tuple[str, ...] = Field(("*",), description='Slugs of the workflows that may: "billing-*".')
    connectors: tuple[str, ...] = Field(
        ("*",), description='Connectors and actions that may: "http", "stripe.*", "slack.post_message".'
    )
    tenants: tuple[str, ...] = Field(
        ("*",), description='Tenants whose runs may: "acme". "" stands for runs without a tenant.'
    )

    @field_validator("refs")
    @classmethod
    def _names_references(cls, refs: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in refs:
            if not pattern.startswith(_BEGINNINGS):  # it would name nothing, and leave open what it was meant for
                raise ValueError('a reference begins with its kind: "$secret:…", "$vault:…"')
        return refs


@dataclass(frozen=True, slots=True)
class SecretAccess:
    """For which step a secret is asked.

    Args:
        workflow: The slug of the workflow.
        connector: The key of the connector that gets it.
        action: The full name of the action, ``"connector.action"``.
        tenant: The tenant of the run; empty for none.
        run_id: The run, as text.
        step_id: The step.
    """

    workflow: str
    connector: str
    action: str
    tenant: str = ""
    run_id: str = ""
    step_id: str = ""


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One access to a secret, for the record; the value is no part of it.

    Args:
        ref: What was asked for: a reference, or of a credential ``file:`` and a path.
        access: For which step; None where the installation reads for itself.
        owner: The tenant whose secret was read; empty for the installation's own, and where nothing was read.
        denial: Why it was refused: by the settings, by the backend, or because the secret is the installation's and not
            shared. None where it was not.
        setting: Which setting names a credential of the installation; empty where none does.
    """

    ref: SecretRef | str
    access: SecretAccess | None
    owner: str = ""
    denial: SecretAccessDenied | SecretNotFoundError | None = None
    setting: str = ""


def ensure_permitted(
    ref: SecretRef,
    access: SecretAccess | None,
    config: SecretSettings,
    place: SecretPlace | None = None,
    own: Collection[str] = (),
) -> None:
    """Refuse a reference that the settings do not allow.

    Args:
        ref: The reference.
        access: For which step; None for the application itself, which ``SECRETS.access`` is not about.
        config: The settings of secrets.
        place: What ``$secret:`` is by another name; left out, no other scheme names it.
        own: References of the installation's own keys, which no step is given.

    Raises:
        SecretAccessDenied: The message names the reference, the step and the setting.
    """
    if not is_listed(str(ref), config.allow):
        raise _denied(ref, access, f"{ref} may not be resolved: SECRETS.allow does not list it.")
    if access is None:
        return
    found = find_names(ref, place)
    if not {_whole(name) for names in found for name in names}.isdisjoint(map(_whole, own)):
        text = f"{ref} is a key or credential of the installation itself: no step is given it, whatever the rules say."
        raise _denied(ref, access, text)
    if not all(_are_permitted(names, access, config) for names in found):
        tenant = f" of tenant {access.tenant!r}" if access.tenant else ""
        text = (
            f"{ref} may not be used by {access.action!r} in workflow {access.workflow!r}{tenant}: no rule of "
            f"SECRETS.access that is about it allows that."
        )
        raise _denied(ref, access, text)


def find_own_references(*sections: BaseModel) -> frozenset[str]:
    """Return the references by which the settings name keys and credentials of the installation.

    Args:
        sections: Sections of the settings.
    """
    texts = [_texts(section.model_dump(exclude=_ABOUT_REFERENCES)) for section in sections]
    return _OF_AWS.union(text for found in texts for text in found if is_reference(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _texts(child)


def _denied(ref: SecretRef, access: SecretAccess | None, text: str) -> SecretAccessDenied:
    asked_by = {"workflow": access.workflow, "connector": access.connector} if access else {}
    return SecretAccessDenied(text, context={"reference": str(ref), **asked_by})


def _are_permitted(names: list[str], access: SecretAccess, config: SecretSettings) -> bool:
    rules = [rule for rule in config.access if any(_is_about(pattern, names) for pattern in _closed(rule))]
    return not rules or any(_permits(rule, names, access) for rule in rules)


def _closed(rule: SecretRule) -> list[str]:
    """Return the patterns that close: a rule about an ARN closes the name as well, which it does not open."""
    return [*rule.refs, *(f"$aws:{name}" for pattern in rule.refs for name in aws_names(pattern.removeprefix("$aws:")))]


def _is_about(pattern: str, names: list[str]) -> bool:
    """Whether a pattern names a secret; one field or version of it is enough, or it would be had with another."""
    return any(fnmatchcase(_whole(name), _whole(pattern)) or is_listed(name, (pattern,)) for name in names)


def _whole(text: str) -> str:
    return text.partition("#")[0].partition("@")[0]


def _permits(rule: SecretRule, names: list[str], access: SecretAccess) -> bool:
    return (
        any(is_listed(name, rule.refs) for name in names)
        and any(fnmatchcase(access.workflow, pattern) for pattern in rule.workflows)
        and any(matches(pattern, access.action) for pattern in rule.connectors)
        and any(fnmatchcase(access.tenant, pattern) for pattern in rule.tenants)
    )


def is_listed(reference: str, patterns: tuple[str, ...]) -> bool:
    """Return whether one of some patterns matches a reference, with its version or without.

    Args:
        reference: The reference, as text.
        patterns: The patterns of a setting.
    """
    unpinned = reference.partition("@")[0]
    return any(fnmatchcase(text, pattern) for text in (reference, unpinned) for pattern in patterns)
