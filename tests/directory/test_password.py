"""Secrets as the configuration holds them."""

from __future__ import annotations

import pytest

from relayd.directory.password import MAX_SECRET, UnknownHash, _libcrypt, hash_secret, is_hash, matches
from tests.rig.peers import absent

VECTORS = [
    # of `openssl passwd`, and of crypt_blowfish's own test
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
]


@pytest.mark.parametrize(("secret", "stored"), VECTORS)
def test_hashes_of_other_systems_are_checked(secret: str, stored: str) -> None:
    if _libcrypt is None:
        absent("no libcrypt on this machine")
    assert is_hash(stored)
    assert matches(secret, stored)
    assert not matches(secret + "x", stored)


def test_argon2_hashes_are_made_and_checked() -> None:
    stored = hash_secret("pä ss")
    assert stored.startswith("$argon2id$")
    assert is_hash(stored)
    assert matches("pä ss", stored)
    assert not matches("pass", stored)


def test_plain_text_is_compared() -> None:
    assert not is_hash("pa$6$ss")
    assert matches("pa$6$ss", "pa$6$ss")
    assert not matches("pa$6$s", "pa$6$ss")


@pytest.mark.parametrize("stored", ["$6$rounds=x$", "$argon2id$broken", "$argon2id$v=19$m=8,t=1,p=1$!$!", "$2b$99$x"])
def test_a_hash_that_cannot_be_checked_is_an_error_not_a_wrong_secret(stored: str) -> None:
    with pytest.raises(UnknownHash):
        matches("x", stored)


def test_secrets_that_no_library_should_see_are_wrong() -> None:
    stored = VECTORS[0][1]
    assert not matches("x" * (MAX_SECRET + 1), "x" * (MAX_SECRET + 1))
    assert not matches("Hello world!\0", stored)
