"""A client of AWS with typed errors. Imports boto3, so it is imported at first use."""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import boto3
import botocore.session
from automate_core.errors import (
    SecretAccessDenied,
    SecretBackendUnavailable,
    SecretDecryptionError,
    SecretError,
    SecretNotFoundError,
)
from automate_core.redaction import redact_text
from automate_core.retry import parse_retry_after
from automate_core.settings import AwsSettings
from botocore import exceptions
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)

__all__ = ["AwsClient", "AwsRefusal"]

_QUOTED = 300
"""Characters of an answer that are shown."""

_DENIED = frozenset(
    {
        "AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnrecognizedClientException",
        "InvalidClientTokenId", "InvalidSignatureException", "SignatureDoesNotMatch", "IncompleteSignature",
        "MissingAuthenticationToken", "ExpiredToken", "ExpiredTokenException", "RequestExpired",
    }
)  # fmt: skip
_THROTTLED = frozenset(
    {
        "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestThrottledException",
        "TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException",
    }
)  # fmt: skip
_UNDECIPHERABLE = frozenset(
    {"DecryptionFailure", "InvalidKeyId", "KMSInvalidStateException", "DisabledException", "InvalidCiphertextException"}
)
_TALKATIVE = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
"""Loggers that show headers and bodies at level DEBUG: the session token, values and data keys."""
_asking: ContextVar[bool] = ContextVar("automate_secrets_asking_aws", default=False)
_MISSING = frozenset({"ResourceNotFoundException", "ParameterNotFound", "ParameterVersionNotFound"})


class AwsRefusal:
    """What AWS answered instead of a result.

    Args:
        error: The exception of botocore.
    """

    def __init__(self, error: exceptions.ClientError) -> None:
        about = error.response.get("Error", {})
        meta = error.response.get("ResponseMetadata", {})
        self.operation: str = error.operation_name
        self.code = str(about.get("Code", ""))
        self.status = int(meta.get("HTTPStatusCode", 0))
        self.said = redact_text(" ".join(str(about.get("Message", "")).split()))[:_QUOTED]
        self.retry_after = parse_retry_after(meta.get("HTTPHeaders", {}).get("retry-after"))

    @property
    def context(self) -> dict[str, Any]:
        """Where it happened."""
        return {"operation": self.operation, "code": self.code, "status": self.status}

    def as_error(self) -> SecretError:
        """Return the error of the tree that says what is to be done about it."""
        what = f"{self.operation}: {self.code}: {self.said}".rstrip(": ")
        if self.code in _DENIED or self.status in (401, 403):
            return SecretAccessDenied(
                f"AWS denies it ({what}). Check the credentials, and what their policy allows.", context=self.context
            )
        if self.code in _THROTTLED or self.status == 429:
            return self._unavailable(f"AWS limits the rate of requests ({what}).")
        if self.code in _UNDECIPHERABLE:
            return SecretDecryptionError(
                f"AWS cannot decrypt it ({what}). Check that its KMS key is enabled, and may be used.",
                context=self.context,
            )
        if self.code in _MISSING:
            return SecretNotFoundError(f"AWS does not have it ({what}).", context=self.context)
        if self.status >= 500 or self.code in ("InternalServiceError", "InternalServerError"):
            return self._unavailable(f"AWS fails ({what}).")
        return SecretError(f"AWS does not accept the request ({what}).", context=self.context)

    def _unavailable(self, message: str) -> SecretBackendUnavailable:
        return SecretBackendUnavailable(message, context=self.context, retry_after=self.retry_after)


class AwsClient:
    """Calls services of AWS as ``SECRETS.aws`` says; threads share it.

    A call is one attempt: whoever calls decides whether there is another. No proxy of the environment is used.

    Args:
        settings: The section ``SECRETS.aws``.
    """

    def __init__(self, settings: AwsSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._pid = 0
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    def call(
        self,
        service: str,
        operation: str,
        parameters: Mapping[str, Any],
        *,
        explain: Callable[[AwsRefusal], SecretError | None] | None = None,
    ) -> Mapping[str, Any]:
        """Ask AWS something.

        Args:
            service: The service by boto3's name, such as ``secretsmanager``.
            operation: The operation by boto3's name, such as ``get_secret_value``.
            parameters: Its parameters.
            explain: Says what a refusal means to whoever asks; None leaves it to this client.

        Returns:
            What AWS answers.

        Raises:
            SecretAccessDenied: If the credentials are not accepted, or do not allow it.
            SecretNotFoundError: If there is no such thing.
            SecretDecryptionError: If the key that encrypts it cannot be used.
            SecretBackendUnavailable: If AWS cannot be reached, limits the rate or fails, or there are no credentials.
            SecretError: If AWS does not understand the request.
        """
        try:
            with _unlogged():
                answer: Mapping[str, Any] = getattr(self._client(service), operation)(**parameters)
        except exceptions.ClientError as error:
            refusal = AwsRefusal(error)
            raise (explain and explain(refusal)) or refusal.as_error() from error
        except exceptions.BotoCoreError as error:
            raise _failed(error) from error
        return answer

    def check(self) -> None:
        """Find the credentials, and assume the role where there is one.

        Raises:
            SecretError: As :meth:`call`.
        """
        try:
            self._client("secretsmanager")  # which needs a region
            credentials = self._session.get_credentials()
            if credentials is None:
                raise exceptions.NoCredentialsError
            with _unlogged():  # it may be that a role is assumed
                credentials.get_frozen_credentials()
        except exceptions.ClientError as error:
            raise AwsRefusal(error).as_error() from error
        except exceptions.BotoCoreError as error:
            raise _failed(error) from error

    def _client(self, service: str) -> Any:
        with self._lock:
            if self._pid != os.getpid():  # connections of the process that this one was forked from stay with it
                self._session, self._clients = self._new_session(), {}
                self._pid = os.getpid()
            if service not in self._clients:
                self._clients[service] = self._session.client(service, **self._options)
            return self._clients[service]

    @property
    def _options(self) -> dict[str, Any]:
        config = Config(
            connect_timeout=self.settings.connect_seconds,
            read_timeout=self.settings.timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 1},
            proxies={},
        )
        return {"config": config, "endpoint_url": self.settings.endpoint or None}

    def _new_session(self) -> boto3.session.Session:
        plain = self._new_botocore_session()
        if not self.settings.role_arn:
            return boto3.session.Session(botocore_session=plain)
        assuming = self._new_botocore_session()
        assuming.register_component("credential_provider", CredentialResolver([_Role(plain, self)]))
        return boto3.session.Session(botocore_session=assuming)

    def _new_botocore_session(self) -> Any:
        session = botocore.session.Session(profile=self.settings.profile or None)
        if self.settings.region:
            session.set_config_variable("region", self.settings.region)
        # Where there is no metadata service, asking it is waiting; botocore counts whole seconds.
        session.set_config_variable("metadata_service_timeout", math.ceil(self.settings.connect_seconds))
        session.set_config_variable("metadata_service_num_attempts", 1)
        return session


class _Role(CredentialProvider):  # type: ignore[misc]  # botocore has no annotations
    """Credentials of a role that the session's own credentials may assume; botocore renews them in time."""

    METHOD = "assume-role"
    CANONICAL_NAME = "custom-assume-role"

    def __init__(self, session: Any, client: AwsClient) -> None:
        super().__init__()
        self._source = session
        self._of = client

    def load(self) -> Any:
        """Return the credentials, which are fetched when they are first needed."""
        credentials = self._source.get_credentials()
        if credentials is None:
            return None
        settings = self._of.settings
        fetcher = AssumeRoleCredentialFetcher(
            partial(self._source.create_client, **self._of._options),
            credentials,
            settings.role_arn,
            extra_args={
                "RoleSessionName": "automate",
                **({"ExternalId": settings.external_id} if settings.external_id else {}),
            },
        )
        return DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=self.METHOD)


@contextmanager
def _unlogged() -> Iterator[None]:
    """Keep what is asked and answered out of logs: the redactor learns a value only after botocore has shown it."""
    token = _asking.set(True)
    try:
        yield
    finally:
        _asking.reset(token)


def _is_for_logs(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _asking.get()


for _name in _TALKATIVE:
    logging.getLogger(_name).addFilter(_is_for_logs)  # the same one is added once


def _failed(error: exceptions.BotoCoreError) -> SecretError:
    """Say what kept a request from being made or answered."""
    if isinstance(error, exceptions.ParamValidationError):
        return SecretError("AWS cannot be asked for that: the reference or key has a part that AWS does not allow.")
    lasting = (
        (exceptions.ProfileNotFound, "The profile of the setting SECRETS.aws.profile is not in the shared files."),
        (exceptions.NoRegionError, "No region is known. Set SECRETS.aws.region, or AWS_DEFAULT_REGION."),
        (
            (exceptions.NoCredentialsError, exceptions.PartialCredentialsError),
            "No credentials of AWS are found. Give the processes a role, a profile, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY.",
        ),
        (exceptions.SSLError, "The certificate of AWS's endpoint is not trusted. Set AWS_CA_BUNDLE to its authority."),
    )
    for kinds, message in lasting:
        if isinstance(error, kinds):
            return SecretBackendUnavailable(message, retryable=False)
    if isinstance(error, exceptions.ReadTimeoutError):
        return SecretBackendUnavailable("AWS does not answer within SECRETS.aws.timeout_seconds.")
    if isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError)):
        return SecretBackendUnavailable("AWS cannot be reached, or closes the connection.")
    if isinstance(error, exceptions.ResponseParserError):
        return SecretBackendUnavailable("What answers at AWS's endpoint does not speak its protocol.")
    return SecretBackendUnavailable(f"The request to AWS failed ({type(error).__name__}).")
