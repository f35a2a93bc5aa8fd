"""Which names are names of secrets."""

from __future__ import annotations

import re
import sys
import threading
from functools import lru_cache
from unicodedata import normalize

__all__ = ["extra_keys", "is_secret_key", "may_hold_secret_key"]

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+")
_LONGEST = 256

_WORDS = frozenset({
    "authorization", "bearer", "cookie", "cookies", "credential", "credentials", "csrf", "cvc", "cvv", "jwt",
    "otp", "passcode", "passphrase", "passwd", "password", "passwords", "pwd", "secret", "secrets", "ssn", "totp",
    "xsrf",
})  # fmt: skip
"""A name with one of these words is secret."""

_ENDINGS = (
    "accesskey", "apikey", "apitoken", "authkey", "authtoken", "cookie", "credential", "credentials", "passcode",
    "passphrase", "passwd", "password", "privatekey", "pwd", "secret", "secretkey",
)  # fmt: skip
"""A word written in one run that ends so is secret: ``dbpassword``, ``xapikey``."""

_KEY_QUALIFIERS = frozenset({
    "access", "account", "admin", "aes", "api", "app", "application", "auth", "client", "decryption", "deploy",
    "encryption", "fernet", "gpg", "hmac", "kek", "license", "master", "pgp", "private", "root", "rsa", "secret",
    "service", "session", "shared", "signing", "ssh", "ssl", "subscription", "tls", "webhook", "wrapping",
})  # fmt: skip
"""``key`` alone names nothing secret; after one of these words it does."""

_TOKEN_QUALIFIERS = frozenset({
    "access", "api", "auth", "bearer", "csrf", "device", "id", "jwt", "oauth", "personal", "push", "refresh",
    "registration", "reset", "session",
})  # fmt: skip
"""``tokens`` counts what a language model reads; after one of these words it is a list of secrets."""

_BENIGN_TOKEN_QUALIFIERS = frozenset({
    "bos", "cached", "cls", "completion", "continuation", "cursor", "eos", "fencing", "first", "input", "last",
    "lease", "mask", "max", "min", "next", "output", "pad", "page", "pagination", "per", "prompt", "reasoning",
    "sep", "special", "start", "stop", "total", "unk",
})  # fmt: skip
"""Tokens of text, of pages and of leases open nothing."""

_PASS_QUALIFIERS = frozenset({
    "admin", "auth", "basic", "database", "db", "email", "ftp", "http", "imap", "ldap", "login", "mail", "mongo",
    "mysql", "pg", "postgres", "proxy", "rabbitmq", "redis", "root", "sftp", "smtp", "ssh", "user",
})  # fmt: skip

_RUNS = frozenset(
    {f"{word}{key}" for word in _KEY_QUALIFIERS for key in ("key", "keys")}
    | {f"{word}tokens" for word in _TOKEN_QUALIFIERS}
    | {f"{word}pass" for word in _PASS_QUALIFIERS}
)
"""The same in one run: ``masterkey``, ``apitokens``, ``dbpass``."""

_RUN_ENDINGS = tuple(_RUNS - {"idtokens"})  # ``validtokens`` are no secrets

_ABOUT = frozenset({
    "age", "alert", "alerts", "alg", "algorithm", "arn", "at", "budget", "cost", "count", "counts", "created",
    "details", "dir", "domain", "enabled", "expiration", "expired", "expires", "expiry", "file", "filename",
    "format", "id", "ids", "in", "kind", "length", "limit", "limits", "logprob", "logprobs", "method", "minute",
    "name", "names", "path", "policy", "price", "protection", "rate", "ref", "reference", "required", "scanning",
    "scope", "scopes", "second", "size", "status", "strength", "ttl", "type", "types", "updated", "usage", "used",
    "version",
})  # fmt: skip
"""A name that ends so tells something about the secret, not the secret: ``token_count``, ``password_changed_at``."""

_SECRET = frozenset({
    "auth", "backupcode", "backupcodes", "basicauth", "cardnumber", "connectionstring", "httpauth", "onetimecode",
    "pass", "pin", "proxyauth", "recoverycode", "recoverycodes", "secretid", "securitycode", "seedphrase",
    "sessionid", "xauth",
})  # fmt: skip
"""Whole names that are secret, folded."""

_BENIGN = frozenset({
    "accesstokensurl", "authorizationendpoint", "authorizationuri", "authorizationurl", "tokenendpoint", "tokenuri",
    "tokenurl",
})  # fmt: skip

_STEM = re.compile(
    "auth|bearer|c(?:ard|ode|ookie|red|srf|v[cv])|jwt|key|otp|p(?:ass|hrase|in|wd)|s(?:ecret|ession|sn|tring)|token|xsrf"
)


def is_secret_key(name: str, extra: tuple[str, ...] | None = None) -> bool:
    """Whether a name is that of a secret.

    Args:
        name: A key of a mapping, a field, a header. Case, separators and camel case make no difference.
        extra: Further names; left out, the settings say which (``REDACT_KEYS``). One with letters beyond ASCII is found
            wherever it stands within a name.

    Returns:
        True for ``x_api_key``, ``client-secret``, ``passwordHash``; False for ``author``, ``monkey``, ``max_tokens``.
    """
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST // 2]}_{name[-_LONGEST // 2 :]}"
    return _decide(name, extra_keys() if extra is None else extra)


@lru_cache(maxsize=8192)
def _decide(name: str, extra: tuple[str, ...]) -> bool:
    words = _split(name)
    if _holds_extra(name, words, extra):
        return True
    while words and words[-1].isdigit():
        words.pop()
    if not words:
        return False
    folded = "".join(words)
    if folded in _BENIGN:
        return False
    if folded in _SECRET or folded.endswith(("secretid", "sessionid")):
        return True
    if words[-1] in _ABOUT:
        return False
    return _names_secret(words, folded)


def _split(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _fold(name: str) -> str:
    return "".join(filter(str.isalnum, normalize("NFKC", name).casefold()))


def _names_secret(words: list[str], folded: str) -> bool:
    if "password" in folded or "passwd" in folded:
        return "passwordless" not in folded
    if not _WORDS.isdisjoint(words) or folded.endswith(_ENDINGS) or folded in _RUNS:
        return True
    return any(_names_pair(before, word) for before, word in zip(("", *words), words, strict=False))


def _names_pair(before: str, word: str) -> bool:
    """Whether a word names a secret after the word before it."""
    if word in ("key", "keys"):
        return before in _KEY_QUALIFIERS
    if word == "tokens":
        return before in _TOKEN_QUALIFIERS
    if word == "pass":
        return before in _PASS_QUALIFIERS
    if word == "token":
        return before not in _BENIGN_TOKEN_QUALIFIERS
    return word.endswith(("token", *_ENDINGS, *_RUN_ENDINGS))


def _holds_extra(name: str, words: list[str], extra: tuple[str, ...]) -> bool:
    folded = "".join(words)
    for key in extra:
        if not key.isascii():  # not every script has words with something between them
            if (part := _fold(key)) and part in _fold(name):
                return True
            continue
        wanted = _split(key)
        if wanted and folded == "".join(wanted):
            return True
        if wanted and any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1)):
            return True
    return False


def may_hold_secret_key(lowered: str, extra: tuple[str, ...] | None = None) -> bool:
    """Whether a text can hold the name of a secret at all; cheap, and never wrong in the direction of no.

    Args:
        lowered: The text in lower case.
        extra: As of :func:`is_secret_key`.
    """
    return _STEM.search(lowered) is not None or bool(extra_keys() if extra is None else extra)


class _Reading(threading.local):
    now = False


_reading = _Reading()


def extra_keys() -> tuple[str, ...]:
    """Return the key names that the settings add.

    The settings may be what is broken: their error message is redacted too, and must not ask for them again.
    """
    settings = sys.modules.get("automate_core.settings")
    if settings is None or _reading.now:
        return ()
    _reading.now = True
    try:
        keys: tuple[str, ...] = settings.current().redact_keys
    except Exception:  # noqa: BLE001 - redaction runs while errors are built; it must not fail with one of its own
        return ()
    finally:
        _reading.now = False
    return keys
