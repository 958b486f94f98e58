"""Others verify what we sign, and we verify what others sign: Debian's opendkim, and dkimpy."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dkim
import pytest

from relayd.mail.header import HeaderBlock, split_message
from relayd.mailauth.findings import Result
from relayd.mailauth.signing_key import KeyType, record_name
from tests.mailauth import signing
from tests.mailauth.signing import DOMAIN, MESSAGE, rule, signed, verified
from tests.mailauth.test_arc import sealed
from tests.rig.peers import require_program, require_suite

RECENT = 1_750_000_000.0
FORMS = ["simple/simple", "simple/relaxed", "relaxed/simple", "relaxed/relaxed"]
TYPES: list[KeyType] = ["rsa", "ed25519"]


def torture() -> Iterator[tuple[str, bytes]]:
    """The messages of the public MIME suites, as they may stand on the wire: CRLF and nothing else that ends a line."""
    for path in sorted(require_suite("mime").rglob("*")):
        if path.suffix in (".eml", ".txt") and path.name not in ("SOURCE.txt", "LICENSE.txt"):
            octets = re.sub(rb"\r\n|\r|\n", b"\r\n", path.read_bytes()).replace(b"\0", b"?")
            if octets.strip():
                octets = octets if b"\r\n\r\n" in octets else octets + b"\r\n\r\n"
                yield path.name, octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def well_formed(message: bytes) -> bool:
    """Whether others can read the header: nothing but fields, no blank before a colon, one From with an address."""
    header = HeaderBlock.parse(split_message(message)[0])
    plain = all(field.name and field.raw.startswith(field.name.encode() + b":") for field in header.fields)
    authors = header.get("From")
    return plain and len(authors) == 1 and b"@" in authors[0]


def zone_text(name: bytes, timeout: int = 5) -> bytes:
    """The keys, as dkimpy asks for them."""
    records = {record_name(type, DOMAIN): signing.key(type).record().encode() for type in TYPES}
    return records[name.decode().rstrip(".")]


def opendkim(directory: Path, config: str, messages: list[bytes]) -> str:
    """What opendkim says in its test mode."""
    keys = "".join(f"{record_name(type, DOMAIN)} {signing.key(type).record()}\n" for type in TYPES)
    (directory / "keys").write_text(keys)
    (directory / "conf").write_text(f"Syslog no\nTestPublicKeys {directory / 'keys'}\nRequireSafeKeys no\n{config}")
    names = []
    for place, message in enumerate(messages):
        (directory / f"{place}").write_bytes(message)
        names.append(str(directory / f"{place}"))
    program = require_program("opendkim")
    command = [program, "-f", "-x", str(directory / "conf"), "-v", "-v", "-t", ",".join(names)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return (done.stdout + done.stderr).decode("utf-8", "replace")


def test_opendkim_verifies_what_we_sign(tmp_path: Path) -> None:
    messages = [message for _, message in torture() if well_formed(message)]
    assert len(messages) > 50
    ours = [signed(message, rule("rsa"), rule("ed25519"), now=RECENT) for message in messages]
    said = opendkim(tmp_path, "Mode v\n", ours)
    passed = re.findall(r"dkim=(\w+)[^;]*header\.d=example\.org[^;]*header\.s=(\w+)", said)
    assert len(passed) == 2 * len(ours), said[-2000:]
    assert {result for result, _ in passed} == {"pass"}
    (tmp_path / "changed").mkdir()
    assert "dkim=fail" in opendkim(tmp_path / "changed", "Mode v\n", [ours[0] + b"more\r\n"])


def test_dkimpy_verifies_what_we_sign() -> None:
    for name, message in torture():
        if well_formed(message):
            ours = dkim.DKIM(signed(message, rule("rsa"), rule("ed25519"), now=RECENT))  # type: ignore[no-untyped-call]
            assert ours.verify(0, dnsfunc=zone_text), name  # type: ignore[no-untyped-call]
            assert ours.verify(1, dnsfunc=zone_text), name  # type: ignore[no-untyped-call]


def test_we_verify_every_message_that_we_sign() -> None:
    for name, message in torture():
        ours = signed(message, rule("rsa"), rule("ed25519"))
        assert [each.result for each in verified(ours)][:2] == [Result.PASS, Result.PASS], name


@pytest.mark.parametrize(
    ("type", "form"),
    # opendkim 2.11 does not verify its own Ed25519 signatures over simple headers
    [(type, form) for type in TYPES for form in FORMS if type == "rsa" or form.startswith("relaxed")],
)
def test_we_verify_what_opendkim_signs(tmp_path: Path, form: str, type: KeyType) -> None:
    (tmp_path / "private").write_text(signing.pem(type))
    config = (
        f"Mode s\nDomain {DOMAIN}\nSelector {type}\nKeyFile {tmp_path / 'private'}\nCanonicalization {form}\n"
        f"SignatureAlgorithm {type}-sha256\nOversignHeaders From,Cc\n"
    )
    said = opendkim(tmp_path, config, [MESSAGE])
    found = re.search(r"hname='DKIM-Signature' hvalue='(.*?)'", said, re.S)
    assert found, said
    field = "DKIM-Signature: " + found[1].replace("\n", "\r\n") + "\r\n"
    (finding,) = verified(field.encode() + MESSAGE, now=RECENT)
    assert (finding.result, finding.algorithm) == (Result.PASS, f"{type}-sha256")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("length", [True, False])
def test_we_verify_what_dkimpy_signs(form: str, length: bool) -> None:
    header, _, body = form.partition("/")
    for _, message in (("", MESSAGE), *list(torture())[::10]):
        if well_formed(message):
            field = dkim.sign(
                message,
                b"rsa",
                DOMAIN.encode(),
                signing.pem("rsa").encode(),
                canonicalize=(header.encode(), body.encode()),
                length=length,
                include_headers=[b"from", b"subject", b"x-none", b"content-type", b"from"],
            )
            finding = verified(field + message, now=RECENT)[0]
            assert finding.result is Result.PASS, finding


def test_arc_chains_go_both_ways() -> None:
    ours = sealed(MESSAGE, ("rsa", "rsa"))
    assert ours is not None
    ours = b"Authentication-Results: mx.example.org; arc=pass; dmarc=pass header.from=example.org\r\n" + ours
    state, _, reason = dkim.arc_verify(ours, dnsfunc=zone_text)
    assert state == dkim.CV_Pass, reason
    theirs = dkim.arc_sign(ours, b"rsa", DOMAIN.encode(), signing.pem("rsa").encode(), b"mx.example.org")
    finding = signing.chain(b"".join(theirs) + ours, now=RECENT)
    assert (finding.result, len(finding.sets)) == (Result.PASS, 3), finding
