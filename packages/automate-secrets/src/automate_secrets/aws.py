"""Secrets in AWS Secrets Manager, and in the parameter store of Systems Manager."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, ClassVar

from automate_core.errors import AutomateError, SecretBackendUnavailable, SecretError, SecretNotFoundError
from automate_core.secrets import SecretBackend
from automate_core.settings import SecretSettings

from automate_secrets._fields import pick

if TYPE_CHECKING:
    from automate_secrets._aws_client import AwsRefusal

__all__ = ["AwsBackend"]

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+=\-]*")
_SECRET_ARN = re.compile(r"arn:aws[a-z\-]*:secretsmanager:[a-z0-9\-]+:[0-9]*:secret:[A-Za-z0-9_./+=\-]+")
_PARAMETER_ARN = re.compile(r"arn:aws[a-z\-]*:ssm:[a-z0-9\-]+:[0-9]*:parameter/[A-Za-z0-9_./\-]+")
_PARAMETER = re.compile(r"ssm/([A-Za-z0-9_.\-]+(?:/[A-Za-z0-9_.\-]+)*)")
_PASSED_ON = re.compile(r"(?:ssm/|arn:[^/]*:parameter/)aws/reference/", re.IGNORECASE)
"""Parameters by which Systems Manager reads from other services; a rule about the secret would not see them."""

_NO_ANSWER = "What answers at AWS's endpoint does not speak its protocol."
_SHORTEST_ID = 32
"""Characters: a version of Secrets Manager is named by an id of so many at least, or by a stage."""


class AwsBackend(SecretBackend):
    """Reads ``$aws:prod/billing#api_key`` from Secrets Manager, and ``$aws:ssm/prod/api-key`` from the parameter store.

    ``#field`` is a field of a secret that is a JSON object. ``@AWSPREVIOUS`` pins a stage and ``@<id>`` a version of
    Secrets Manager, ``@3`` a version and ``@<label>`` a label of the parameter store. ``$secret:`` names what follows
    the setting ``SECRETS.aws.prefix``.

    Args:
        config: The settings of secrets; left out, those in force.

    Raises:
        SecretBackendUnavailable: If boto3 is not installed.
    """

    key: ClassVar[str] = "aws"
    supports_fields: ClassVar[bool] = True
    supports_versions: ClassVar[bool] = True

    def __init__(self, config: SecretSettings | None = None) -> None:
        super().__init__(config)
        try:
            from automate_secrets._aws_client import AwsClient
        except ImportError as error:
            raise SecretBackendUnavailable(
                f"The secret backend 'aws' needs a module that is missing ({error}). "
                "Install it: pip install 'automate-secrets[aws]'",
                retryable=False,
            ) from error
        self.client = AwsClient(self.config.aws)

    def locate(self, path: str) -> str:
        """Return the name of what ``$secret:`` means.

        Args:
            path: What stands behind ``$secret:``.
        """
        return self.config.aws.prefix + path

    def get(self, path: str, *, field: str | None = None, version: str | None = None, tenant: str | None = None) -> str:
        """Return the value of a secret.

        Args:
            path: Name or ARN of a secret; ``ssm/`` and the name, or the ARN, of a parameter. ``ssm/a/b`` is the
                parameter ``/a/b``, ``ssm/a`` the parameter ``a``.
            field: A field, where the secret is a JSON object; left out, the whole text.
            version: A stage or an id; a number or a label of a parameter; left out, the current one.
            tenant: Makes no difference: the secrets are the installation's.

        Returns:
            The value; what is no text in a JSON object comes as JSON.

        Raises:
            SecretNotFoundError: If there is no such secret, version or field, or it was deleted.
            SecretAccessDenied: If AWS does not accept the credentials, or they do not allow it.
            SecretDecryptionError: If the KMS key that encrypts it cannot be used.
            SecretBackendUnavailable: If AWS cannot be asked now, or there are no credentials.
            SecretError: If the path cannot be one.
        """
        if _PASSED_ON.match(path):
            raise SecretError(f"{path!r} names something else than a parameter: name the secret itself, $aws:<name>.")
        if path.startswith("ssm/") or _PARAMETER_ARN.fullmatch(path):
            value = self._parameter(path, version)
        elif _SECRET_ARN.fullmatch(path) or _NAME.fullmatch(path):
            value = self._secret(path, version)
        else:
            raise SecretError(f"{path!r} is neither name nor ARN of a secret, nor ssm/ and the name of a parameter.")
        return value if field is None else _field(value, field, path)

    def check(self) -> list[str]:
        """Look for missing credentials, and for a role that cannot be assumed.

        Returns:
            One sentence per problem.
        """
        try:
            self.client.check()
        except AutomateError as error:
            return [error.message]
        return []

    def _secret(self, path: str, version: str | None) -> str:
        which = {} if version is None else {"VersionId" if len(version) >= _SHORTEST_ID else "VersionStage": version}

        def explain(refusal: AwsRefusal) -> SecretError | None:
            if refusal.code == "ResourceNotFoundException":
                what = f"no secret {path!r}" if version is None else f"no version @{version} of a secret {path!r}"
                put = f"aws secretsmanager create-secret --name {path} --secret-string …"
                return SecretNotFoundError(f"Secrets Manager has {what}. Put it there: {put}", context=refusal.context)
            if refusal.code == "InvalidRequestException" and "delet" in refusal.said:
                restore = f"aws secretsmanager restore-secret --secret-id {path}"
                return SecretNotFoundError(
                    f"The secret {path!r} was deleted. Bring it back: {restore}", context=refusal.context
                )
            return None

        answer = self.client.call("secretsmanager", "get_secret_value", {"SecretId": path, **which}, explain=explain)
        text, raw = answer.get("SecretString"), answer.get("SecretBinary")
        if isinstance(text, str):
            return text
        if not isinstance(raw, bytes):
            raise SecretBackendUnavailable(_NO_ANSWER)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise SecretError(f"The secret {path!r} is not text. Store what is binary in base64.") from None

    def _parameter(self, path: str, version: str | None) -> str:
        name = path
        if match := _PARAMETER.fullmatch(path):
            name = f"/{match[1]}" if "/" in match[1] else match[1]
        elif path.startswith("ssm/"):
            raise SecretError(f"{path!r} cannot name a parameter: letters, digits and _ . - / are allowed behind ssm/.")

        def explain(refusal: AwsRefusal) -> SecretError | None:
            if refusal.code not in ("ParameterNotFound", "ParameterVersionNotFound"):
                return None
            what = f"no parameter {name!r}" if version is None else f"no version @{version} of a parameter {name!r}"
            put = f"aws ssm put-parameter --type SecureString --name {name} --value …"
            return SecretNotFoundError(
                f"The parameter store has {what} (read as {path!r}). Put it there: {put}", context=refusal.context
            )

        selected = name if version is None else f"{name}:{version}"
        request = {"Name": selected, "WithDecryption": True}
        parameter = self.client.call("ssm", "get_parameter", request, explain=explain).get("Parameter") or {}
        if not isinstance(value := parameter.get("Value"), str):
            raise SecretBackendUnavailable(_NO_ANSWER)
        return value


def _field(value: str, field: str, path: str) -> str:
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise SecretError(f"The secret {path!r} is not a JSON object, so it has no fields: leave #{field} out.")
    return pick(fields, field, path)
