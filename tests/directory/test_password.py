"""Secrets as they are stored: every kind of hash that is taken, by vectors of others."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.directory import crypt3
from relayd.directory.password import MAX_SECRET, UnknownHash, hash_secret, is_hash, is_slow, matches, problem_of
from tests.rig.peers import absent

DIGESTS = [
    # of `openssl dgst`
    ("password", "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g="),
    ("password", "{SSHA}QCdIktL+AaarHg+95cIrgxLRB4BOYUNs"),
    ("password", "{MD5}X03MO1qnZdYdgyfeuILPmQ=="),
    ("password", "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="),
    ("password", "{SSHA256}AoSAlxEEs3aR9BxDDlngf9TFrg9TMXsqouBs+N27/hBOYUNs"),
    ("password", "{SHA512}sQnzu7wkTrgkQZF+0G1hi5AI3Qmzvv0bXgc5THBqi7mAsdd4Xll27ASbRt9fEyavWi6m0QP9B8lThf+rDKy8hg=="),
    (
        "password",
        "{SSHA512}tYbIf/bI/HhZZ2dslhzEvDWQNDXWPZk57IcB8/xZ698Upu3uBGo3dQ5GOJEj+qQsLM75NndOI8FhWhOszXhbCU5hQ2w=",
    ),
    ("password", "{ssha}QCdIktL+AaarHg+95cIrgxLRB4BOYUNs"),
]
DERIVED = [
    # README of the Argon2 reference
    ("password", "$argon2i$v=19$m=65536,t=2,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b+dWRWJTmaaJObG"),
    # RFC 6070 (4096 iterations), and the manual of passlib
    ("password", "$pbkdf2$4096$c2FsdA$SwB5AbdlSJq.rUnZJvch0GWkKcE"),
    ("password", "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44"),
    # the same in the PHC form
    ("password", "$pbkdf2-sha256$i=6400,l=32$+6UI/S+nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44"),
    # RFC 7914 section 12
    (
        "password",
        "$scrypt$ln=10,r=8,p=16$TmFDbA"
        "$/bq+HJ00cgB4VucZDQHp/nxq18vII3gw53N2Y0s3MWIurzDZLiKjiG/xCSedmDDaxyevuUqD7m2DYMvfoswGQA",
    ),
]
CRYPTS = [
    # of the SHA-crypt specification, `openssl passwd`, crypt_blowfish's test, and the manuals of passlib and PHP
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    ("password", "$1$ab$oKsM6dtDD2L1bKowOBX.7."),
    ("password", "$sha1$40000$jtNX3nZ2$hBNaIXkt4wBI2o5rsi8KejSjNqIq"),
    ("U*U*U*U*", "_J9..CCCCXBrJUJV154M"),
    ("rasmuslerdorf", "{CRYPT}rl.3StKT.4T8M"),
    ("password", "{CRYPT}$1$ab$oKsM6dtDD2L1bKowOBX.7."),
]
BCRYPTS = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
]
NATIVE = [*CRYPTS, *BCRYPTS]


def ids(vectors: list[tuple[str, str]]) -> list[str]:
    return [re.split(r"(?<=[^{])[$}]", stored)[0][:20] for _, stored in vectors]


@pytest.mark.parametrize(("secret", "stored"), [*DIGESTS, *DERIVED], ids=ids([*DIGESTS, *DERIVED]))
def test_hashes_that_need_nothing_of_the_machine(secret: str, stored: str) -> None:
    assert is_hash(stored)
    assert is_slow(stored) is not stored.startswith("{")
    assert problem_of(stored) is None
    assert matches(secret, stored)
    assert not matches("x" + secret, stored)


@pytest.mark.parametrize(("secret", "stored"), NATIVE, ids=ids(NATIVE))
def test_hashes_of_crypt(secret: str, stored: str) -> None:
    if crypt3._libcrypt is None:
        absent("no libcrypt on this machine")
    assert is_hash(stored)
    assert is_slow(stored)
    assert matches(secret, stored)
    assert not matches("x" + secret, stored)
    assert not matches("x" * 600, stored)


@pytest.fixture
def no_libcrypt(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(crypt3, "_libcrypt", None)
    caches = (crypt3._is_native, crypt3._libpass)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.mark.usefixtures("no_libcrypt")
@pytest.mark.parametrize(("secret", "stored"), NATIVE, ids=ids(NATIVE))
def test_without_libcrypt_libpass_checks(secret: str, stored: str) -> None:
    assert problem_of(stored) is None
    assert matches(secret, stored)
    assert not matches("x" + secret, stored)


@pytest.mark.usefixtures("no_libcrypt")
def test_without_either_the_hash_cannot_be_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "passlib.context", None)
    stored = CRYPTS[0][1]
    assert "libcrypt does not know" in str(problem_of(stored))
    assert (is_hash(stored), is_slow(stored)) == (True, False)
    with pytest.raises(UnknownHash):
        matches("Hello world!", stored)


def test_argon2id_hashes_are_made_and_checked() -> None:
    stored = hash_secret("pä ss")
    assert stored.startswith("$argon2id$")
    assert problem_of(stored) is None
    assert matches("pä ss", stored)
    assert not matches("pass", stored)


@pytest.mark.parametrize(
    ("secret", "stored"),
    [
        ("pa$6$ss", "pa$6$ss"),
        ("$", "$"),
        ("$50", "$50"),
        ("_short", "_short"),
        ("{}", "{}"),
        ("{a b}c", "{a b}c"),
        ("clear", "{PLAIN}clear"),
        ("clear", "{CLEAR}clear"),
        ("{SHA}x", "{plain}{SHA}x"),
    ],
)
def test_plain_text_is_compared(secret: str, stored: str) -> None:
    assert (is_hash(stored), is_slow(stored), problem_of(stored)) == (False, False, None)
    assert matches(secret, stored)
    assert not matches(secret[:-1], stored)
    assert not matches(secret + " ", stored)


@pytest.mark.parametrize("stored", ["", "{PLAIN}"])
def test_nothing_is_the_secret_of_an_empty_one(stored: str) -> None:
    assert not matches("", stored)


@pytest.mark.parametrize(
    "stored",
    [
        "$6$rounds=x$",
        "$6$salt$short",
        "$6$sält$" + "a" * 86,
        "$1$a b$" + "a" * 22,
        "$argon2id$broken",
        "$argon2id$v=19$m=8,t=1,p=1$!$!",
        "$2b$99$x",
        "$2$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$pbkdf2-sha3$1$c2FsdA$SwB5AbdlSJ.rUnZJvch0GWkKcE",
        "$pbkdf2$4096$c2FsdA$S",
        "$pbkdf2$0$c2FsdA$SwB5AbdlSJ.rUnZJvch0GWkKcE",
        "$scrypt$ln=10,r=0,p=16$TmFDbA$/bq+HJ00cgB4VucZDQHp",
        "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0",
        "$apr1$ab$x",
        "$md5,rounds=5000$x",
        "{SMD5}QCdIktL+AaarHg+95cIrgxLRB4BOYUNs",
        "{BLF-CRYPT}$2a$05$x",
        "{SHA}QCdIktL+AaarHg+95cIrgxLRB4BOYUNs",
        "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "{SHA}!",
        "{SHA}AAAA",
        "{CRYPT}not a hash",
        "{CRYPT}",
        "x" * 5000,
    ],
)
def test_a_hash_that_cannot_be_checked_is_an_error_never_plain_text(stored: str) -> None:
    assert is_hash(stored)
    assert not is_slow(stored)
    problem = problem_of(stored)
    assert problem is not None
    assert stored not in problem
    with pytest.raises(UnknownHash):
        matches(stored[:MAX_SECRET], stored)


@pytest.mark.parametrize(
    "stored",
    [
        "$6$rounds=999999999$salt$" + "a" * 86,
        "$2b$31$" + "C" * 53,
        "$sha1$900000000$jtNX3nZ2$hBNaIXkt4wBI2o5rsi8KejSjNqIq",
        "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub",
        "$argon2id$v=19$m=64,t=999999,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub",
        "$pbkdf2-sha512$999999999$c2FsdA$SwB5AbdlSJ.rUnZJvch0GWkKcE",
        "$scrypt$ln=30,r=8,p=1$TmFDbA$/bq+HJ00cgB4VucZDQHp",
        "$scrypt$ln=14,r=8,p=9999$TmFDbA$/bq+HJ00cgB4VucZDQHp",
        "$y$jzT$abcdefgh$" + "a" * 43,
        "$7$zU..../....abcdefgh$" + "a" * 43,
        "_zzzzCCCCXBrJUJV154M",
    ],
)
def test_a_hash_that_would_take_all_the_machine_is_refused_unchecked(stored: str) -> None:
    started = time.perf_counter()
    with pytest.raises(UnknownHash):
        matches("x", stored)
    assert time.perf_counter() - started < 1


def test_secrets_that_no_library_should_see_are_wrong() -> None:
    assert not matches("x" * (MAX_SECRET + 1), "x" * (MAX_SECRET + 1))
    assert not matches("Hello world!\0", CRYPTS[0][1])


@given(
    st.one_of(
        st.text(max_size=80),
        st.builds(
            "".join,
            st.tuples(
                st.sampled_from(
                    ["$6$", "$5$", "$1$", "$2b$", "$sha1$", "_", "{SSHA}", "{CRYPT}", "{PLAIN}", "$scrypt$", "$pbkdf2$"]
                ),
                st.text(alphabet="abcABC019./$=,+{}\n\0é", max_size=60),
            ),
        ),
    ),
    st.text(max_size=40),
)
def test_no_stored_text_is_more_than_an_error(stored: str, secret: str) -> None:
    if problem_of(stored) is not None:
        assert is_hash(stored)
        return
    if not is_hash(stored):
        assert (
            matches(secret, stored) == (secret == re.sub(r"(?is)\A\{(plain|clear)\}", "", stored) != "")
            or "\0" in secret
        )
