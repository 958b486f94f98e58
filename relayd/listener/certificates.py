"""Certificates of the listeners: loaded, chosen by SNI, loaded anew when files change, made when there is none."""

from __future__ import annotations

import datetime
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from relayd.events import tls
from relayd.events.event import Span
from relayd.listener.options import CertificateOptions

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    options: CertificateOptions
    stamp: _Stamp
    context: ssl.SSLContext
    names: tuple[str, ...]


class Certificates:
    """All certificates by id.  `refresh` is called once a minute and on a reload.

    hostname: the name of the self-signed certificate.  span: that of the daemon, for events.
    """

    def __init__(self, records: Mapping[str, CertificateOptions], hostname: str, span: Span) -> None:
        self._hostname = hostname
        self._span = span
        self._records = dict(records)
        self._loaded: dict[str, _Loaded] = {}
        self._failed: dict[str, _Stamp] = {}
        self._by_name: dict[str, ssl.SSLContext] = {}
        self._self_signed: ssl.SSLContext | None = None
        self.refresh()

    @property
    def context(self) -> ssl.SSLContext | None:
        """For a new connection; SNI may yet lead to another certificate.  None when none could be loaded."""
        chosen: ssl.SSLContext | None = None
        for each in self._loaded.values():
            if each.options.default:
                return each.context
            chosen = chosen or each.context
        return chosen

    @property
    def self_signed(self) -> ssl.SSLContext:
        """A certificate that proves nothing: opportunistic TLS between MTAs does not look at it (RFC 7435)."""
        if self._self_signed is None:
            self._self_signed = _self_signed_context(self._hostname, self._span.stream.clock())
        return self._self_signed

    def for_role(self, role: str) -> ssl.SSLContext | None:
        """For a new connection of a listener with `role`; a self-signed one is good enough for an mx alone."""
        return self.context or (self.self_signed if role == "mx" else None)

    def replace(self, records: Mapping[str, CertificateOptions]) -> None:
        """Other records from a reloaded configuration; a certificate that fails to load keeps its older self."""
        self._records = dict(records)
        self._loaded = {id: each for id, each in self._loaded.items() if id in self._records}
        self._failed.clear()
        self.refresh()

    def refresh(self) -> None:
        """Load what is new or changed on disk."""
        changed = False
        for id, options in self._records.items():
            old = self._loaded.get(id)
            stamp = _stamp(options)
            if old is not None and old.stamp == stamp and old.options == options:
                continue
            if self._failed.get(id) == stamp:
                continue  # said once already
            try:
                context, leaf = _load(options)
            except (OSError, ValueError) as error:
                self._failed[id] = stamp
                tls.CERTIFICATE_ERROR(self._span, id=id, path=options.cert, reason=str(error) or type(error).__name__)
                continue
            self._failed.pop(id, None)
            context.sni_callback = self._choose
            self._loaded[id] = _Loaded(options, stamp, context, names_of(leaf))
            expires = leaf.not_valid_after_utc.timestamp()
            tls.CERTIFICATE_LOADED(self._span, id=id, path=options.cert, expires=expires)
            changed = True
        if changed and len(self._loaded) > 1 and not any(each.options.default for each in self._loaded.values()):
            tls.MULTIPLE_CERTIFICATES_AVAILABLE(self._span, details=list(self._loaded))
        self._by_name = {name: each.context for each in self._loaded.values() for name in each.names}

    def _choose(self, connection: Any, name: str | None, context: ssl.SSLContext) -> None:
        """SNI: the certificate with that name, else with a wildcard for it, else the default one."""
        if name:
            name = name.lower().rstrip(".")
            found = self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])
            if found is not None:
                connection.context = found
            else:
                tls.CERTIFICATE_NOT_FOUND(self._span, details=name[:255])


def new_context() -> ssl.SSLContext:
    """A server's context: TLS 1.2 at least (RFC 8996), no client certificates asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    return context


def _stamp(options: CertificateOptions) -> _Stamp:
    stamps = []
    for path in (options.cert, options.private_key):
        try:
            found = os.stat(path)
        except OSError:
            stamps.append((0, 0, 0))
        else:
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
    return tuple(stamps)


def _load(options: CertificateOptions) -> tuple[ssl.SSLContext, x509.Certificate]:
    context = new_context()
    context.load_cert_chain(options.cert, options.private_key)
    return context, x509.load_pem_x509_certificates(Path(options.cert).read_bytes())[0]


def names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    """The host names that a certificate is for, in lower case."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(str(each.value).lower() for each in common)
    return tuple(name.lower() for name in names.get_values_for_type(x509.DNSName))


def _self_signed_context(hostname: str, now: float) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname[:64])])
    day = datetime.timedelta(days=1)
    start = datetime.datetime.fromtimestamp(now, datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - day)
        .not_valid_after(start + 3650 * day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    context = new_context()
    with tempfile.NamedTemporaryFile() as file:  # mode 0600; OpenSSL reads keys from files only
        file.write(certificate.public_bytes(serialization.Encoding.PEM) + private)
        file.flush()
        context.load_cert_chain(file.name)
    return context
