"""Operation 49: the DNS records that a domain should have, as this daemon is configured now.

The domain need not be known here.  What is listed in its order: MX, a name for mail, the public keys of its signatures
(those of retired ones as long as mail signed with them may be on its way), SPF, services, DMARC, TLS reports, and TLSA
records of the certificates.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from relayd.control.api.dkim import AREA, SignaturesSide
from relayd.control.api.dns_check import checked
from relayd.control.queries import FLAG, parameter
from relayd.control.routes import Call, Route
from relayd.listener.certificates import names_of
from relayd.listener.options import CertificateOptions, ListenerOptions
from relayd.mailauth.findings import plain_domain
from relayd.mailauth.signing_key import record_name
from relayd.reception.keyring import Keyring
from relayd.resolver.answer import Resolver

_NO_HOSTS = ("mta-sts.", "autoconfig.", "autodiscover.")
"""Names in certificates where no mail is taken."""

_MAX_CHAIN = 1 << 20


class DnsRecord(TypedDict):
    """A record.  name: with its final dot.  content: without quotes, a TXT record in one piece.

    state, found: of a check, see `dns_check`.
    """

    type: str
    name: str
    content: str
    state: NotRequired[str]
    found: NotRequired[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordsQuery:
    """Of the records."""

    check: bool = parameter(FLAG, "Ask the DNS for each: `state` and `found` say what it shows.")


class DnsOperations:
    """The handler.  hostname, listeners, certificates, resolver: what is in force when it is asked.

    clock: Unix time."""

    def __init__(
        self,
        signatures: SignaturesSide,
        hostname: Callable[[], str],
        listeners: Callable[[], Iterable[ListenerOptions]],
        certificates: Callable[[], Mapping[str, CertificateOptions]],
        clock: Callable[[], float],
        resolver: Callable[[], Resolver | None] = lambda: None,
    ) -> None:
        self._resolver = resolver
        self._signatures = signatures
        self._hostname = hostname
        self._listeners = listeners
        self._certificates = certificates
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """The operation."""
        yield Route(
            method="GET",
            path="/dns/records/{domain}",
            permission="domain-get",
            handler=self.records,
            summary="The DNS records that a domain should have",
            area=AREA,
            query=RecordsQuery,
            answer=list[DnsRecord],
            operation=49,
        )

    async def records(self, call: Call) -> Sequence[DnsRecord]:
        """All of them, as the API has them; with `check`, what the DNS shows of each."""
        domain = plain_domain(call.path["domain"])
        host = self._hostname()
        listeners = list(self._listeners())
        keys = self._keys(domain, await self._signatures.configured())
        chains = await asyncio.to_thread(_chains, self._certificates())
        records = [
            *_mail_records(domain, host),
            *keys,
            *_spf_records(domain, host),
            *_services(domain, host, listeners),
            _record("TXT", f"_dmarc.{domain}", _dmarc(domain)),
            _record("TXT", f"_smtp._tls.{domain}", f"v=TLSRPTv1; rua=mailto:postmaster@{domain}"),
            *_tlsa_records(domain, chains),
        ]
        resolver = self._resolver()
        if not call.query.check or resolver is None:
            return records
        states = await asyncio.gather(
            *(checked(resolver, each["type"], each["name"], each["content"]) for each in records)
        )
        for each, (state, found) in zip(records, states, strict=True):
            each["state"], each["found"] = state, found
        return records

    def _keys(self, domain: str, keyring: Keyring) -> Iterator[DnsRecord]:
        now = self._clock()
        for id in sorted(keyring.ids):
            rule, key = keyring.rule(id), keyring.known(id)
            until = keyring.wanted_until(id)
            if rule.domain == domain and key is not None and (until is None or until > now):
                yield _record("TXT", record_name(rule.selector, domain), key.record())


def _record(type: str, name: str, content: str) -> DnsRecord:
    return DnsRecord(type=type, name=name + ".", content=content)


def _mail_records(domain: str, host: str) -> Iterator[DnsRecord]:
    yield _record("MX", domain, f"10 {host}.")
    if host != f"mail.{domain}":
        yield _record("CNAME", f"mail.{domain}", f"{host}.")


def _spf_records(domain: str, host: str) -> Iterator[DnsRecord]:
    if host == domain or host.endswith("." + domain):
        yield _record("TXT", host, "v=spf1 a ra=postmaster -all")
    yield _record("TXT", domain, "v=spf1 mx ra=postmaster -all")


def _dmarc(domain: str) -> str:
    return f"v=DMARC1; p=reject; rua=mailto:postmaster@{domain}; ruf=mailto:postmaster@{domain}"


def _services(domain: str, host: str, listeners: Sequence[ListenerOptions]) -> Iterator[DnsRecord]:
    """Where clients find what they need; plain HTTP and port 25 are no services for them."""
    found = {
        (each.protocol, not each.tls_implicit, bind.port)
        for each in listeners
        for bind in each.bind
        if not bind.path and bind.port
    }
    for protocol, plain, port in sorted(found):
        name = ""
        if protocol == "http" and not plain:
            name = "_jmap"
        elif protocol == "smtp" and port > 25:
            name = "_submission" if plain else "_submissions"
        if name:
            yield _record("SRV", f"{name}._tcp.{domain}", f"0 1 {port} {host}.")
    if any(protocol == "http" and not plain for protocol, plain, _ in found):
        for name in ("autoconfig", "autodiscover"):
            yield _record("CNAME", f"{name}.{domain}", f"{host}.")


def _chains(certificates: Mapping[str, CertificateOptions]) -> list[list[x509.Certificate]]:
    """The certificates of each record with its chain; blocks.  One that cannot be read has none."""
    found = []
    for each in certificates.values():
        try:
            with Path(each.cert).open("rb") as file:
                found.append(x509.load_pem_x509_certificates(file.read(_MAX_CHAIN)))
        except (OSError, ValueError):  # stated where the listeners load it
            continue
    return found


def _tlsa_records(domain: str, chains: Iterable[Sequence[x509.Certificate]]) -> Iterator[DnsRecord]:
    for chain in chains:
        for name in names_of(chain[0]):
            if (name != domain and not name.endswith("." + domain)) or name.startswith((*_NO_HOSTS, "*")):
                continue
            for place, certificate in enumerate(chain):
                for content in _tlsa(certificate, 2 if place else 3):
                    yield _record("TLSA", f"_25._tcp.{name}", content)


def _tlsa(certificate: x509.Certificate, usage: int) -> Iterator[str]:
    """RFC 6698 §2.1: the whole certificate and its key, by SHA-256 and by SHA-512."""
    whole = certificate.public_bytes(Encoding.DER)
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for selector, octets in enumerate((whole, key)):
        yield f"{usage} {selector} 1 {hashlib.sha256(octets).hexdigest()}"
        yield f"{usage} {selector} 2 {hashlib.sha512(octets).hexdigest()}"
