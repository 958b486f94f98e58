"""Private keys: read, made, published, and never shown."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from relayd.mailauth.dkim_key import parse_key_record
from relayd.mailauth.signing_key import (
    KeyType,
    KeyUnreadable,
    default_id,
    default_selector,
    read_signing_key,
    record_name,
)
from tests.mailauth import signing

DIGEST = b"d" * 32


def again(form: PrivateFormat) -> str:
    key = load_pem_private_key(signing.pem("rsa").encode(), None)
    assert isinstance(key, RSAPrivateKey)
    return key.private_bytes(Encoding.PEM, form, NoEncryption()).decode()


@pytest.mark.parametrize("type", ["rsa", "ed25519"])
def test_what_is_published_verifies_what_is_signed(type: KeyType) -> None:
    key = signing.key(type)
    assert key.record().startswith(f"v=DKIM1; k={type}; h=sha256; p=")
    record = parse_key_record(key.record().encode())
    assert record.verifies(key.sign(DIGEST), DIGEST)
    assert not record.verifies(key.sign(DIGEST), b"e" * 32)
    assert key.algorithm == f"{type}-sha256"


def test_forms_of_the_files() -> None:
    assert signing.pem("rsa").startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert signing.pem("ed25519").startswith("-----BEGIN PRIVATE KEY-----\n")
    assert len(base64.b64decode(signing.key("ed25519").public_value())) == 32
    assert signing.key("rsa").bits == 2048


def test_what_others_write_is_read() -> None:
    for text in (
        again(PrivateFormat.PKCS8),
        "\n\n" + signing.pem("rsa").replace("\n", "\r\n") + "\n",
    ):
        assert read_signing_key(text).public_value() == signing.key("rsa").public_value()


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> str:
    lock = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "é",
        "secret",
        signing.pem("rsa")[:400],
        signing.pem("rsa").replace("RSA PRIVATE", "PRIVATE"),
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(ec.generate_private_key(ec.SECP256R1()), b"password"),
        "-----BEGIN PUBLIC KEY-----\nsecret\n-----END PUBLIC KEY-----\n",
    ],
)
def test_what_cannot_be_used_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(KeyUnreadable) as raised:
        read_signing_key(text)
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_key_does_not_show_itself() -> None:
    assert repr(signing.key("rsa")) == "<SigningKey rsa 2048>"


def test_names() -> None:
    assert default_id("rsa", "Example.ORG") == "rsa-example.org"
    assert default_selector("ed25519", 1735689600.0) == "202501e"
    assert default_selector("rsa", 1735689599.0) == "202412r"
    assert record_name("202501e", "example.org") == "202501e._domainkey.example.org"
