"""The searcher finds what it should: a hunt that finds nothing proves something only then."""

from __future__ import annotations

import gzip
import quopri

import pytest

from leaks.forms import forms
from leaks.kinds import BENIGN, make_secrets, needles
from leaks.searcher import search

SECRETS = make_secrets()
NEEDLES = needles(SECRETS)
PLANTS = [(name, form) for name in SECRETS for form in forms("") if form not in ("cut", "ellipsis")]


@pytest.mark.parametrize(("name", "form"), PLANTS, ids=lambda value: value.replace(" ", "-"))
def test_a_planted_secret_is_found_in_every_form(name: str, form: str) -> None:
    text = f'{{"note": "before", "it": {forms(SECRETS[name])[form]}, "after": 1}}'
    assert name in {leak.secret for leak in search({"place": text.encode()}, NEEDLES)}


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_left_of_a_secret_beside_an_ellipsis_is_found(name: str) -> None:
    part = NEEDLES[name][0][:13]
    assert [leak.secret for leak in search({"place": f"it begins with {part}...".encode()}, NEEDLES)] == [name]


def test_a_planted_secret_is_found_in_a_compressed_file() -> None:
    content = gzip.compress(f'["{SECRETS["JWT"]}"]'.encode())
    assert [leak.secret for leak in search({"file": content}, NEEDLES)] == ["JWT"]


@pytest.mark.parametrize("name", SECRETS)
def test_a_planted_secret_is_found_in_a_mail(name: str) -> None:
    content = quopri.encodestring(f"{'a long line ' * 100}{SECRETS[name]}{'and so on ' * 50}".encode())
    assert name in {leak.secret for leak in search({"mail": content}, NEEDLES)}


def test_nothing_is_found_where_nothing_is() -> None:
    other = "\n".join(text for secret in make_secrets().values() for text in forms(secret).values())
    assert search({"place": f"{other} {BENIGN}".encode()}, NEEDLES) == []
