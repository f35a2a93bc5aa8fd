"""The transit engine of the Vault that tests talk to, with real AES-GCM. See :mod:`vault_server`."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from vault_engines import NOTHING, Answer, Call, Clock, Refusal, keys_below

_DERIVED_NEEDS_CONTEXT = (
    "missing 'context' for key derivation; the key was created using a derived key, which means additional, "
    "per-request information must be included in order to perform operations with the key"
)


@dataclass
class _Key:
    created: list[float]
    material: list[bytes]
    derived: bool
    min_decryption_version: int = 1
    min_encryption_version: int = 0
    deletion_allowed: bool = False


class Transit:
    """The transit engine with keys of type aes256-gcm96, derived or not; no convergent encryption.

    Args:
        clock: Gives the time in seconds.
    """

    type = "transit"

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._keys: dict[str, _Key] = {}

    def holds(self, path: str) -> bool:
        """Whether the key exists, which is what ``encrypt`` asks for before it makes one."""
        kind, _, name = path.partition("/")
        return kind != "encrypt" or name in self._keys

    def answer(self, call: Call) -> Answer:
        """Dispatch on the path."""
        match (*call.path.split("/"), call.operation):
            case ("keys", *rest, operation):
                return self._answer_keys(list(rest), operation, call.body)
            case ("encrypt", name, "write"):
                if name not in self._keys:
                    self._create(name, {"derived": bool(call.body.get("context"))})
                return _each(_encrypt, self._key(name), call.body)
            case ("decrypt", name, "write"):
                return _each(_decrypt, self._key(name), call.body)
            case ("rewrap", name, "write"):
                return _each(_rewrap, self._key(name), call.body)
            case ("datakey", "plaintext" | "wrapped" as kind, name, "write"):
                return _datakey(self._key(name), kind, call.body)
        raise Refusal(404)

    def _answer_keys(self, rest: list[str], operation: str, body: Mapping[str, Any]) -> Answer:
        match (*rest, operation):
            case ("list",):
                return keys_below("", list(self._keys))
            case (name, "write"):
                return self._create(name, body)
            case (name, "read"):
                return self._describe(name)
            case (name, "delete"):
                if not self._key(name).deletion_allowed:
                    raise Refusal(400, "error deleting policy: deletion is not allowed for this key")
                del self._keys[name]
                return NOTHING
            case (name, "rotate", "write"):
                self._key(name).material.append(os.urandom(32))
                self._key(name).created.append(self._clock())
                return NOTHING
            case (name, "config", "write"):
                return _configure(self._key(name), body)
        raise Refusal(404)

    def _key(self, name: str) -> _Key:
        if name not in self._keys:
            raise Refusal(400, "encryption key not found")
        return self._keys[name]

    def _create(self, name: str, body: Mapping[str, Any]) -> Answer:
        if body.get("type", "aes256-gcm96") != "aes256-gcm96" or body.get("convergent_encryption"):
            raise Refusal(400, "only keys of type aes256-gcm96 without convergent encryption are known here")
        if name not in self._keys:
            self._keys[name] = _Key([self._clock()], [os.urandom(32)], bool(body.get("derived")))
        return NOTHING

    def _describe(self, name: str) -> Answer:
        if name not in self._keys:
            raise Refusal(404)
        key = self._keys[name]
        return Answer(
            {
                "name": name,
                "type": "aes256-gcm96",
                "derived": key.derived,
                "deletion_allowed": key.deletion_allowed,
                "exportable": False,
                "allow_plaintext_backup": False,
                "keys": {str(number): int(created) for number, created in enumerate(key.created, 1)},
                "latest_version": len(key.material),
                "min_available_version": 0,
                "min_decryption_version": key.min_decryption_version,
                "min_encryption_version": key.min_encryption_version,
                "supports_encryption": True,
                "supports_decryption": True,
                "supports_derivation": True,
                "supports_signing": False,
                "imported_key": False,
            }
        )


def _configure(key: _Key, body: Mapping[str, Any]) -> Answer:
    oldest = int(body.get("min_decryption_version", key.min_decryption_version)) or 1
    first = int(body.get("min_encryption_version", key.min_encryption_version))
    if max(oldest, first) > len(key.material):
        raise Refusal(400, "cannot set a minimum version above the latest version")
    if first and first < oldest:
        raise Refusal(400, "cannot set min encryption version below min decryption version")
    key.min_decryption_version, key.min_encryption_version = oldest, first
    key.deletion_allowed = bool(body.get("deletion_allowed", key.deletion_allowed))
    return NOTHING


def _encrypt(key: _Key, item: Mapping[str, Any]) -> dict[str, Any]:
    if "plaintext" not in item:
        raise Refusal(400, "missing plaintext to encrypt")
    return _seal(key, _decoded(item, "plaintext"), item)


def _rewrap(key: _Key, item: Mapping[str, Any]) -> dict[str, Any]:
    return _seal(key, base64.b64decode(_decrypt(key, item)["plaintext"]), item)


def _datakey(key: _Key, kind: str, body: Mapping[str, Any]) -> Answer:
    bits = int(body.get("bits", 256))
    if bits not in {128, 256, 512}:
        raise Refusal(400, "invalid bit length")
    fresh = os.urandom(bits // 8)
    clear = {"plaintext": base64.b64encode(fresh).decode()} if kind == "plaintext" else {}
    return Answer({**_seal(key, fresh, body), **clear})


def _each(work: Callable[[_Key, Mapping[str, Any]], dict[str, Any]], key: _Key, body: Mapping[str, Any]) -> Answer:
    """Do one item, or each of ``batch_input``: there an item that fails carries its error, and the status is 400."""
    if "batch_input" not in body:
        return Answer(work(key, body))
    results: list[dict[str, Any]] = []
    for item in body["batch_input"]:
        try:
            results.append(work(key, item))
        except Refusal as refusal:
            results.append({"error": refusal.errors[0]})
    return Answer({"batch_results": results}, 400 if any("error" in result for result in results) else 200)


def _decrypt(key: _Key, item: Mapping[str, Any]) -> dict[str, Any]:
    found = re.fullmatch(r"vault:v([1-9]\d*):(.+)", str(item.get("ciphertext", "")))
    if not found:
        raise Refusal(400, "invalid ciphertext: no prefix")
    number = int(found[1])
    if number > len(key.material):
        raise Refusal(400, "invalid ciphertext: version is too new")
    if number < key.min_decryption_version:
        raise Refusal(400, "ciphertext or signature version is disallowed by policy (too old)")
    raw = _decoded({"ciphertext": found[2]}, "ciphertext")
    try:
        clear = _cipher(key, number, item).decrypt(raw[:12], raw[12:], _decoded(item, "associated_data") or None)
    except (InvalidTag, ValueError):
        raise Refusal(400, "cipher: message authentication failed") from None
    return {"plaintext": base64.b64encode(clear).decode()}


def _seal(key: _Key, clear: bytes, item: Mapping[str, Any]) -> dict[str, Any]:
    number = int(item.get("key_version") or 0) or len(key.material)
    if number > len(key.material) or number < key.min_encryption_version:
        raise Refusal(400, "requested version for encryption is not allowed by the key's versions")
    nonce = os.urandom(12)
    sealed = nonce + _cipher(key, number, item).encrypt(nonce, clear, _decoded(item, "associated_data") or None)
    return {"ciphertext": f"vault:v{number}:{base64.b64encode(sealed).decode()}", "key_version": number}


def _cipher(key: _Key, number: int, item: Mapping[str, Any]) -> AESGCM:
    """The cipher of a key version; a context counts for a derived key alone, as in Vault."""
    material = key.material[number - 1]
    if key.derived:
        context = _decoded(item, "context")
        if not context:
            raise Refusal(400, _DERIVED_NEEDS_CONTEXT)
        material = HKDF(SHA256(), 32, None, context).derive(material)
    return AESGCM(material)


def _decoded(item: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(str(item.get(name) or ""), validate=True)
    except binascii.Error:
        raise Refusal(400, f"failed to base64-decode {name}") from None
