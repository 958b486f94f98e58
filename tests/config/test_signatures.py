"""Signatures in a configuration: keys in files, what is wrong at once, and what is only a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from relayd.config.load import load
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from tests.config.test_checks import found
from tests.mailauth.signing import pem

RECORD = '[signature.a]\ndomain = "example.org"\nselector = "s"\nprivate-key = '


def test_a_pointer_to_a_file_stays_one_and_starts_at_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text(pem("rsa"))
    path = tmp_path / "relayd.toml"
    path.write_text(RECORD + '"%{file:key.pem}%"\n')
    for environ, wanted in (({}, f"{tmp_path}/key.pem"), (None, "key.pem")):
        config = load(path, environ=environ, for_client=environ is None)
        assert config.records(SignatureOptions)["a"].private_key == PrivateKey(path=wanted)


def test_the_key_may_stand_in_the_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "relayd.toml"
    for value, environ in ((f"'''{pem('rsa')}'''", {}), ('"%{env:KEY}%"', {"KEY": pem("rsa")})):
        path.write_text(RECORD + value + "\n")
        key = load(path, environ=environ).records(SignatureOptions)["a"].private_key
        assert key == PrivateKey(pem=pem("rsa").strip())


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('"secret"', "expected a private key in PEM"),
        ("'''-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----'''", "the private key is no PEM"),
        ('"%{file:broken.pem}%"', "the private key is no PEM"),
        ('"%{file:ed.pem}%"\nalgorithm = "rsa-sha256"', "the key is for ed25519-sha256"),
    ],
)
def test_a_key_that_is_wrong_is_an_error_that_does_not_show_it(tmp_path: Path, value: str, text: str) -> None:
    (tmp_path / "broken.pem").write_text("secret")
    (tmp_path / "ed.pem").write_text(pem("ed25519"))
    errors, _ = found(RECORD + value, tmp_path / "relayd.toml")
    assert [each for each in errors if each.startswith(f"signature.a.private-key: {text}")] == errors
    assert len(errors) == 1
    assert "secret" not in errors[0]


def test_a_file_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    text = RECORD + '"%{file:gone.pem}%"\nreplaces = "b"'
    errors, warnings = found(text, tmp_path / "relayd.toml")
    assert errors == []
    assert any("mail that it should sign is deferred" in each and "No such file" in each for each in warnings)
    assert any('there is no signature "b": this one signs at once' in each for each in warnings)
    _, warnings = found(text + '\npublished = "2026-11-21T09:00:00Z"', tmp_path / "relayd.toml")
    assert not any("at once" in each for each in warnings)
