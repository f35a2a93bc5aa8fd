"""Keys of AWS KMS, which never leave it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar

from automate_core.errors import ConfigurationError, SecretBackendUnavailable, SecretDecryptionError, SecretError
from automate_core.settings import AwsSettings

from automate_secrets.keys._encryption import Binding, missing_extra, refusal

if TYPE_CHECKING:
    from automate_secrets._aws_client import AwsClient, AwsRefusal

__all__ = ["KmsKey"]

_CHANGED = ("InvalidCiphertextException", "IncorrectKeyException")
_UNUSABLE = ("NotFoundException", "DisabledException", "KMSInvalidStateException", "InvalidKeyUsageException")


class KmsKey:
    """A symmetric key of AWS KMS, asked as ``SECRETS.aws`` says.

    The place is sent as ``EncryptionContext``, which KMS binds and CloudTrail shows: tenant, name, version, field and
    key id. The key is named when decrypting too, so that no other key of the account can stand in for it.

    Args:
        key_id: Its id in ``SECRETS.keys``.
        name: The ARN, id or alias of the key.
        settings: The section ``SECRETS.aws``.

    Raises:
        ConfigurationError: If no key is named.
    """

    kind: ClassVar[str] = "K"

    def __init__(self, key_id: str, name: str, settings: AwsSettings) -> None:
        if not name.strip():
            raise ConfigurationError(f"SECRETS.keys[{key_id!r}]: write aws-kms: with the ARN, id or alias of a key.")
        self.key_id = key_id
        self._name = name.strip()
        self._settings = settings
        self._lock = threading.Lock()
        self._made: AwsClient | None = None

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        """Encrypt a data key for one place.

        Args:
            data_key: The data key.
            binding: The place.

        Returns:
            The blob of KMS.

        Raises:
            SecretAccessDenied: If KMS refuses.
            SecretBackendUnavailable: If KMS cannot be asked, or the key cannot be used.
        """
        given = {"Plaintext": data_key, **self._named(binding)}
        answer = self._client.call("kms", "encrypt", given, explain=self._explain_unusable)
        return bytes(answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """Decrypt a data key in its place.

        Args:
            wrapped: What :meth:`wrap` returned.
            binding: The place.

        Returns:
            The data key.

        Raises:
            SecretDecryptionError: If it was changed, belongs elsewhere, or another key wrapped it, or KMS does not
                allow it, which it tells apart from a blob of another key in words alone.
            SecretBackendUnavailable: If KMS cannot be asked, or the key cannot be used.
        """
        if not wrapped:
            raise refusal(binding, self.key_id)

        def explain(refused: AwsRefusal) -> SecretError | None:
            if refused.code in _CHANGED:
                return refusal(binding, self.key_id)
            if refused.code == "AccessDeniedException":
                return SecretDecryptionError(
                    f"{refusal(binding, self.key_id).message} Or kms:Decrypt is not allowed with that key.",
                    context={**refused.context, "key_id": self.key_id},
                )
            return self._explain_unusable(refused)

        given = {"CiphertextBlob": wrapped, **self._named(binding)}
        return bytes(self._client.call("kms", "decrypt", given, explain=explain)["Plaintext"])

    def _named(self, binding: Binding) -> dict[str, object]:
        return {"KeyId": self._name, "EncryptionContext": binding.context(self.key_id)}

    def _explain_unusable(self, refused: AwsRefusal) -> SecretError | None:
        if refused.code not in _UNUSABLE:
            return None
        return SecretBackendUnavailable(
            f"The key {self._name} of AWS KMS, which SECRETS.keys[{self.key_id!r}] names, cannot be used "
            f"({refused.code}). Check that it is there, symmetric and enabled, and SECRETS.aws.region.",
            retryable=False,
            context=refused.context,
        )

    @property
    def _client(self) -> AwsClient:
        with self._lock:
            if self._made is None:
                try:
                    from automate_secrets._aws_client import AwsClient
                except ImportError as error:
                    raise missing_extra(self.key_id, "aws", error) from error
                self._made = AwsClient(self._settings)
            return self._made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key_id!r}, {self._name!r})"
