"""Keys of Vault's transit engine, which never leave it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar

from automate_core.errors import ConfigurationError, SecretBackendUnavailable, SecretError
from automate_core.settings import VaultSettings

from automate_secrets.keys._encryption import DATA_KEY_BYTES, Binding, missing_extra, refusal

if TYPE_CHECKING:
    from automate_secrets._vault_answers import VaultRefusal
    from automate_secrets._vault_client import VaultClient

__all__ = ["TransitKey"]

_PATH = re.compile(r"(\w[\w.\-]*/)*\w[\w.\-]*", re.ASCII)
_CIPHERTEXT = re.compile(r"vault:v[1-9][0-9]*:(?P<text>[A-Za-z0-9+/]+={0,2})")


class TransitKey:
    """A key of Vault's transit engine, asked as ``SECRETS.vault`` says.

    The place is sent as ``associated_data``. A Vault that is too old to know that passes over it in silence, so a
    digest of the place is encrypted along with the data key too, and compared.

    Args:
        key_id: Its id.
        path: ``mount/key``, or the name of a key of the engine that is mounted at ``transit``.
        settings: The section ``SECRETS.vault``.

    Raises:
        ConfigurationError: If the path is none.
    """

    kind: ClassVar[str] = "V"

    def __init__(self, key_id: str, path: str, settings: VaultSettings) -> None:
        if not _PATH.fullmatch(path):
            raise ConfigurationError(f"SECRETS.keys[{key_id!r}]: write vault-transit:mount/key, not {path!r}.")
        mount, _, name = path.rpartition("/")
        self.key_id = key_id
        self._mount, self._name = mount or "transit", name
        self._settings = settings
        self._lock = threading.Lock()
        self._made: VaultClient | None = None

    def wrap(self, data_key: bytes, binding: Binding) -> bytes:
        """Encrypt a data key for one place.

        Args:
            data_key: The data key.
            binding: The place.

        Returns:
            Vault's ciphertext, with the version of its key.

        Raises:
            SecretAccessDenied: If Vault refuses.
            SecretBackendUnavailable: If Vault cannot be asked.
        """
        plain = data_key + _digest(binding, self.key_id)
        answer = self._ask("encrypt", binding, {"plaintext": _base64(plain)})
        return str(answer["data"]["ciphertext"]).encode()

    def unwrap(self, wrapped: bytes, binding: Binding) -> bytes:
        """Decrypt a data key in its place.

        Args:
            wrapped: What :meth:`wrap` returned.
            binding: The place.

        Returns:
            The data key.

        Raises:
            SecretDecryptionError: If it was changed, belongs elsewhere, or another key wrapped it.
            SecretAccessDenied: If Vault refuses.
            SecretBackendUnavailable: If Vault cannot be asked.
        """
        text = wrapped.decode("ascii", "replace")
        if not _is_canonical(text):
            raise refusal(binding, self.key_id)
        answer = self._ask("decrypt", binding, {"ciphertext": text})
        plain = base64.b64decode(answer["data"]["plaintext"])
        if plain[DATA_KEY_BYTES:] != _digest(binding, self.key_id):
            raise refusal(binding, self.key_id)
        return plain[:DATA_KEY_BYTES]

    def _ask(self, what: str, binding: Binding, data: dict[str, str]) -> Any:
        path = f"{self._mount}/{what}/{self._name}"
        data["associated_data"] = _base64(binding.associated_data("key", self.key_id))

        def explain(refused: VaultRefusal) -> SecretError | None:
            if refused.status in (400, 404) and ("not found" in refused.said or refused.status == 404):
                return SecretBackendUnavailable(
                    f"Vault has no transit key {self._name!r} at {self._mount!r}, which SECRETS.keys[{self.key_id!r}] "
                    f"names ({refused.summary}). Make it: vault write -f {self._mount}/keys/{self._name}",
                    retryable=False,
                    context=refused.context,
                )
            return refusal(binding, self.key_id) if refused.status == 400 and what == "decrypt" else None

        return self._client.call(lambda client: client.write_data(path, data=data), explain=explain)

    @property
    def _client(self) -> VaultClient:
        with self._lock:
            if self._made is None:
                try:
                    from automate_secrets._vault_client import VaultClient
                except ImportError as error:
                    raise missing_extra(self.key_id, "vault", error) from error
                self._made = VaultClient(self._settings)
            return self._made

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.key_id!r}, '{self._mount}/{self._name}')"


def _digest(binding: Binding, key_id: str) -> bytes:
    return hashlib.sha256(binding.associated_data("key", key_id)).digest()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _is_canonical(ciphertext: str) -> bool:
    """Whether it is written in the one way in which Vault writes it: base64 can say the same bytes in several."""
    match = _CIPHERTEXT.fullmatch(ciphertext)
    try:
        return match is not None and _base64(base64.b64decode(match["text"])) == match["text"]
    except binascii.Error:
        return False
