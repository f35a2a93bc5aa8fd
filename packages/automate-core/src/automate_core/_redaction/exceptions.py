"""What an exception says, as far as it may be shown."""

from __future__ import annotations

__all__ = ["text_of"]


def text_of(value: object) -> str:
    """Return the text of an object, before it is redacted.

    An error of pydantic is told without its input: it cuts what is long, and half a secret is not recognised.

    Args:
        value: The object, such as an exception.
    """
    if isinstance(value, ValueError):
        from pydantic_core import ValidationError

        if isinstance(value, ValidationError):
            problems = value.errors(include_url=False, include_input=False, include_context=False)
            return "; ".join(f"/{'/'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems)
    return str(value)
