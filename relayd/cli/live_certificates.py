"""The part of `relayd check --live` that looks into certificates."""

from __future__ import annotations

import datetime
import socket
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from relayd.cli.live import Finding
from relayd.config.configuration import Config
from relayd.listener.options import CertificateOptions
from relayd.mail.options import ServerOptions

_SOON = datetime.timedelta(days=14)


def look_at_certificates(config: Config, now: float) -> Iterator[Finding]:
    """Whether every certificate can be read, belongs to its key, is valid at Unix time `now`, and names this host."""
    records = config.records(CertificateOptions)
    hostname = (config.section(ServerOptions).hostname or socket.getfqdn()).lower()
    if not records:
        hint = "others can still encrypt, but a certificate of certificate.<id> lets them know who this is"
        yield Finding("warn", "certificate", "none configured: a self-signed one is made", hint)
    for name, options in records.items():
        yield from _look_at(f"cert {name}", options, hostname, datetime.datetime.fromtimestamp(now, datetime.UTC))


def _look_at(subject: str, options: CertificateOptions, hostname: str, now: datetime.datetime) -> Iterator[Finding]:
    try:
        leaf = x509.load_pem_x509_certificates(Path(options.cert).read_bytes())[0]
        key = load_pem_private_key(Path(options.private_key).read_bytes(), password=None)
    except OSError as error:
        yield Finding("fail", subject, f"{error.filename}: {error.strerror}", "relayd's user must be able to read it")
        return
    except (ValueError, TypeError) as error:
        yield Finding("fail", subject, f"cannot be used: {error}", "expected PEM, the key without a passphrase")
        return
    mine = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    theirs = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    left = leaf.not_valid_after_utc - now
    until = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    if mine != theirs:
        hint = "private-key must be the key of the first certificate in cert"
        yield Finding("fail", subject, "certificate and key do not belong together", hint)
    elif left.total_seconds() <= 0:
        yield Finding("fail", subject, f"expired on {until}", "renew it")
    elif leaf.not_valid_before_utc > now:
        yield Finding("fail", subject, f"not valid before {leaf.not_valid_before_utc:%Y-%m-%d}", "check the clock")
    elif left < _SOON:
        yield Finding("warn", subject, f"expires on {until}, in {left.days} days", "renew it")
    elif not _names(leaf, hostname):
        yield Finding("warn", subject, f"does not name {hostname}", "peers that verify will not trust it")
    else:
        yield Finding("ok", subject, f"names {hostname}, valid until {until}")


def _names(leaf: x509.Certificate, hostname: str) -> bool:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    wildcard = "*." + hostname.partition(".")[2]
    return any(name.lower() in (hostname, wildcard) for name in names.get_values_for_type(x509.DNSName))
