"""TLS as a client: contexts, what one connection demands, and what its handshake showed.

Contexts are verified where a valid certificate is demanded, unverified else; DANE looks at the chain itself.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from relayd.delivery.client_certificate import ClientCertificate
from relayd.resolver.answer import Tlsa
from relayd.routing.next_hop import NextHop, TlsMode
from relayd.routing.tls_defect import Defect, certificate_defect
from relayd.routing.tls_policy import Consequence, Level, TlsPolicy, consequence

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class TlsContexts:
    """Makes each context once, off the event loop: loading the system's authorities takes tens of milliseconds.

    ca_files: PEM files trusted beside the system's (`queue.outbound.tls.ca-files`); route_ca_files: more of them, by
    route id.  certificates: what we show to the hosts of a route, by its id.  minimum: "1.2" or "1.3".
    """

    def __init__(
        self,
        ca_files: Sequence[str] = (),
        route_ca_files: Mapping[str, Sequence[str]] | None = None,
        *,
        minimum: str = "1.2",
        certificates: Mapping[str, ClientCertificate] | None = None,
    ) -> None:
        self._minimum = minimum
        self._ca_files = tuple(ca_files)
        self._route_ca_files = {id: tuple(files) for id, files in (route_ca_files or {}).items()}
        self._made: dict[tuple[bool, tuple[str, ...], str], ssl.SSLContext] = {}
        self._certificates = certificates or {}
        self._showing: dict[tuple[str, bool, str], tuple[tuple[int, ...], ssl.SSLContext]] = {}

    async def context(self, route: str | None = None, *, verified: bool, minimum: str = "") -> ssl.SSLContext:
        """The context for connections to a host of `route`, or of a domain.

        verified: the certificate must be valid for the host.  minimum: oldest version, "" for the usual one.  Raises
        OSError when a file cannot be read.
        """
        minimum = minimum or self._minimum
        shown = self._certificates.get(route or "")
        if shown is None or route is None:
            return await self._plain(route, verified, minimum)
        stamp = shown.stamp()
        kept = self._showing.get((route, verified, minimum))
        if kept is None or kept[0] != stamp:
            made = await self._make(route, verified, minimum)
            await asyncio.to_thread(shown.load, made)
            kept = self._showing[route, verified, minimum] = (stamp, made)
        return kept[1]

    async def verified(self) -> ssl.SSLContext:
        """For servers of tokens and the like: their names must be proven."""
        return await self.context(verified=True)

    async def _plain(self, route: str | None, verified: bool, minimum: str) -> ssl.SSLContext:
        """The context that shows nothing: one for all routes that trust the same authorities."""
        key = (verified, self._files(route, verified), minimum)
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = await self._make(route, verified, minimum)
        return made

    async def _make(self, route: str | None, verified: bool, minimum: str) -> ssl.SSLContext:
        files = self._files(route, verified)
        made = await asyncio.to_thread(_verifying, files) if verified else _trusting()
        made.minimum_version = _VERSIONS[minimum]
        return made

    def _files(self, route: str | None, verified: bool) -> tuple[str, ...]:
        return self._ca_files + self._route_ca_files.get(route or "", ()) if verified else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one connection asks of TLS.

    may_be_plain: it goes on without STARTTLS where that is not offered.  pkix: the certificate must be valid for the
    host's name.  tlsa, names: the records of which one must fit, and what the certificate may be for.
    """

    encrypt: bool
    may_be_plain: bool
    pkix: bool
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    requiretls: bool = False
    sni: str = ""

    @classmethod
    def of(cls, policy: TlsPolicy, names: tuple[str, ...]) -> Demand:
        """All that a policy would like."""
        return cls(
            encrypt=policy.level is not Level.PLAIN,
            may_be_plain=consequence(policy, Defect.NO_STARTTLS) is Consequence.PLAIN,
            pkix=policy.pkix,
            tlsa=policy.tlsa,
            names=names,
            requiretls=policy.requiretls,
            sni=names[0] if policy.tlsa and not policy.pkix else "",
        )


def in_the_clear(demand: Demand) -> Demand:
    """The same without TLS."""
    return replace(demand, encrypt=False, pkix=False, tlsa=())


def lesser(demand: Demand, follows: Consequence) -> Demand | None:
    """What is asked for next after a demand was not met; None: nothing less will do."""
    if follows is Consequence.PLAIN and demand.encrypt:
        return in_the_clear(demand)
    if follows is Consequence.UNAUTHENTICATED and (demand.pkix or demand.tlsa):
        return replace(demand, pkix=False, tlsa=())
    return None


def defect_of(error: BaseException) -> Defect:
    """What is wrong with a host's TLS, from the error that its handshake ended in."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return certificate_defect(cause.verify_code)
        if isinstance(cause, ssl.SSLError) and cause.reason in _TOO_OLD:
            return Defect.TOO_OLD
        cause = cause.__cause__
    return Defect.HANDSHAKE


_TOO_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE"})


def presented_chain(ssl_object: ssl.SSLObject) -> list[bytes]:
    """The certificates that the peer showed, DER, its own first; whether they are valid is not looked at.

    Python 3.13 has a method for it; before that, it is there under a private name alone.
    """
    public = getattr(ssl_object, "get_unverified_chain", None)
    if public is not None:
        return list(public())
    private = getattr(getattr(ssl_object, "_sslobj", None), "get_unverified_chain", None)
    chain = private() if private is not None else None
    if chain:
        return [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in chain]
    own = ssl_object.getpeercert(binary_form=True)
    return [own] if own else []


def demanded_mode(next_hop: NextHop) -> TlsMode:
    """The TLS that is demanded: a next hop that gets a password must show a valid certificate."""
    return TlsMode.VERIFIED if next_hop.username is not None else next_hop.tls


def _verifying(files: tuple[str, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH)
    # Python 3.13 adds it: certificates of private authorities often lack what it asks for (an authority key
    # identifier), and whether mail goes out must not depend on the interpreter
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    for file in files:
        context.load_verify_locations(cafile=file)
    return context


def _trusting() -> ssl.SSLContext:
    """Encrypts, whoever the peer is: its name came from an unsigned DNS anyway (RFC 7435)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
