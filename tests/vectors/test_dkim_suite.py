"""The public DKIM cases: signed messages of others, the vectors of RFC 6376 and RFC 8463, keys good and broken."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relayd.mail.header import split_message
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_key import KeyRecordError, parse_key_record
from relayd.mailauth.dkim_sign import SignatureRule, sign, want_signed
from relayd.mailauth.findings import Result
from relayd.mailauth.signing_key import SigningKey, read_signing_key
from relayd.resolver.zone import Records, Zone
from tests.mailauth.signing import digests, parts, verified
from tests.rig.peers import require_suite

CLOCK = 1667843664.0
ED25519_SEED = "rfc8032_7_1.key"


def crlf(octets: bytes) -> bytes:
    return octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def stored(path: Path) -> tuple[Zone, bytes]:
    """(zone, message) of a file that begins with lines of name and TXT record."""
    records, _, message = path.read_bytes().partition(b"\n\n")
    names: dict[str, dict[str, Records]] = {}
    for line in records.splitlines():
        name, _, text = line.decode().partition(" ")
        names[name] = {"TXT": [text]}
    return Zone(names), crlf(message)


def test_signed_messages() -> None:
    files = sorted((require_suite("dkim") / "mail-auth").glob("*.txt"))
    cases = [path for path in files if path.name[0].isdigit()]
    assert len(cases) >= 6
    for path in cases:
        zone, message = stored(path)
        findings = verified(message, zone, CLOCK)
        assert findings, path
        assert {each.result for each in findings} == {Result.PASS}, (path, findings)


def test_signed_messages_changed_on_the_way() -> None:
    for path in sorted((require_suite("dkim") / "mail-auth").glob("00*.txt")):
        zone, message = stored(path)
        header, rest = split_message(message)
        changed_body = header + rest[:2] + b"x" + rest[2:]
        for changed in (changed_body, message.replace(b"\r\nSubject:", b"\r\nSubject: x")):
            assert changed != message
            assert Result.PASS not in {each.result for each in verified(changed, zone, CLOCK)}, path


def data(name: str) -> bytes:
    return (require_suite("dkim") / "dkimpy" / name).read_bytes()


def test_vectors_of_rfc_8463() -> None:
    # rfc6376.signed.msg: the message of RFC 8463 appendix A.3, signed simple/simple with both keys
    zone = Zone(
        {
            "brisbane._domainkey.football.example.com": {
                "TXT": ["v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
            },
            "test._domainkey.football.example.com": {"TXT": [data("test.txt")]},
        }
    )
    findings = verified(crlf(data("rfc6376.signed.msg")), zone)
    assert [(each.result, each.algorithm) for each in findings] == [
        (Result.PASS, "ed25519-sha256"),
        (Result.PASS, "rsa-sha256"),
    ]


def test_a_message_of_exim() -> None:
    zone = Zone({"sed._domainkey.test.ex": {"TXT": [data("eximtest.dns")]}})
    (finding,) = verified(crlf(data("ed25519test2.msg")), zone)
    assert finding.result is Result.PASS


def test_records() -> None:
    good = {"test.txt": ("rsa", 1024), "test2.txt": ("rsa", 1024), "ed25519test.dns": ("ed25519", 256)}
    for name, expected in good.items():
        key = parse_key_record(data(name))
        assert (key.type, key.bits) == expected
    assert parse_key_record(data("test_tlsrpt.txt")).services == ("tlsrpt",)
    broken = {"badk.txt": "dkim.unsupported-key-type", "badversion.txt": "dkim.unsupported-version"}
    for name, cause in broken.items():
        with pytest.raises(KeyRecordError) as raised:
            parse_key_record(data(name))
        assert raised.value.cause == cause


@pytest.mark.parametrize("message", ["test.message", "rfc6376.msg", "test_extra.message", "test_nofrom.message"])
def test_messages_signed_with_the_keys_of_the_suite(message: str) -> None:
    octets = crlf(data(message))
    seed = Ed25519PrivateKey.from_private_bytes(base64.b64decode(data(ED25519_SEED)))
    keys = [
        (
            SignatureRule(id="rsa", domain="example.com", selector="test"),
            read_signing_key(data("test.private").decode()),
        ),
        (SignatureRule(id="ed", domain="example.com", selector="brisbane"), SigningKey(seed)),
    ]
    header, body = parts(octets)
    wanted = BodyDigests()
    want_signed(wanted)
    signed = sign(header, digests(wanted, body), keys, CLOCK) + octets
    records = [data("test.txt"), b"k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]
    zone = Zone(
        {
            f"{rule.selector}._domainkey.example.com": {"TXT": [text]}
            for (rule, _), text in zip(keys, records, strict=True)
        }
    )
    assert [each.result for each in verified(signed, zone, CLOCK)] == [Result.PASS, Result.PASS]
    # dkimpy's broken record for the same key, and its key that is not for mail
    for name, result in (("test_bad.txt", Result.PERMERROR), ("test_tlsrpt.txt", Result.PERMERROR)):
        zone = Zone({"test._domainkey.example.com": {"TXT": [data(name)]}})
        assert verified(signed, zone, CLOCK)[0].result is result
