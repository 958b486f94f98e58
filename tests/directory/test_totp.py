"""One-time codes: RFC 6238's vectors, the window, and each code once."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.directory.totp import MAX_WRONG, BadTotp, UsedCodes, parse_totp, split_code

SHA1 = base64.b32encode(b"12345678901234567890").decode()
SHA256 = base64.b32encode(b"12345678901234567890123456789012").decode()
SHA512 = base64.b32encode((b"1234567890" * 7)[:64]).decode()
URL = f"otpauth://totp/Relay:ann?secret={SHA1}&issuer=Relay"


def url(secret: str, algorithm: str) -> str:
    return f"otpauth://totp/ann?secret={secret.rstrip('=')}&algorithm={algorithm}&digits=8"


@pytest.mark.parametrize(
    ("now", "algorithm", "code"),
    [
        # RFC 6238 appendix B
        (59, "SHA1", "94287082"),
        (59, "SHA256", "46119246"),
        (59, "SHA512", "90693936"),
        (1111111109, "SHA1", "07081804"),
        (1111111109, "SHA256", "68084774"),
        (20000000000, "SHA512", "47863826"),
    ],
)
def test_the_vectors_of_the_rfc(now: float, algorithm: str, code: str) -> None:
    secret = {"SHA1": SHA1, "SHA256": SHA256, "SHA512": SHA512}[algorithm]
    assert UsedCodes().take("ann", url(secret, algorithm), code, now)


def test_clocks_may_differ_by_one_step() -> None:
    code = parse_totp(URL).generate_otp(100)
    taken = [UsedCodes().take("ann", URL, code, step * 30.0) for step in (98, 99, 100, 101, 102)]
    assert taken == [False, True, True, True, False]
    assert UsedCodes().take("ann", URL, code, 101 * 30 + 29.9)


def test_a_code_is_good_once_and_none_before_it_after() -> None:
    codes, totp = UsedCodes(), parse_totp(URL)
    now = 3000.0
    assert codes.take("ann", URL, totp.generate_otp(100), now)
    assert not codes.take("ann", URL, totp.generate_otp(100), now)
    assert not codes.take("ann", URL, totp.generate_otp(99), now)
    assert codes.take("bob", URL, totp.generate_otp(100), now)
    assert codes.take("ann", URL, totp.generate_otp(101), now)
    assert not codes.take("ann", URL, "000000", now + 30)
    assert not codes.take("ann", URL, "", now + 30)


def test_codes_cannot_be_guessed_by_trying() -> None:
    codes, totp = UsedCodes(), parse_totp(URL)
    right = [totp.generate_otp(step) for step in (100, 101)]
    for _ in range(MAX_WRONG):
        assert not codes.take("ann", URL, "000000", 3000.0)
    assert not codes.take("ann", URL, right[0], 3029.9)
    assert codes.take("bob", URL, right[0], 3029.9)
    assert codes.take("ann", URL, right[1], 3030.0)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relayd.directory.totp.MAX_REMEMBERED", 3)
    codes, code = UsedCodes(), parse_totp(URL).generate_otp(100)
    for number in range(5):
        assert codes.take(f"user{number}", URL, code, 3000.0)
    assert len(codes._memories) == 3
    assert not codes.take("user4", URL, code, 3000.0)


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ("pass$123456", ("pass", "123456")),
        ("pa$$12345678", ("pa$", "12345678")),
        ("a$123456$654321", ("a$123456", "654321")),
        ("pass$12345", ("pass$12345", "")),
        ("pass$123456789", ("pass$123456789", "")),
        ("pass$١٢٣٤٥٦", ("pass$١٢٣٤٥٦", "")),
        ("pass$123456 ", ("pass$123456 ", "")),
        ("$123456", ("", "123456")),
        ("pass", ("pass", "")),
    ],
)
def test_the_code_stands_behind_the_last_dollar(secret: str, expected: tuple[str, str]) -> None:
    assert split_code(secret) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "JBSWY3DPEHPK3PXP",
        f"otpauth://hotp/ann?secret={SHA1}&counter=1",
        f"otpauth://totp/ann?secret={SHA1}&period=0",
        f"otpauth://totp/ann?secret={SHA1}&period=86400",
        f"otpauth://totp/ann?secret={SHA1}&digits=4",
        f"otpauth://totp/ann?secret={SHA1}&digits=x",
        f"otpauth://totp/ann?secret={SHA1}&algorithm=MD5",
        f"otpauth://totp/ann?secret={SHA1}&encoder=steam",
        "otpauth://totp/ann?secret=MFRA",
        "otpauth://totp/ann?secret=not+base32+at+all+but+long",
        "otpauth://totp/ann",
        "otpauth://[totp/ann?secret=x",
    ],
)
def test_a_key_that_is_none_is_an_error_that_does_not_show_it(text: str) -> None:
    with pytest.raises(BadTotp) as error:
        parse_totp(text)
    assert SHA1 not in str(error.value)


@given(st.one_of(st.text(max_size=200), st.text(max_size=100).map(lambda text: "otpauth://totp/a?secret=" + text)))
def test_no_text_is_more_than_a_bad_key(text: str) -> None:
    try:
        totp = parse_totp(text)
    except BadTotp:
        return
    assert len(totp.generate_otp(1)) == totp.digits
