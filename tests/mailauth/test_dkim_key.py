"""Key records: which hold a key, and why the others do not."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.dkim_key import MAX_RECORD, KeyRecordError, parse_key_record
from tests.mailauth import signing

RSA = signing.key("rsa").public_value()
ED25519 = signing.key("ed25519").public_value()


def p(key: ec.EllipticCurvePublicKey | rsa.RSAPublicKey, form: PublicFormat) -> str:
    return base64.b64encode(key.public_bytes(Encoding.DER, form)).decode()


def test_the_least_record() -> None:
    key = parse_key_record(f"p={RSA}".encode())
    assert (key.type, key.bits, key.hashes, key.services) == ("rsa", 2048, None, ("*",))
    assert not key.testing
    assert not key.strict


def test_everything_in_it() -> None:
    record = (
        f"v=DKIM1; k=ed25519; h=sha1 : sha256; s=email:other; t=y : s; n=x=20y; g=*; p={ED25519[:20]} {ED25519[20:]};"
    )
    key = parse_key_record(record.encode())
    assert (key.type, key.bits, key.hashes, key.services) == ("ed25519", 256, ("sha1", "sha256"), ("email", "other"))
    assert key.testing
    assert key.strict


def test_a_bare_rsa_public_key() -> None:
    # RFC 6376 §3.6.1 names RSAPublicKey, though all publish SubjectPublicKeyInfo
    bare = p(rsa.generate_private_key(65537, 1024).public_key(), PublicFormat.PKCS1)
    assert parse_key_record(f"p={bare}".encode()).bits == 1024


EC = p(ec.generate_private_key(ec.SECP256R1()).public_key(), PublicFormat.SubjectPublicKeyInfo)
BROKEN = {
    "": "mail-auth.parse-error",
    "v=spf1 -all": "dkim.unsupported-version",
    f"k=rsa; v=DKIM1; p={RSA}": "dkim.unsupported-version",  # v= must come first
    f"v=DKIM2; p={RSA}": "dkim.unsupported-version",
    f"v=DKIM1: k=rsa; p={RSA}": "dkim.unsupported-version",
    "v=DKIM1; k=rsa": "mail-auth.parse-error",
    "v=DKIM1; p=": "dkim.revoked-public-key",
    f"k=ed25519-sha256; p={RSA}": "dkim.unsupported-key-type",
    f"p={RSA}; p={RSA}": "mail-auth.parse-error",
    f"p={RSA[:-2]}": "mail-auth.parse-error",
    f"p={RSA[:40]}": "mail-auth.crypto",
    f"p={EC}": "mail-auth.crypto",
    f"p={ED25519}": "mail-auth.crypto",
    f"k=ed25519; p={RSA}": "mail-auth.crypto",
    f"p={RSA}; n={'x' * MAX_RECORD}": "mail-auth.parse-error",
}


@pytest.mark.parametrize("record", BROKEN, ids=range(len(BROKEN)))
def test_no_key(record: str) -> None:
    with pytest.raises(KeyRecordError) as raised:
        parse_key_record(record.encode())
    assert raised.value.cause == BROKEN[record]


def test_a_key_that_would_cost_too_much_is_refused() -> None:
    modulus = (1 << 2047) + 1
    for numbers in (rsa.RSAPublicNumbers((1 << 70) + 1, modulus), rsa.RSAPublicNumbers(3, (1 << 8200) + 1)):
        text = f"p={p(numbers.public_key(), PublicFormat.SubjectPublicKeyInfo)}"
        with pytest.raises(KeyRecordError):
            parse_key_record(text.encode())


@given(st.binary(max_size=80))
def test_any_octets_as_key_are_taken_or_refused(octets: bytes) -> None:
    for type in ("rsa", "ed25519"):
        try:
            key = parse_key_record(f"k={type}; p={base64.b64encode(octets).decode()}".encode())
        except KeyRecordError:
            continue
        assert not key.verifies(b"x" * 64, b"y" * 32)
