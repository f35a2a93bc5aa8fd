"""The type of secret references."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from automate_core._redaction.shown import REDACTED
from automate_core._references import REFERENCE, SCHEMES
from automate_core.errors import SecretError, nearby

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

__all__ = ["SecretRef", "is_reference"]

_PREFIXES = tuple(f"${scheme}:" for scheme in SCHEMES)
_EXAMPLE = "$secret:API_KEY"


def is_reference(text: object) -> bool:
    """Whether a value claims to be a secret reference.

    Args:
        text: Any value of a definition.

    Returns:
        True for a text that begins like a reference. One that goes on badly is still no ordinary text:
        :class:`SecretRef` refuses it and says why.
    """
    return isinstance(text, SecretRef) or (isinstance(text, str) and text.startswith(_PREFIXES))


class SecretRef:
    """A secret reference. It shows the reference, never the secret.

    Args:
        text: ``$scheme:path``, then ``#field`` and ``@version`` where they are needed. Schemes are ``secret`` (the
            configured backend), ``env``, ``vault`` and ``aws``.

    Raises:
        SecretError: If the text is no reference. It does not show the text, which may be the secret itself.

    In a pydantic model, a field of this type takes a reference or its text, and is dumped to JSON as the text.
    """

    __slots__ = ("_text", "field", "path", "scheme", "version")

    _text: str
    scheme: str
    path: str
    field: str | None
    version: str | None

    def __init__(self, text: str | SecretRef) -> None:
        text = str(text)
        match = REFERENCE.fullmatch(text)
        if match is None:
            raise SecretError(_why_not(text))
        for name, part in (("_text", text), *match.groupdict().items()):
            object.__setattr__(self, name, part)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a SecretRef does not change: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a SecretRef does not change: {name}")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"SecretRef({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return self._text == other._text if isinstance(other, SecretRef) else NotImplemented

    def __hash__(self) -> int:
        return hash((SecretRef, self._text))

    def __reduce__(self) -> tuple[Any, ...]:
        return (SecretRef, (self._text,))

    def __redacted__(self) -> str:
        return self._text

    @classmethod
    def _read_input(cls, value: object) -> SecretRef | _Refused:
        """Take a reference, and hide all else, which may be the secret itself: pydantic's error shows what it gets."""
        if isinstance(value, SecretRef):
            return value
        if not isinstance(value, str):
            return _Refused(f"a secret reference such as {_EXAMPLE} is a text")
        try:
            return cls(value)
        except SecretError as error:
            return _Refused(error.message)

    @classmethod
    def _validate(cls, value: SecretRef | _Refused) -> SecretRef:
        if isinstance(value, _Refused):
            raise ValueError(value.why)
        return value

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            cls._read_input,
            core_schema.no_info_plain_validator_function(cls._validate),
            serialization=core_schema.plain_serializer_function_ser_schema(
                str, return_schema=core_schema.str_schema(), when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^\$(secret|env|vault|aws):", "examples": [_EXAMPLE]}


class _Refused(str):
    """What stands for a text that is no reference."""

    __slots__ = ("why",)

    why: str

    def __new__(cls, why: str) -> _Refused:
        self = super().__new__(cls, REDACTED)
        self.why = why
        return self


def _why_not(text: str) -> str:
    scheme, colon, _ = text.removeprefix("$").partition(":")
    if not text.startswith("$") or not colon or not scheme.isidentifier() or len(scheme) > 32:
        return f"This is not a secret reference. Write one such as {_EXAMPLE}; the secret itself never stands here."
    if scheme not in SCHEMES:
        return f"${scheme}: is not a kind of secret reference.{nearby(scheme, SCHEMES)}"
    return (
        f"What follows ${scheme}: is not the path of a secret: letters, digits and _ . / : + = - are allowed, "
        f"without '..' and '//', then #field and @version."
    )
