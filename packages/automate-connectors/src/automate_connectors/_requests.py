"""What the egress client sends: one hop after the other, as plain data."""

from __future__ import annotations

import json as jsonlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from automate_core.egress import Target, join_url, parse_url
from automate_core.errors import InvalidInputError, PermanentError

from automate_connectors.__about__ import __version__

__all__ = ["Hop", "encode_body", "first_hop", "follow_redirect"]

_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e]*")
_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers that belong to the connection; whoever sets them by hand could smuggle a second request or another host."""

_CROSS_ORIGIN = frozenset(
    {"accept", "accept-language", "content-language", "content-type", "idempotency-key", "user-agent"}
)
"""All that follows a redirect to another origin. A list of what is harmless: any other header may be a credential."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One request of a call.

    Args:
        method: In upper case.
        target: Where it goes.
        headers: By lower-case name.
        body: What is sent.
    """

    method: str
    target: Target
    headers: dict[str, str]
    body: bytes


def first_hop(
    method: str, url: str, headers: Mapping[str, str] | None, params: Mapping[str, Any] | None, body: tuple[bytes, str]
) -> Hop:
    """Check what a caller gave and make the first request of it.

    Args:
        method: The method.
        url: The URL.
        headers: Further headers.
        params: Added to the query.
        body: The body and its content type, from :func:`encode_body`.

    Raises:
        InvalidInputError: If the method or a header is malformed.
        SSRFBlocked: If the URL is.
    """
    if method.upper() not in _METHODS:
        raise InvalidInputError(f"{method!r} is not a method that may be called: {', '.join(sorted(_METHODS))}.")
    given = {"accept": "*/*", "user-agent": f"automate-connectors/{__version__}", "accept-encoding": "gzip, deflate"}
    content, content_type = body
    if content_type:
        given["content-type"] = content_type
    given.update({name.lower(): value for name, value in _checked(headers or {}).items()})
    target = parse_url(url)
    query = _form(params or {}, "params")
    if query:
        target = replace(target, path=f"{target.path}{'&' if '?' in target.path else '?'}{query}")
    return Hop(method.upper(), target, given, content)


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in headers.items():
        texts: tuple[Any, Any] = (name, value)
        if not all(isinstance(text, str) for text in texts):
            raise InvalidInputError("Headers are texts by name.", context={"pointer": "/headers"})
        if not _HEADER_NAME.fullmatch(name):
            raise InvalidInputError(f"{name!r} is not the name of a header.", context={"pointer": "/headers"})
        if name.lower() in _OURS:
            raise InvalidInputError(f"The header {name} belongs to the connection: leave it out.")
        if not _HEADER_VALUE.fullmatch(value):
            raise InvalidInputError(f"The header {name} holds a control character or one outside ASCII: encode it.")
    return headers


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _pairs(name, item)
    elif isinstance(value, bool):
        yield name, "true" if value else "false"
    elif value is not None:
        yield name, str(value)


def _form(fields: Mapping[str, Any], what: str) -> str:
    try:
        return urlencode([pair for name, value in fields.items() for pair in _pairs(name, value)])
    except ValueError as error:  # half of a surrogate pair, or a number of thousands of digits
        raise InvalidInputError(f"The {what} cannot be sent: {error}.", context={"pointer": f"/{what}"}) from None


def encode_body(json: Any, data: Mapping[str, Any] | None, content: str | bytes | None) -> tuple[bytes, str]:
    """Encode a body.

    Args:
        json: A JSON value.
        data: A form.
        content: A text or bytes. At most one of these three.

    Returns:
        The bytes, and the content type that they have unless the caller names another.

    Raises:
        InvalidInputError: If there are several, or it cannot be encoded.
    """
    if sum(part is not None for part in (json, data, content)) > 1:
        raise InvalidInputError("A request takes one of a JSON value, a form and a body, not several.")
    try:
        if json is not None:
            return jsonlib.dumps(json, ensure_ascii=False, allow_nan=False).encode(), "application/json"
        if data is not None:
            return _form(data, "form").encode("ascii"), "application/x-www-form-urlencoded"
        if isinstance(content, str):
            return content.encode(), "text/plain; charset=utf-8"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"The body cannot be sent: {error}.") from None
    return content or b"", ""


def follow_redirect(hop: Hop, status: int, location: str) -> Hop:
    """Make the request that a redirect asks for.

    Args:
        hop: The request that was answered.
        status: With which status.
        location: With which ``Location``.

    Returns:
        The next request. To another origin, only headers that cannot be credentials go along.

    Raises:
        SSRFBlocked: If the location is malformed.
        PermanentError: If the body, which may hold credentials, would go along to another origin.
    """
    target = join_url(hop.target, location)
    method, body, headers = hop.method, hop.body, hop.headers
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
    if target.origin != hop.target.origin:
        if body:
            raise PermanentError(
                f"{hop.target.origin} redirects to {target.origin}, and the body would go along: call {target.origin} "
                "itself where that is meant."
            )
        headers = {name: value for name, value in headers.items() if name in _CROSS_ORIGIN or name in _OURS}
    return Hop(method, target, headers, body)
