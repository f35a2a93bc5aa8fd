"""What Vault answers, as a dict or a typed error. Imports hvac and requests, so it is imported at first use."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, cast
from urllib.parse import urlsplit

import requests
from automate_core.errors import SecretAccessDenied, SecretBackendUnavailable, SecretError, SecretNotFoundError
from automate_core.redaction import redact_text
from automate_core.retry import parse_retry_after
from hvac.adapters import RawAdapter

__all__ = ["VaultAdapter", "VaultRefusal"]

_QUOTED = 300
"""Characters of an answer that are shown."""

_NOT_INITIALIZED = 501
_UNAVAILABLE = {
    412: "Vault has not yet replicated what was written (412).",
    429: "Vault is on standby, or limits the rate of requests (429).",
    472: "Vault is a replica for disaster recovery (472): let SECRETS.vault.address be that of an active cluster.",
    473: "Vault is on standby (473): let SECRETS.vault.address be that of the active node.",
    _NOT_INITIALIZED: "Vault is not initialized (501): run 'vault operator init'.",
    503: "Vault is sealed, or down for maintenance (503): unseal it with 'vault operator unseal'.",
}


class VaultRefusal(Exception):
    """Vault answered with something else than success.

    Args:
        method: The verb of the request.
        path: Its path, behind ``/v1/``.
        response: The answer.
    """

    def __init__(self, method: str, path: str, response: requests.Response) -> None:
        self.method = method.upper()
        self.path = path
        self.status = response.status_code
        self.retry_after = parse_retry_after(response.headers.get("Retry-After"))
        self.body = _json_object(response) or {}
        errors = self.body.get("errors")
        texts = [" ".join(str(text).split()) for text in (errors if isinstance(errors, list) else ())]
        self.said = redact_text("; ".join(texts))[:_QUOTED]
        super().__init__(f"{self.method} {path}: {self.summary}")

    @property
    def summary(self) -> str:
        """The status, and what Vault says to it."""
        return f"{self.status}: {self.said}" if self.said else str(self.status)

    @property
    def context(self) -> dict[str, Any]:
        """Where it happened."""
        return {"status": self.status, "path": self.path}

    @property
    def is_unavailable(self) -> bool:
        """Whether the status alone says that Vault cannot be asked now."""
        return self._why_unavailable() is not None

    def as_error(self) -> SecretError:
        """Return the error of the tree that says what is to be done about it."""
        if self.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            need = {"GET": "read", "LIST": "list", "DELETE": "delete"}.get(self.method, "update")
            return SecretAccessDenied(
                f"Vault denies it ({self.summary}): a policy of the login must allow {need!r} on {self.path!r}.",
                context=self.context,
            )
        if self.status == HTTPStatus.NOT_FOUND:
            return SecretNotFoundError(f"Vault has nothing at {self.path!r}. Put it there.", context=self.context)
        if message := self._why_unavailable():
            retryable = self.status != _NOT_INITIALIZED
            return SecretBackendUnavailable(
                message, retryable=retryable, context=self.context, retry_after=self.retry_after
            )
        return SecretError(f"Vault does not accept {self.method} {self.path} ({self.summary}).", context=self.context)

    def _why_unavailable(self) -> str | None:
        if 300 <= self.status < HTTPStatus.BAD_REQUEST:
            return (
                f"Vault answers with a redirect ({self.status}), which is not followed, since the token would go with "
                "it. Let SECRETS.vault.address be that of the active node, or of a load balancer that knows it."
            )
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return _UNAVAILABLE.get(self.status, f"Vault fails ({self.summary}). Its log says why.")
        return _UNAVAILABLE.get(self.status)


class VaultAdapter(RawAdapter):  # type: ignore[misc]  # hvac has no annotations
    """What hvac sends through: an answer becomes a dict, a :class:`VaultRefusal`, or an error of the tree."""

    def request(self, method: str, url: str, headers: Any = None, raise_exception: bool = True, **kwargs: Any) -> Any:
        """Send a request.

        Args:
            method: The verb.
            url: The path, with ``/v1/``.
            headers: Further headers.
            raise_exception: Makes no difference: what is no success is raised.
            **kwargs: As of requests.

        Returns:
            The answer; empty where it has no body.

        Raises:
            VaultRefusal: If Vault refuses.
            SecretBackendUnavailable: If there is no answer, or none of Vault's.
        """
        try:
            response = super().request(method, url, headers, raise_exception=False, **kwargs)
        except requests.RequestException as error:
            raise _unreachable(error, self.base_uri) from error
        if response.status_code == HTTPStatus.NO_CONTENT:
            return {}
        refusal = VaultRefusal(method, url.lstrip("/").removeprefix("v1/"), response)
        answer = _json_object(response)
        if answer is None and not refusal.is_unavailable:
            # A page that says "not found" says nothing about the secret.
            raise SecretBackendUnavailable(
                f"What answers at {self.base_uri} does not speak Vault's JSON ({response.status_code}). Is "
                "SECRETS.vault.address the address of the API, and not of a proxy or a page in front of it?"
            )
        if not 200 <= response.status_code < 300:
            raise refusal
        return answer


def _json_object(response: requests.Response) -> dict[str, Any] | None:
    try:
        answer = response.json()
    except ValueError:
        return None
    return cast(dict[str, Any], answer) if isinstance(answer, dict) else None


def _unreachable(error: requests.RequestException, address: str) -> SecretBackendUnavailable:
    host = urlsplit(address).netloc
    if isinstance(error, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error):
        return SecretBackendUnavailable(
            f"The certificate of {host} is not trusted. Name the file of its authority in SECRETS.vault.ca.",
            retryable=False,
        )
    if isinstance(error, requests.exceptions.ReadTimeout):
        return SecretBackendUnavailable(f"Vault at {host} does not answer within SECRETS.vault.timeout_seconds.")
    if isinstance(error, requests.exceptions.ConnectionError):
        return SecretBackendUnavailable(f"Vault cannot be reached at {host}, or closes the connection.")
    return SecretBackendUnavailable(f"The request to Vault at {host} failed ({type(error).__name__}).")
