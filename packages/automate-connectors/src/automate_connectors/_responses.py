"""What the egress client returns."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from automate_core.egress import parse_url
from automate_core.errors import PermanentError, RateLimited, TransientError
from automate_core.redaction import redact_text
from automate_core.retry import parse_retry_after

__all__ = ["EgressResponse"]

_CHARSET = re.compile(
    r"utf-?(8|16|32)([-_]?(le|be|sig))?|(us-)?ascii|latin-?1|iso[-_]?8859-(1[013-6]|[1-9])"
    r"|(windows-|cp)(125[0-8]|437|850|852|866|874|932|949|950)|koi8-[rtu]|big5|gb2312|gbk|gb18030|euc-(jp|kr)"
    r"|shift[-_]jis|iso-2022-jp|tis-620",
    re.IGNORECASE,
)
"""Python knows further ones, some of which take quadratic time (``punycode``) or refuse to replace (``idna``)."""

_EXAMINED = 65_536
_QUOTED = 500
"""Characters of an error's body that are looked at, and shown."""


@dataclass(frozen=True, slots=True)
class EgressResponse:
    """An answer, read to its end.

    Args:
        status: The HTTP status.
        url: What was called in the end, after redirects.
        headers: The headers by lower-case name; repeated ones are joined with a comma.
        content: The body, decompressed.
        redirects: The origins that redirected the call, in their order.
    """

    status: int
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    redirects: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Scheme, host and port of what was called in the end."""
        return parse_url(self.url).origin

    @property
    def charset(self) -> str:
        """The character set that the answer names, ``utf-8`` where it names none."""
        match = re.search(r"charset=\"?([\w.:-]+)", self.headers.get("content-type", ""), re.IGNORECASE)
        return match[1] if match else "utf-8"

    def decode(self, errors: str = "strict") -> str:
        """Return the body as text.

        Args:
            errors: What to do with bytes that do not decode, as for :meth:`bytes.decode`.

        Raises:
            LookupError: If the character set is none that texts are sent in.
            UnicodeDecodeError: If bytes do not decode, and the errors are strict.
        """
        if not _CHARSET.fullmatch(self.charset):
            raise LookupError(f"texts are not sent in {self.charset}")
        return self.content.decode(self.charset, errors)

    @property
    def text(self) -> str:
        """The body as text; what does not decode is replaced."""
        try:
            return self.decode("replace")
        except LookupError:
            return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            PermanentError: If it is not JSON; NaN and Infinity are not.
        """
        try:
            return jsonlib.loads(self.content, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise PermanentError(f"{self.origin} answered {self.status} with a body that is not JSON.") from None

    def raise_for_status(self) -> Self:
        """Return the answer itself where its status is below 400.

        Raises:
            RateLimited: For 429, with ``retry_after`` where the other side says how long.
            TransientError: For 408, 425 and everything from 500.
            PermanentError: For every other status from 400.
        """
        if self.status < 400:
            return self
        message = f"{self.origin} answered {self.status}."
        # Redacted before it is cut; of what is not even examined, a mark tells the redactor.
        text = self.text
        examined = text if len(text) <= _EXAMINED else f"{text[:_EXAMINED]}…"
        context = {"status": self.status, "body": redact_text(examined)[:_QUOTED]}
        wait = parse_retry_after(self.headers.get("retry-after"))
        if self.status == 429:
            raise RateLimited(message, context=context, retry_after=wait)
        if self.status in (408, 425) or self.status >= 500:
            raise TransientError(message, context=context, retry_after=wait)
        raise PermanentError(message, context=context)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
