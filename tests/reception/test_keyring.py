"""Keys in the configuration and in files, and signatures that take each other's place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from relayd.mailauth.dkim_sign import GRACE
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import KeyUnreadable, generate_key
from relayd.options import OptionError
from relayd.reception.keyring import LOOK_AGAIN, MAX_FILE, Keyring
from tests.mailauth.signing import key, pem


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def record(**given: object) -> SignatureOptions:
    values = {"private_key": PrivateKey(pem=pem("rsa")), "domain": "example.org", "selector": "s", **given}
    return SignatureOptions(**values)  # type: ignore[arg-type]


def in_file(path: Path, **given: object) -> SignatureOptions:
    return record(private_key=PrivateKey(path=str(path)), **given)


def ring(**records: SignatureOptions) -> Keyring:
    return Keyring(records, 5 * 86400.0, Clock())


async def test_a_file_that_is_replaced_is_used_and_one_that_is_gone_is_an_error_until_it_is_back(
    tmp_path: Path,
) -> None:
    path, clock = tmp_path / "key.pem", Clock()
    path.write_text(pem("rsa"))
    keys = Keyring({"a": in_file(path)}, 0.0, clock)
    assert (await keys.key("a")).type == "rsa"
    path.write_text(pem("ed25519"))
    assert (await keys.key("a")).type == "rsa"  # not looked at again within a second
    clock.now += LOOK_AGAIN
    assert (await keys.key("a")).type == "ed25519"
    path.unlink()
    clock.now += LOOK_AGAIN
    with pytest.raises(KeyUnreadable, match=r"^a: .*key\.pem: No such file"):
        await keys.key("a")
    assert keys.problems["a"]
    assert keys.known("a") is not None
    path.write_text("no key")
    clock.now += LOOK_AGAIN
    with pytest.raises(KeyUnreadable, match="no PEM"):
        await keys.key("a")
    path.write_text(pem("ed25519"))
    clock.now += LOOK_AGAIN
    assert (await keys.key("a")).public_value() == key("ed25519").public_value()
    assert keys.problems == {}


async def test_a_file_that_is_not_there_at_first_is_no_error_of_the_configuration(tmp_path: Path) -> None:
    clock = Clock()
    keys = Keyring({"a": in_file(tmp_path / "key.pem")}, 0.0, clock)
    assert keys.known("a") is None
    with pytest.raises(KeyUnreadable):
        await keys.key("a")
    (tmp_path / "key.pem").write_text(pem("rsa"))
    clock.now += LOOK_AGAIN
    assert (await keys.key("a")).type == "rsa"


@pytest.mark.parametrize("text", ["no key", "\udcff", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "key.pem").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OptionError, match=r"^signature.a.private-key: (?!.*AAAA)"):
        ring(a=in_file(tmp_path / "key.pem"))
    with pytest.raises(OptionError, match=r"^signature.a.private-key: (?!.*AAAA)"):
        ring(a=record(private_key=PrivateKey(pem=text)))


def test_a_file_is_read_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_bytes(b"A" * (MAX_FILE + 1))
    with pytest.raises(OptionError, match="holds no private key"):
        ring(a=in_file(tmp_path / "key.pem"))


def test_the_algorithm_must_be_that_of_the_key() -> None:
    with pytest.raises(OptionError, match=r"signature\.a\.private-key: the key is for rsa-sha256"):
        ring(a=record(algorithm="ed25519-sha256"))


def test_a_signature_that_replaces_another_waits_until_it_is_published() -> None:
    keys = ring(old=record(), new=record(selector="t", replaces="old"), other=record(domain="b.example"))
    assert ([rule.id for rule in keys.rules], keys.waiting, keys.retired) == (["old", "other"], ("new",), ())
    assert keys.wanted_until("old") is None
    keys.publish("new", 1000.0)
    assert ([rule.id for rule in keys.rules], keys.waiting, keys.retired) == (["new", "other"], (), ("old",))
    assert keys.wanted_until("old") == 1000.0 + 5 * 86400.0 + GRACE
    again = ring(old=record(), new=record(selector="t", replaces="old", published=1000.0))
    assert [rule.id for rule in again.rules] == ["new"]


def test_a_signature_that_replaces_none_that_is_there_signs_at_once() -> None:
    assert [rule.id for rule in ring(new=record(replaces="gone")).rules] == ["new"]


def test_expiry_is_never_before_the_queue_gives_up() -> None:
    assert ring(a=record(expire=3600.0)).rule("a").expire == 5 * 86400.0 + GRACE


def test_no_repr_shows_a_key(tmp_path: Path) -> None:
    secret = generate_key("ed25519").splitlines()[1]
    options = record(private_key=PrivateKey(pem=f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"))
    keys = ring(a=options)
    assert secret not in repr(options) + repr(options.private_key) + repr(keys) + repr(keys.known("a")) + repr(
        keys.__dict__
    )


async def test_a_file_that_may_not_be_read_is_no_key(tmp_path: Path) -> None:
    os.mkdir(tmp_path / "key.pem")
    keys = ring(a=in_file(tmp_path / "key.pem"))
    assert "Is a directory" in keys.problems["a"]
