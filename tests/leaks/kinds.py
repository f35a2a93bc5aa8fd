"""Eight kinds of secrets, new ones each time, and fifteen keys that only look as if they held one."""

from __future__ import annotations

import base64
import json
import secrets
import string
from urllib.parse import quote

__all__ = ["BENIGN", "make_secrets", "needles"]

BENIGN = {
    name: f"a {name} that everybody may read"
    for name in (
        "author", "monkey", "keyboard", "tokenizer", "passenger", "compass", "secretary", "keynote", "authority",
        "passive", "max_tokens", "turkey", "key_figures", "bypass_lane", "cookbook",
    )
}  # fmt: skip
"""Keys near the names of secrets, with the values that must stay readable."""

_LETTERS = string.ascii_letters + string.digits


def make_secrets() -> dict[str, str]:
    """Return new secrets by name."""
    pem = _pem()
    account = {"type": "service_account", "project": "shop", "private_key": _pem(), "client_secret": _text(32)}
    return {
        "PASSWORD": f"Grüße'{_text(18)}\"\\ <&>100%\nund ✓ {_text(20)}",
        "DATABASE_URL": f"postgresql://shop:{quote(_text(16) + '/+@ é', safe='')}@db.internal:5432/orders",
        "PRIVATE_KEY": pem,
        "JWT": ".".join(
            base64.urlsafe_b64encode(part).decode().rstrip("=")
            for part in (b'{"alg":"HS256","typ":"JWT"}', f'{{"sub":"{_text(24)}"}}'.encode(), secrets.token_bytes(32))
        ),
        "AWS_KEY": base64.b64encode(secrets.token_bytes(30)).decode(),
        "HEX_TOKEN": secrets.token_hex(32),
        "RANDOM_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "SERVICE_ACCOUNT": json.dumps(account, indent=2),
    }


def needles(found: dict[str, str]) -> dict[str, list[str]]:
    """Return what must be seen nowhere: of each secret those parts that are random, without what all of them share.

    Args:
        found: The secrets, by name.
    """
    account = json.loads(found["SERVICE_ACCOUNT"])
    return {
        "PASSWORD": found["PASSWORD"].split("\n"),
        "DATABASE_URL": [found["DATABASE_URL"].split(":")[2].split("%")[0]],
        "PRIVATE_KEY": _body(found["PRIVATE_KEY"]),
        "JWT": found["JWT"].split(".")[1:],
        "AWS_KEY": [found["AWS_KEY"]],
        "HEX_TOKEN": [found["HEX_TOKEN"]],
        "RANDOM_KEY": [found["RANDOM_KEY"]],
        "SERVICE_ACCOUNT": [account["client_secret"], *_body(account["private_key"])],
    }


def _text(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _pem() -> str:
    body = base64.encodebytes(secrets.token_bytes(300)).decode()
    return f"-----BEGIN PRIVATE KEY-----\n{body}-----END PRIVATE KEY-----\n"


def _body(pem: str) -> list[str]:
    return pem.strip().split("\n")[1:-1]
