"""The forms in which code hands a secret on, made with what anybody would use to make them."""

from __future__ import annotations

import base64
import html
import json
import shlex
from urllib.parse import quote, quote_plus, urlencode

__all__ = ["forms"]


def forms(secret: str) -> dict[str, str]:
    """Return a secret in many encodings.

    Args:
        secret: The secret.
    """
    raw = secret.encode()
    cut = f"{secret!r}"
    return {
        "raw": f"it is {secret}.",
        "indented": "\n".join(f"    {line}" for line in secret.splitlines()),
        "json": json.dumps({"it": secret}),
        "json, not ascii": json.dumps([secret], ensure_ascii=False),
        "json in json": json.dumps({"body": json.dumps({"it": secret})}),
        "json of php": json.dumps(secret).replace("/", "\\/"),
        "json of django": _json(secret, {character: f"\\u{ord(character):04X}" for character in "&<>"}),
        "json of go": _json(secret, {character: f"\\u{ord(character):04x}" for character in "&<>"}),
        "json of jinja": _json(secret, {character: f"\\u{ord(character):04x}" for character in "&<>'"}),
        "json of .net": _json(secret, {character: f"\\u{ord(character):04X}" for character in "&<>'\"+"}),
        "url": f"https://example.com/{quote(secret, safe='')}?q={quote(secret)}",
        "form": urlencode({"it": secret, "other": "1"}),
        "plus": quote_plus(secret),
        "percent": "".join(f"%{byte:02x}" for byte in raw),
        "html": f"<p title='{html.escape(secret)}'>{html.escape(secret, quote=False)}</p>",
        "xml": html.escape(secret).replace("&#x27;", "&apos;"),
        "base64, 0": base64.b64encode(raw).decode(),
        "base64, 1": base64.b64encode(b"u" + raw + b":x").decode(),
        "base64, 2": base64.b64encode(b"u:" + raw + b"!").decode(),
        "base64, url-safe": base64.urlsafe_b64encode(raw).decode(),
        "base64, unpadded": base64.urlsafe_b64encode(b"?" + raw).decode().rstrip("="),
        "base64, quoted": quote(base64.b64encode(raw).decode(), safe=""),
        "base64, of json": base64.b64encode(json.dumps({"it": secret}).encode()).decode(),
        "base64, in lines": base64.encodebytes(b"From: somebody, " * 5 + raw + b" and so on" * 9).decode(),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
        "repr": repr({"it": secret, "other": "it's"}),
        "repr of bytes": repr(raw),
        "repr of a bytearray": repr(bytearray(raw)),
        "latin-1": repr(secret.encode("latin-1", "replace")) if "✓" not in secret else repr(raw),
        "shell": f"curl -u {shlex.quote('shop:' + secret)}",
        "cut": f"{cut[:25]}...{cut[-24:]}",
        "ellipsis": f"{secret[:20]}…",
    }


def _json(text: str, codes: dict[str, str]) -> str:
    """Write a text as JSON, as encoders do that write more by number than they must."""
    return f'"{"".join(codes.get(character) or json.dumps(character)[1:-1] for character in text)}"'
