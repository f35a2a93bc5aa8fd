"""Secrets that show by their shape: tokens of known services, credentials in headers and URLs, card numbers."""

from __future__ import annotations

import base64
import binascii
import re

from automate_core._redaction.keys import is_secret_key, may_hold_secret_key
from automate_core._references import REFERENCE

__all__ = ["REDACTED", "is_card_number", "redact_shapes"]

REDACTED = "[REDACTED]"
"""What stands in the place of a secret."""

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

_SHORTEST_WORD = 14
"""A shorter text of letters and digits alone has no shape."""

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
_ISSUERS = (
    (2221, 2720, (16,)), (3000, 3059, (14,)), (3400, 3499, (15,)), (3528, 3589, (16, 17, 18, 19)), (3600, 3699, (14,)),
    (3700, 3799, (15,)), (3800, 3999, (14,)), (4000, 4999, (16, 19)), (5000, 5099, (16, 17, 18, 19)),
    (5100, 5599, (16,)), (5600, 5899, (16, 17, 18, 19)), (6011, 6011, (16, 17, 18, 19)),
    (6200, 6399, (16, 17, 18, 19)), (6440, 6599, (16, 17, 18, 19)), (6700, 6799, (16, 17, 18, 19)),
)  # fmt: skip
"""The first four digits of the issuers of cards, from and to, and the lengths of their numbers."""

_NAME = re.compile(
    r"(?<![A-Za-z0-9_$])([A-Za-z_][A-Za-z0-9_.\-]{0,79}+)(?:\\{0,7}[\"'])?\s{0,8}(=>|==?|:)\s{0,8}(?=[^\s=])"
)
_ELEMENT = re.compile(r"<([A-Za-z_][A-Za-z0-9_.:\-]{0,79})(?:\s[^<>]{0,500})?>([^<>]+)")
_QUOTE = re.compile(r"[bBrRuUfF]{0,2}(\\{0,7}[\"'])")
_BARE = re.compile(r"[^\s&;,\"'<>(){}\[\]\\]+")
_LINE = re.compile(r"(?:[^\r\n\"'\\=]|=(?:[\"'][^\"'\r\n]*[\"'])?|\\(?![rn\"']))*")
_BRACKET = re.compile(r"[\[\](){}]")
_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_SHOWN = frozenset({"none", "null", "true", "false"})


def redact_shapes(text: str) -> str:
    """Replace what looks like a secret.

    Args:
        text: Any text.

    Returns:
        The text with :data:`REDACTED` in the places of secrets.
    """
    if len(text) < _SHORTEST_WORD and text.isalnum():
        return text
    for mark, pattern in _TOKEN_PATTERNS:
        if mark in text:
            text = pattern.sub(_token, text)
    if "-----BEGIN" in text:
        text = _PRIVATE_KEY.sub(REDACTED, text)
    if "@" in text and "//" in text.replace("\\", ""):
        text = _USER_INFO.sub(_user_info, text)
    lowered = text.lower()
    if "bearer" in lowered or "basic" in lowered:
        text = _SCHEMED.sub(_schemed, text)
    if (":" in text or "=" in text) and may_hold_secret_key(lowered):
        text = _redact_named(text)
    if "</" in text and may_hold_secret_key(lowered):
        text = _ELEMENT.sub(_element, text)
    return _CARD.sub(_card, text)


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


def _element(match: re.Match[str]) -> str:
    name, value = match.groups()
    if not is_secret_key(name) or not value.strip() or _is_shown(value.strip()):
        return match.group()
    return match.group().removesuffix(value) + REDACTED


def _card(match: re.Match[str]) -> str:
    return REDACTED if is_card_number(re.sub(r"[ \-]", "", match.group())) else match.group()


def is_card_number(digits: str) -> bool:
    """Whether digits are the number of a payment card: a known issuer's prefix and length, and the check digit.

    Args:
        digits: Decimal digits alone.
    """
    start = int(digits[:4])
    if not any(low <= start <= high and len(digits) in lengths for low, high, lengths in _ISSUERS):
        return False
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + place % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


def _redact_named(text: str) -> str:
    """Replace the values of ``password=…``, ``"api_key": "…"``, ``Authorization: …`` and their like."""
    parts: list[str] = []
    done = 0
    match = _NAME.search(text)
    while match:
        end = match.end()
        if is_secret_key(match.group(1)) and not _is_part_of_path(text, match):
            start, end = _value(text, match)
            if start < end and not _is_shown(text[start:end]):
                parts += [text[done:start], REDACTED]
                done = end
        match = _NAME.search(text, end)
    return "".join([*parts, text[done:]]) if parts else text


def _is_part_of_path(text: str, name: re.Match[str]) -> bool:
    """Whether a name stands between colons, as in ``arn:aws:secretsmanager:eu-west-1:1:secret:shop``."""
    return name.group(2) == ":" and name.start() > 0 and text[name.start() - 1] == ":"


def _value(text: str, name: re.Match[str]) -> tuple[int, int]:
    """Find where the value of a name starts and ends; equal where it has none that must be hidden."""
    start = name.end()
    quote = _QUOTE.match(text, start)
    if quote:
        return quote.end(), _closing_quote(text, quote.end(), quote.group(1))
    if text[start] in "[({":
        return start, _closing_bracket(text, start)
    if name.group(1).lower() in _HEADERS and name.group(2) == ":":
        line = _LINE.match(text, start)
        return start, line.end() if line else start
    bare = _BARE.match(text, start)
    if bare is None or (name.group(2) == ":" and not _is_telling(bare.group())):
        return start, start
    return start, bare.end()


def _is_telling(word: str) -> bool:
    """Whether what follows a colon is a value rather than prose."""
    return len(word) >= 20 or any(character.isdigit() for character in word)


def _closing_quote(text: str, start: int, quote: str) -> int:
    """Find the quote that closes, at any level of escaping; without one, everything to the end is the value."""
    escapes = len(quote) - 1
    position = text.find(quote[-1], start)
    while position >= 0:
        before = position
        while before > start and text[before - 1] == "\\":
            before -= 1
        count = position - before
        if count == escapes or (count > escapes and (count - escapes) % (2 * (escapes + 1)) == 0):
            return position - escapes
        position = text.find(quote[-1], position + 1)
    return len(text)


def _closing_bracket(text: str, start: int) -> int:
    depth = 0
    for bracket in _BRACKET.finditer(text, start):
        depth += 1 if bracket.group() in "[({" else -1
        if depth == 0:
            return bracket.end()
    return len(text)


def _is_shown(value: str) -> bool:
    return value == REDACTED or value.lower() in _SHOWN or REFERENCE.fullmatch(value) is not None
