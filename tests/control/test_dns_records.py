"""Which DNS records a domain should have, beyond the page's example."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from relayd.control.api.dns_records import DnsOperations, DnsRecord, RecordsQuery
from relayd.control.routes import Call
from relayd.listener.options import Bind, CertificateOptions, ListenerOptions
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import SigningKey
from relayd.reception.keyring import Keyring
from tests.mailauth.signing import key, pem


class Known:
    """Signatures of a dict."""

    def __init__(self, records: dict[str, SignatureOptions]) -> None:
        self.in_force = Keyring(records, 0.0, lambda: 0.0)

    async def configured(self) -> Keyring:
        return self.in_force

    async def unpublished(self, rule: object, key: SigningKey) -> str:
        return ""


async def records(
    domain: str,
    host: str = "mx.example.org",
    listeners: tuple[ListenerOptions, ...] = (),
    certificates: dict[str, CertificateOptions] | None = None,
    signatures: dict[str, SignatureOptions] | None = None,
    now: float = 0.0,
) -> list[DnsRecord]:
    area = DnsOperations(
        Known(signatures or {}), lambda: host, lambda: listeners, lambda: certificates or {}, lambda: now
    )
    call = Call(request=None, caller=None, span=None, path={"domain": domain}, query=RecordsQuery(), body=None)  # type: ignore[arg-type]
    return list(await area.records(call))


def listener(protocol: str, *ports: int, tls: bool = False) -> ListenerOptions:
    binds = tuple(Bind(host="192.0.2.1", port=port) for port in ports)
    return ListenerOptions(bind=(*binds, Bind(path="/run/x")), protocol=protocol, tls_implicit=tls)


def named(found: list[DnsRecord], type: str) -> list[tuple[str, str]]:
    return [(each["name"], each["content"]) for each in found if each["type"] == type]


async def test_services_are_ordered_and_named_once() -> None:
    listeners = (
        listener("smtp", 2587, 587, 25),
        listener("smtp", 465, tls=True),
        listener("smtp", 465, tls=True),
        listener("http", 8080),
        listener("http", 443, tls=True),
        listener("lmtp", 2400),
    )
    found = await records("example.org", listeners=listeners)
    assert named(found, "SRV") == [
        ("_jmap._tcp.example.org.", "0 1 443 mx.example.org."),
        ("_submissions._tcp.example.org.", "0 1 465 mx.example.org."),
        ("_submission._tcp.example.org.", "0 1 587 mx.example.org."),
        ("_submission._tcp.example.org.", "0 1 2587 mx.example.org."),
    ]
    assert named(found, "CNAME") == [
        ("mail.example.org.", "mx.example.org."),
        ("autoconfig.example.org.", "mx.example.org."),
        ("autodiscover.example.org.", "mx.example.org."),
    ]


async def test_the_host_s_own_spf_and_alias() -> None:
    found = named(await records("example.org", host="mail.example.org"), "TXT")
    assert found[:2] == [
        ("mail.example.org.", "v=spf1 a ra=postmaster -all"),
        ("example.org.", "v=spf1 mx ra=postmaster -all"),
    ]
    assert named(await records("example.org", host="mail.example.org"), "CNAME") == []
    elsewhere = await records("other.example")
    assert all(name.endswith("other.example.") for name, _ in named(elsewhere, "TXT"))


async def test_names_are_written_one_way() -> None:
    assert named(await records("EXAMPLE.org."), "MX") == [("example.org.", "10 mx.example.org.")]
    assert named(await records("b\u00fccher.example"), "MX") == [("xn--bcher-kva.example.", "10 mx.example.org.")]


async def test_the_key_of_a_retired_signature_is_wanted_for_a_week() -> None:
    source = PrivateKey(pem=pem("ed25519"))
    signatures = {
        "a": SignatureOptions(private_key=source, domain="example.org", selector="a"),
        "b": SignatureOptions(private_key=source, domain="example.org", selector="b", replaces="a", published=1000.0),
        "c": SignatureOptions(private_key=PrivateKey(path="/nowhere"), domain="example.org", selector="c"),
        "d": SignatureOptions(private_key=source, domain="other.example", selector="d"),
    }
    week = 7 * 86400.0
    for now, selectors in ((1000.0 + week - 1, ["a", "b"]), (1000.0 + week + 1, ["b"])):
        found = named(await records("example.org", signatures=signatures, now=now), "TXT")
        keys = [(name, content) for name, content in found if "_domainkey" in name]
        assert [name.partition(".")[0] for name, _ in keys] == selectors
        assert {content for _, content in keys} == {key("ed25519").record()}


def certificate(path: Path, names: list[str]) -> x509.Certificate:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    begin = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        .sign(private, hashes.SHA256())
    )
    with path.open("ab") as file:
        file.write(made.public_bytes(Encoding.PEM))
    return made


async def test_tlsa_of_the_certificates_and_their_chain(tmp_path: Path) -> None:
    path = tmp_path / "cert.pem"
    names = ["mx.example.org", "*.example.org", "mta-sts.example.org", "autoconfig.example.org", "other.example"]
    leaf, issuer = certificate(path, names), certificate(path, ["ca.example"])
    certificates = {
        "a": CertificateOptions(cert=str(path), private_key="x"),
        "gone": CertificateOptions(cert=str(tmp_path / "gone"), private_key="x"),
    }
    found = named(await records("example.org", certificates=certificates), "TLSA")
    assert {name for name, _ in found} == {"_25._tcp.mx.example.org."}
    wanted = []
    for usage, each in (("3", leaf), ("2", issuer)):
        spki = each.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for selector, octets in (("0", each.public_bytes(Encoding.DER)), ("1", spki)):
            wanted.append(f"{usage} {selector} 1 {hashlib.sha256(octets).hexdigest()}")
            wanted.append(f"{usage} {selector} 2 {hashlib.sha512(octets).hexdigest()}")
    assert [content for _, content in found] == wanted
