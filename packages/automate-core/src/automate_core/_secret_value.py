"""The type of secrets on their way to whoever needs them."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NoReturn, final

from automate_core._redaction.shown import REDACTED
from automate_core._references import SCHEMES

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema, core_schema

__all__ = ["KEEP_SECRETS", "RevealedText", "SecretValue", "replaced", "revealed"]

KEEP_SECRETS = object()
"""As the context of a pydantic dump in Python mode: fields keep their :class:`SecretValue`."""

_HASH_KEY = os.urandom(32)


@final
class SecretValue:
    """A secret that shows itself to nobody but who calls :meth:`reveal`.

    Args:
        text: The secret.

    Raises:
        TypeError: If it is not a text.
        ValueError: If it is empty.

    Its repr, str and format are one fixed text. A copy is the same object; pickle, JSON and whatever else needs its
    content are refused with a TypeError. Two are equal where their secrets are, compared in constant time. With a text
    it is joined by ``+``, and stays secret.

    In a pydantic model, a field of this type takes a secret reference in a definition, and never the secret itself; it
    is dumped as the fixed text.
    """

    __slots__ = ("_read",)

    _read: Callable[[], str]

    def __new__(cls, text: str) -> SecretValue:
        if not isinstance(text, str):
            raise TypeError("a SecretValue is made of a text")
        if not text:
            raise ValueError("a secret is not empty")
        plain = str.__str__(text)
        self = super().__new__(cls)
        # In a function, and not in an attribute: tools that list the attributes of an object show their values.
        object.__setattr__(self, "_read", lambda: plain)
        return self

    def __init_subclass__(cls) -> NoReturn:
        raise TypeError("SecretValue has no subclasses: one could show the secret")

    def reveal(self) -> str:
        """Return the secret, to be handed over at once and kept nowhere."""
        return self._read()

    def __repr__(self) -> str:
        return f"SecretValue({REDACTED})"

    def __str__(self) -> str:
        return REDACTED

    def __format__(self, spec: str) -> str:
        return REDACTED

    def __redacted__(self) -> str:
        return REDACTED

    def __add__(self, other: object) -> SecretValue:
        if isinstance(other, SecretValue):
            return SecretValue(self.reveal() + other.reveal())
        return SecretValue(self.reveal() + other) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: object) -> SecretValue:
        return SecretValue(other + self.reveal()) if isinstance(other, str) else NotImplemented

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SecretValue):
            return NotImplemented
        return hmac.compare_digest(_bytes(self.reveal()), _bytes(other.reveal()))

    def __hash__(self) -> int:
        return int.from_bytes(blake2b(_bytes(self.reveal()), digest_size=8, key=_HASH_KEY).digest())

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a SecretValue does not change: {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a SecretValue does not change: {name}")

    def __copy__(self) -> SecretValue:
        return self

    def __deepcopy__(self, memo: object) -> SecretValue:
        return self

    def __getstate__(self) -> NoReturn:
        raise TypeError("a SecretValue is not written anywhere: keep its reference, and resolve it again")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__getstate__()

    @classmethod
    def _read_input(cls, value: object) -> SecretValue | str:
        """Take a secret, and put the fixed text in the place of all else: the error of pydantic shows what it gets.

        The redactor is not told of it. Whoever sends events could have it hide any word, and forget its secrets.
        """
        if isinstance(value, SecretValue):
            return value
        return SecretValue(value) if isinstance(value, RevealedText) else REDACTED

    @classmethod
    def _validate(cls, value: object) -> SecretValue:
        if isinstance(value, SecretValue):
            return value
        raise ValueError("takes a secret reference such as $secret:API_KEY, not the secret itself")

    def _dump(self, info: core_schema.SerializationInfo) -> SecretValue | str:
        return self if info.context is KEEP_SECRETS and info.mode == "python" else REDACTED

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            cls._read_input,
            core_schema.no_info_plain_validator_function(cls._validate),
            serialization=core_schema.plain_serializer_function_ser_schema(cls._dump, info_arg=True),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "format": "password", "writeOnly": True, "pattern": rf"\$({'|'.join(SCHEMES)}):"}


class RevealedText(str):
    """The text of a secret while the input of an action is validated: to pydantic a text, and its repr shows nothing.

    The errors of pydantic show the input by its repr.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(REDACTED)


def revealed(data: Any) -> Any:
    """Make a value with secrets fit to be validated by pydantic, at the moment when the secrets are needed.

    Args:
        data: A JSON value in which any text may be a :class:`SecretValue`, such as the settings of a connection.

    Returns:
        A copy for ``model_validate``: fields of the types ``SecretValue``, ``SecretStr`` and ``str`` take their
        secrets from it, and errors of pydantic do not show them.
    """
    return replaced(data, lambda secret: RevealedText(secret.reveal()))


def replaced(data: Any, by: Callable[[SecretValue], Any]) -> Any:
    """Copy a JSON value with something else in the place of each secret.

    Args:
        data: The value.
        by: Gives what stands there.
    """
    kind = type(data)
    if kind is SecretValue:
        return by(data)
    if kind is dict:
        return {key: replaced(child, by) for key, child in data.items()}
    return [replaced(child, by) for child in data] if kind is list else data


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
