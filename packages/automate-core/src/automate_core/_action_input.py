"""Validating what an action takes, with secrets in it: they are put in last, and no error shows them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

from automate_core._redaction.shown import REDACTED
from automate_core._secret_value import KEEP_SECRETS, RevealedText, SecretValue, replaced, revealed
from automate_core.errors import InvalidInputError
from automate_core.schema import UNKNOWN, check

__all__ = ["ensure_may_fit", "holds_secret", "read", "validate"]

Schema = Mapping[str, Any] | type[BaseModel]

_OF_KEYS = frozenset({"missing", "extra_forbidden"})
"""Errors that depend on which keys there are, and on no value."""

_OF_ONE_VALUE = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
"""Errors of pydantic itself; those that validators raise may come from any other field."""


def read(schema: Schema, data: Mapping[str, Any], *, what: str) -> dict[str, Any]:
    """Check an input and give it the form in which the action takes it.

    Args:
        schema: A JSON Schema or a pydantic model.
        data: The input, with its secrets.
        what: What is checked, for the message.

    Raises:
        InvalidInputError: If it does not fit; the message shows no secret.
    """
    plain = dict(data)
    if not holds_secret(plain):
        found: dict[str, Any] = validate(schema, plain, what=what)
        return found
    try:
        checked: dict[str, Any] = _as_text(validate(schema, revealed(plain), what=what))
    except InvalidInputError as error:
        raise InvalidInputError(_without_secrets(error.message, plain), context=error.context) from None
    return checked


def validate(schema: Schema, data: Any, *, what: str) -> Any:
    """Check a value against a JSON Schema or a pydantic model.

    Args:
        schema: Either form.
        data: The value.
        what: What is checked, for the message.

    Returns:
        The value; with a model, its JSON form, in which fields of secret types keep their objects.

    Raises:
        InvalidInputError: If it does not fit; ``context["pointer"]`` says where.
    """
    if isinstance(schema, Mapping):
        _ensure_fits(schema, data, what)
        return data
    try:
        model = schema.model_validate(data)
    except ValidationError as error:
        raise _refusal(error.errors(include_url=False, include_input=False)[0], what) from None
    dumped = model.model_dump(mode="json", by_alias=True)
    return _keep(dumped, model.model_dump(by_alias=True, context=KEEP_SECRETS)) if _has_secrets(schema) else dumped


def ensure_may_fit(schema: Schema, data: Mapping[str, Any], *, what: str) -> None:
    """Refuse an input that is wrong whatever its secrets are.

    Args:
        schema: A JSON Schema or a pydantic model.
        data: The input; what stands in a :class:`SecretValue` does not count.
        what: What is checked, for the message.

    Raises:
        InvalidInputError: If it cannot fit.
    """
    if isinstance(schema, Mapping):
        _ensure_fits(schema, replaced(dict(data), lambda _: UNKNOWN), what)
        return
    if any(validator.info.mode != "after" for validator in schema.__pydantic_decorators__.model_validators.values()):
        return  # it may take the fields from anywhere in the input, a secret included
    try:
        schema.model_validate(revealed(dict(data)))
    except ValidationError as error:
        certain = [problem for problem in error.errors(include_url=False) if _is_certain(problem, data)]
        if certain:
            raise _refusal(certain[0], what) from None


def _ensure_fits(schema: Mapping[str, Any], data: Any, what: str) -> None:
    problem = check(schema, data)
    if problem is not None:
        raise InvalidInputError(f"{what}: {problem}", context={"pointer": problem.pointer})


def _refusal(problem: ErrorDetails, what: str) -> InvalidInputError:
    pointer = "".join(f"/{part}" for part in problem["loc"])
    return InvalidInputError(f"{what}: {pointer or '/'}: {problem['msg']}", context={"pointer": pointer})


def _is_certain(problem: ErrorDetails, data: Mapping[str, Any]) -> bool:
    """Whether an error of a field comes from the keys that there are, or from a value without secrets, and no other."""
    kind, loc = problem["type"], problem["loc"]
    if kind in _OF_KEYS and len(loc) == 1:
        return True
    return kind in _OF_ONE_VALUE and bool(loc) and loc[0] in data and not holds_secret(data[str(loc[0])])


def holds_secret(value: Any) -> bool:
    """Return whether there is a secret somewhere in a JSON value.

    Args:
        value: The value.
    """
    kind = type(value)
    if kind is dict:
        return any(map(holds_secret, value.values()))
    return any(map(holds_secret, value)) if kind is list else kind is SecretValue


def _without_secrets(text: str, data: Any) -> str:
    """Hide the secrets of an input in a message about it; the redactor does not know the short ones."""
    secrets: list[SecretValue] = []
    replaced(data, secrets.append)
    for secret in secrets:
        text = text.replace(secret.reveal(), REDACTED)
    return text


def _as_text(data: Any) -> Any:
    """Turn the texts of secrets into ordinary ones, which any code can work with."""
    if isinstance(data, dict):
        return {key: _as_text(child) for key, child in data.items()}
    if isinstance(data, list):
        return [_as_text(child) for child in data]
    return str.__str__(data) if isinstance(data, RevealedText) else data


@lru_cache(maxsize=1024)
def _has_secrets(model: type[BaseModel]) -> bool:
    """Whether a model has fields of secret types, as far as its schema tells."""
    try:
        return '"writeOnly": true' in json.dumps(model.model_json_schema())
    except PydanticUserError:
        return True


def _keep(dumped: Any, kept: Any) -> Any:
    """Put the objects of secrets from a dump in Python mode into the same dump in JSON mode."""
    if isinstance(kept, SecretValue) or hasattr(kept, "get_secret_value"):
        return kept
    if isinstance(dumped, dict) and isinstance(kept, Mapping) and len(dumped) == len(kept):
        return {key: _keep(child, other) for (key, child), other in zip(dumped.items(), kept.values(), strict=True)}
    if isinstance(dumped, list) and isinstance(kept, Collection) and len(dumped) == len(kept):
        return [_keep(child, other) for child, other in zip(dumped, kept, strict=True)]
    return dumped
