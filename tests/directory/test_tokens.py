"""Sealed tokens and the key they are sealed with."""

from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.directory.tokens import (
    Claims,
    Realm,
    TokenExpired,
    TokenForged,
    TokenKind,
    TokenRefused,
    Tokens,
    WrongKind,
    load_key,
)
from tests.directory.test_directory import Clock

KEY = bytes(range(32))


def issue(tokens: Tokens, kind: TokenKind = TokenKind.ACCESS, lifetime: float = 60) -> str:
    return tokens.issue(kind, Realm.DIRECTORY, "ann", b"v" * 16, lifetime, "webadmin")


def test_a_token_says_who_it_was_given_to() -> None:
    tokens = Tokens(KEY, Clock())
    text = issue(tokens)
    expected = Claims(TokenKind.ACCESS, Realm.DIRECTORY, "ann", b"v" * 16, "webadmin", 1000, 1060)
    assert tokens.open(text, (TokenKind.ACCESS, TokenKind.REFRESH)) == expected
    assert Tokens(KEY, Clock()).open(text, (TokenKind.ACCESS,)) == expected  # after a restart
    assert b"ann" not in base64.b64decode(text)
    assert issue(tokens) != text


def test_its_time_ends() -> None:
    clock = Clock()
    tokens = Tokens(KEY, clock)
    text = issue(tokens)
    clock.now += 59
    tokens.open(text, (TokenKind.ACCESS,))
    clock.now += 1
    with pytest.raises(TokenExpired):
        tokens.open(text, (TokenKind.ACCESS,))
    clock.now = 0  # a clock that was set far back
    with pytest.raises(TokenExpired):
        tokens.open(text, (TokenKind.ACCESS,))


@pytest.mark.parametrize("kind", list(TokenKind))
def test_it_is_good_for_its_kind_alone(kind: TokenKind) -> None:
    tokens = Tokens(KEY, Clock())
    text = issue(tokens, kind)
    assert tokens.open(text, (kind,)).kind is kind
    with pytest.raises(WrongKind):
        tokens.open(text, [each for each in TokenKind if each is not kind])


def test_every_changed_octet_is_seen() -> None:
    tokens = Tokens(KEY, Clock())
    octets = base64.b64decode(issue(tokens))
    for at in range(len(octets)):
        changed = octets[:at] + bytes([octets[at] ^ 1]) + octets[at + 1 :]
        with pytest.raises(TokenForged):
            tokens.open(base64.b64encode(changed).decode(), list(TokenKind))


def test_one_of_another_key_is_forged() -> None:
    with pytest.raises(TokenForged):
        Tokens(bytes(32), Clock()).open(issue(Tokens(KEY, Clock())), list(TokenKind))


@given(st.one_of(st.text(max_size=300), st.binary(max_size=200).map(lambda octets: base64.b64encode(octets).decode())))
def test_no_text_is_more_than_refused(text: str) -> None:
    with pytest.raises(TokenRefused):
        Tokens(KEY, Clock()).open(text, list(TokenKind))


@given(st.binary(max_size=120))
def test_no_claims_under_our_key_are_more_than_refused(octets: bytes) -> None:
    tokens = Tokens(KEY, Clock())
    nonce = os.urandom(12)
    sealed = nonce + tokens._box.encrypt(nonce, octets, b"relayd token 1")
    with pytest.raises(TokenRefused):
        tokens.open(base64.b64encode(sealed).decode(), list(TokenKind))


def test_the_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "token.key"
    key = load_key(path)
    assert len(key) == 32
    assert load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["token.key"]


@pytest.mark.parametrize("spoil", ["mode", "short", "long", "empty"])
def test_a_key_that_is_none_or_not_secret_is_replaced(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "token.key"
    key = load_key(path)
    if spoil == "mode":
        path.chmod(0o640)
    else:
        path.write_bytes({"short": key[:31], "long": key + b"x", "empty": b""}[spoil])
    fresh = load_key(path)
    assert fresh != key
    assert load_key(path) == fresh
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        load_key(tmp_path / "missing" / "token.key")
    (tmp_path / "elsewhere").write_bytes(KEY)
    (tmp_path / "token.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        load_key(tmp_path / "token.key")
