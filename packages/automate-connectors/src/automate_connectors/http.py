"""``http.request``: any HTTP API, through the one egress client."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import unquote

from automate_core.egress import parse_url
from automate_core.errors import InvalidInputError, PermanentError
from automate_core.redaction import redact
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from automate_connectors._responses import EgressResponse
from automate_connectors.base import ActionSpec, HTTPConnector

__all__ = ["HTTP", "HTTPConfig", "HTTPRequest", "HTTPResult"]

Method = Annotated[
    Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"],
    BeforeValidator(lambda value: value.upper() if isinstance(value, str) else value),
]
Scalar = str | int | float | bool | None

_JSON_TYPE = re.compile(r"\s*application/([\w.+-]+\+)?json\s*(;|$)", re.IGNORECASE)
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_NOT_RETURNED = frozenset(
    {
        "connection", "content-encoding", "content-length", "date", "keep-alive", "proxy-authenticate", "set-cookie",
        "set-cookie2", "trailer", "transfer-encoding", "upgrade", "www-authenticate",
    }
)  # fmt: skip
"""Headers that are the connection's, a session's, or differ from one call to the next."""


class HTTPConfig(BaseModel):
    """The settings of an ``http`` connection."""

    model_config = ConfigDict(extra="forbid")

    base_url: str = Field("", description="What a relative url is appended to; absolute ones must have its origin.")
    headers: dict[str, str] = Field(default_factory=dict, description="Sent with every request, such as Authorization.")

    @model_validator(mode="after")
    def _headers_have_a_destination(self) -> HTTPConfig:
        if self.headers and not self.base_url:
            raise ValueError("headers need a base_url: without one they would go wherever a step's url leads")
        return self


class HTTPRequest(BaseModel):
    """What ``http.request`` takes."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    method: Method = Field("GET", description="The method.")
    url: str = Field(min_length=1, description="An absolute URL, or one relative to the connection's base_url.")
    headers: dict[str, str] = Field(default_factory=dict, description="Headers, over those of the connection.")
    params: dict[str, Scalar | list[Scalar]] = Field(default_factory=dict, description="Added to the query.")
    json_body: Any = Field(None, alias="json", description="A JSON value to send.")
    form: dict[str, Scalar | list[Scalar]] | None = Field(None, description="A form to send.")
    body: str | None = Field(None, description="A text to send.")
    timeout: float | None = Field(None, gt=0, description="Seconds for the whole call; the step's at the most.")
    follow_redirects: bool = Field(True, description="Whether redirects are followed.")
    raise_for_status: bool = Field(True, description="Whether a status from 400 fails the step.")

    @model_validator(mode="after")
    def _has_one_body(self) -> HTTPRequest:
        if sum(part is not None for part in (self.json_body, self.form, self.body)) > 1:
            raise ValueError("give one of json, form and body, not several")
        return self


class HTTPResult(BaseModel):
    """What ``http.request`` returns."""

    model_config = ConfigDict(populate_by_name=True)

    status: int = Field(description="The HTTP status.")
    url: str = Field(description="What was called in the end, after redirects.")
    redirects: list[str] = Field(default_factory=list, description="The origins that redirected, in their order.")
    headers: dict[str, str] = Field(description="Headers by lower-case name, without cookies.")
    json_body: Any = Field(None, alias="json", description="The body where it is JSON.")
    body: str | None = Field(None, description="The body where it is any other text.")
    body_base64: str | None = Field(None, description="The body where it is not text.")


class HTTP(HTTPConnector):
    """Calls HTTP APIs."""

    key = "http"
    display_name = "HTTP"

    @classmethod
    def actions(cls) -> list[ActionSpec]:
        """Return the one action."""
        return [ActionSpec("request", HTTPRequest, HTTPResult, title="Send an HTTP request")]

    def execute_action(self, action: str, input_data: dict[str, Any]) -> Any:
        """Send the request.

        Args:
            action: ``request``.
            input_data: An :class:`HTTPRequest`.

        Returns:
            An :class:`HTTPResult`, as JSON.

        Raises:
            SSRFBlocked: If the policy refuses the URL.
            RateLimited: For the status 429, unless ``raise_for_status`` is false.
            TransientError: For 408, 425 and from 500 likewise, and for whatever else may pass.
            PermanentError: For other statuses from 400 likewise.
        """
        if action != "request":
            return super().execute_action(action, input_data)
        request = HTTPRequest.model_validate(input_data)
        config = self.settings(HTTPConfig)
        response = self.egress().request(
            request.method,
            _absolute(config.base_url, request.url),
            headers=self._headers(config, request),
            params=request.params,
            json=request.json_body,
            data=request.form,
            content=request.body,
            timeout=self.timeout(request.timeout),
            follow_redirects=request.follow_redirects,
        )
        if request.raise_for_status:
            response.raise_for_status()
        return _result(response).model_dump(mode="json", by_alias=True)

    def _headers(self, config: HTTPConfig, request: HTTPRequest) -> Mapping[str, str]:
        headers = {name.lower(): value for name, value in {**config.headers, **request.headers}.items()}
        if request.method not in _SAFE_METHODS and self.ctx.idempotency_key:
            headers.setdefault("idempotency-key", self.ctx.idempotency_key)
        return headers


def _absolute(base: str, url: str) -> str:
    if not base:
        return url
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", url):
        if parse_url(url).origin != parse_url(base).origin:
            raise InvalidInputError(
                "The url leaves the connection's base_url, and its headers would go along: call it without connection.",
                context={"pointer": "/url"},
            )
        return url
    # Some servers drop what follows a semicolon before they resolve the path.
    parts = unquote(url.partition("?")[0]).replace("\\", "/").split("/")
    if any(part.partition(";")[0] == ".." for part in parts):
        raise InvalidInputError(
            "A url relative to the connection's base_url must not hold '..'.", context={"pointer": "/url"}
        )
    return f"{base.rstrip('/')}/{url.lstrip('/')}"


def _result(response: EgressResponse) -> HTTPResult:
    headers = {name: value for name, value in sorted(response.headers.items()) if name not in _NOT_RETURNED}
    result = HTTPResult(
        status=response.status, url=response.url, redirects=list(response.redirects), headers=redact(headers)
    )
    return result.model_copy(update=_body(response))


def _body(response: EgressResponse) -> dict[str, Any]:
    try:
        if _JSON_TYPE.match(response.headers.get("content-type", "")):
            return {"json_body": response.json()}
    except PermanentError:  # it only claims to be JSON
        return {"body": response.text.replace("\0", "\ufffd")}
    try:
        text = response.decode()
    except (UnicodeDecodeError, LookupError):
        text = "\0"
    if "\0" in text:  # a database stores no NUL in JSON
        return {"body_base64": b64encode(response.content).decode("ascii")}
    return {"body": text}
