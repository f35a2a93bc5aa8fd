"""Secrets that show by their shape: tokens of known services, credentials in headers and URLs, card numbers."""

from __future__ import annotations

import base64
import binascii
import re

from automate_core._redaction.keys import may_hold_secret_key
from automate_core._redaction.named import redact_elements, redact_named
from automate_core._redaction.shown import REDACTED

__all__ = ["FIRST_CARD", "SHORTEST_WORD", "is_card", "redact_shapes"]

# Every pattern is safe against hostile text: what may repeat is bounded, or excludes what must follow it.

_TOKENS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("sk-",), r"sk-[A-Za-z0-9_\-]{16,}"),  # OpenAI, Anthropic
    (("sk_", "rk_"), r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}"),  # Stripe
    (("gh", "github_pat_"), r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"),
    (("glpat-",), r"glpat-[A-Za-z0-9_\-]{16,}"),
    (("xox", "xapp-"), r"(?:xox[a-z]|xapp)-[A-Za-z0-9\-]{8,}"),  # Slack
    (("hooks.slack.com/",), r"(?<=hooks\.slack\.com/)(?:services|workflows|triggers)/[A-Za-z0-9/_\-]{8,}"),
    (("AKIA", "ASIA"), r"A(?:KIA|SIA)[A-Z0-9]{16}(?![A-Za-z0-9])"),  # AWS
    (("AIza", "ya29."), r"AIza[A-Za-z0-9_\-]{35}|ya29\.[A-Za-z0-9_\-]{20,}"),  # Google
    (("npm_", "pypi-", "hf_"), r"npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_\-]{30,}|hf_[A-Za-z0-9]{30,}"),
    (("whsec_",), r"whsec_[A-Za-z0-9+/=]{16,}"),  # Standard Webhooks
    (("hvs.",), r"hvs\.[A-Za-z0-9_\-]{20,}"),  # Vault
    (("SG.",), r"SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16,}"),  # SendGrid
    (("eyJ",), r"eyJ[A-Za-z0-9_\-]{5,}+(\.[A-Za-z0-9_\-]{5,}+\.[A-Za-z0-9_\-]*)?"),  # JWT; see _token
)
"""What a text must hold, and the pattern that is tried then."""

_TOKEN_PATTERNS = [
    (mark, re.compile(rf"(?<![A-Za-z0-9])(?:{pattern})")) for marks, pattern in _TOKENS for mark in marks
]

SHORTEST_WORD = 14
"""A shorter text of letters and digits alone has no shape."""

_SHORTEST_TOKEN = 13
"""No shorter text holds a token, a private key or the number of a card."""

_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----"
    r"[^-]*(?:-(?!----END)[^-]*)*(?:-----END[A-Z0-9 ]{0,60}-----)?"
)

_USER_INFO = re.compile(r"(:\\?/\\?/)([^\s/?#\\\"'<>]*)@")
_SCHEME = re.compile(r"(?i)https?$")

_SCHEMED = re.compile(r"(?i)(?<![A-Za-z0-9])(bearer|basic)(\s{1,4}|%20|\+)([A-Za-z0-9._~+/\-]{4,}={0,2})")
_PROSE = frozenset({
    "access", "auth", "authentication", "authorization", "credential", "credentials", "format", "from", "header",
    "headers", "http", "https", "method", "must", "needs", "required", "scheme", "schemes", "should", "string",
    "that", "token", "tokens", "type", "when", "with", "without",
})  # fmt: skip

_CARD = re.compile(
    r"[2-6](?<![A-Za-z0-9].)(?<![0-9]\..)"
    r"(?:\d{12,18}|\d{3}([ \-])\d{4}\1\d{4}\1\d{1,7}|\d{3}([ \-])\d{6}\2\d{4,5})(?![A-Za-z0-9])"
)
_FORM = bytes.maketrans(b"0123456789 -", b"0000000000--")
"""Makes every digit a 0 and every separator a hyphen: three forms are all that the numbers of cards have."""

FIRST_CARD = 10**13
"""No smaller number is that of a card."""

_ISSUERS = (
    (2221, 2720, (16,)), (3000, 3059, (14,)), (3400, 3499, (15,)), (3528, 3589, (16, 17, 18, 19)), (3600, 3699, (14,)),
    (3700, 3799, (15,)), (3800, 3999, (14,)), (4000, 4999, (16, 19)), (5000, 5099, (16, 17, 18, 19)),
    (5100, 5599, (16,)), (5600, 5899, (16, 17, 18, 19)), (6011, 6011, (16, 17, 18, 19)),
    (6200, 6399, (16, 17, 18, 19)), (6440, 6599, (16, 17, 18, 19)), (6700, 6799, (16, 17, 18, 19)),
)  # fmt: skip
"""The first four digits of the issuers of cards, from and to, and the lengths of their numbers."""


def redact_shapes(text: str, extra: tuple[str, ...] | None = None) -> str:
    """Replace what looks like a secret.

    Args:
        text: Any text.
        extra: Further names of secrets; left out, the settings say which (``REDACT_KEYS``).

    Returns:
        The text with :data:`REDACTED` in the places of secrets.
    """
    size = len(text)
    if size < SHORTEST_WORD and text.isalnum():
        return text
    if size >= _SHORTEST_TOKEN and may_hold_token(text):
        text = _redact_tokens(text)
    if "@" in text and "//" in text.replace("\\", ""):
        text = _USER_INFO.sub(_user_info, text)
    lowered = text.lower()
    if "b" in lowered and ("bearer" in lowered or "basic" in lowered):
        text = _SCHEMED.sub(_schemed, text)
    if (":" in text or "=" in text) and may_hold_secret_key(lowered, extra):
        text = redact_named(text, extra)
    if ("</" in text or "<![CDATA[" in text) and may_hold_secret_key(lowered, extra):
        text = redact_elements(text, extra)
    if size >= _SHORTEST_TOKEN and may_hold_card(text):
        text = _CARD.sub(_card, text)
    return text


def may_hold_token(text: str) -> bool:
    """Whether a text can hold a token or a private key at all; cheap, and never wrong in the direction of no.

    Args:
        text: Any text.
    """
    size = len(text)
    # A single character is sooner found, or not, than a mark. The numbers are the lengths of the shortest tokens.
    return (
        ("-" in text and ("sk-" in text or "glpat-" in text or "xox" in text or "xapp-" in text or "pypi-" in text
                          or "-----BEGIN" in text))
        or (size >= 18 and "_" in text and ("sk_" in text or "rk_" in text or "gh" in text or "github_pat_" in text
                                            or "npm_" in text or "hf_" in text or "whsec_" in text))
        or (size >= 15 and "." in text and ("eyJ" in text or "SG." in text or "hvs." in text or "ya29." in text
                                            or "hooks.slack.com/" in text))
        or (size >= 20 and "A" in text and ("AKIA" in text or "ASIA" in text or "AIza" in text))
    )  # fmt: skip


def may_hold_card(text: str) -> bool:
    """Whether a text can hold the number of a card at all; cheap, and never wrong in the direction of no.

    Args:
        text: Any text.
    """
    if not ("4" in text or "5" in text or "3" in text or "6" in text or "2" in text):
        return False
    if not text.isascii():
        return True  # there are more digits than those ten
    form = text.encode().translate(_FORM).decode()
    return "0000" in form and ("0000000000000" in form or "0000-0000-0000-0" in form or "0000-000000-0000" in form)


def _redact_tokens(text: str) -> str:
    for mark, pattern in _TOKEN_PATTERNS:
        if mark in text:
            text = pattern.sub(_token, text)
    return _PRIVATE_KEY.sub(REDACTED, text) if "-----BEGIN" in text else text


def _token(match: re.Match[str]) -> str:
    """Leave what begins like a JWT and is none: it was matched so that no part of it is examined again."""
    return match.group() if match.groups() == (None,) else REDACTED


def _user_info(match: re.Match[str]) -> str:
    user = match.group(2)
    web = _SCHEME.search(match.string, max(0, match.start() - 5), match.start())
    if not user or (":" not in user and not web):
        return match.group()
    return f"{match.group(1)}{REDACTED}@"


def _schemed(match: re.Match[str]) -> str:
    scheme, gap, credentials = match.groups()
    if credentials.rstrip(".").lower() in _PROSE:
        return match.group()
    if scheme.lower() == "basic" and not _is_basic(credentials):
        return match.group()
    return f"{scheme}{gap}{REDACTED}"


def _is_basic(credentials: str) -> bool:
    try:
        return b":" in base64.b64decode(credentials + "=" * (-len(credentials) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False


def _card(match: re.Match[str]) -> str:
    return REDACTED if _is_card_number(re.sub(r"[ \-]", "", match.group())) else match.group()


def is_card(number: int) -> bool:
    """Whether a number is that of a payment card.

    Args:
        number: The number.
    """
    return FIRST_CARD <= number < 10**19 and _is_card_number(str(number))


def _is_card_number(digits: str) -> bool:
    """Whether digits are the number of a payment card: a known issuer's prefix and length, and the check digit."""
    start = int(digits[:4])
    if not any(low <= start <= high and len(digits) in lengths for low, high, lengths in _ISSUERS):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0
