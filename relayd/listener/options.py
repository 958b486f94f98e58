"""Options of listeners, certificates and sessions."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from relayd.options import (
    BOOLEAN,
    DURATION,
    NETWORKS,
    REQUIRED,
    SIZE,
    TEXT,
    TEXTS,
    Kind,
    Network,
    OptionError,
    Raw,
    choice,
    integer,
    list_of,
    option,
    section,
)


@dataclass(frozen=True, slots=True)
class Bind:
    """Where a listener listens: host and port (0: the kernel chooses), or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach it."""
        return bool(self.path) or ipaddress.ip_address(self.host).is_loopback


def parse_bind(value: Raw) -> Bind:
    """ "192.0.2.1:25", "[2001:db8::1]:25", "[::]:25" or "unix:/run/relayd/lmtp.sock"; OptionError."""
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:") and len(text) > 5:
        return Bind(path=text[5:])
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:(\d{1,5})|([0-9.]+):(\d{1,5})", text)
    if match is not None:
        host, port = match[1] or match[3], int(match[2] or match[4])
        try:
            return Bind(host=str(ipaddress.ip_address(host)), port=port) if port < 65536 else _not_a_bind()
        except ValueError:
            pass
    return _not_a_bind()


def _not_a_bind() -> Bind:
    raise OptionError('expected "address:port", "[IPv6 address]:port" or "unix:/path"')


def _file_mode(value: Raw) -> int:
    if isinstance(value, str) and re.fullmatch(r"0?[0-7]{3}", value):
        return int(value, 8)
    raise OptionError('expected an octal mode such as "0660"')


BIND = Kind("bind address", parse_bind)
FILE_MODE = Kind("file mode", _file_mode)


@section("server.listener.<id>", "Where relayd listens, and what it offers there.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """`server.listener.<id>.*`"""

    bind: tuple[Bind, ...] = option(
        list_of(BIND),
        REQUIRED,
        'Addresses: "0.0.0.0:25", "[::]:25", "unix:/run/relayd/lmtp.sock".',
        example=["0.0.0.0:25", "[::]:25"],
    )
    protocol: str = option(
        choice("smtp", "lmtp", "http"), "smtp", "LMTP is refused on port 25; http is the control socket."
    )
    role: str = option(
        choice("mx", "submission", "submit"),
        "mx",
        "submission demands AUTH; submit is the socket of the local sendmail command (Unix sockets only).",
    )
    relay_networks: tuple[Network, ...] = option(
        NETWORKS, [], "Networks trusted on this listener, beside session.rcpt.relay-networks.", example=["10.0.0.0/8"]
    )
    max_connections: int = option(integer(1), 1000, "Connections at once.")
    max_connections_per_address: int = option(
        integer(1), 50, "Connections at once of one address (IPv6: of one /64); trusted networks do not count."
    )
    xclient: tuple[Network, ...] = option(NETWORKS, [], "Networks that may send XCLIENT.", example=["192.0.2.10"])
    tls_implicit: bool = option(BOOLEAN, False, "TLS from the first octet (port 465).", key="tls.implicit")
    proxy_protocol: tuple[Network, ...] = option(
        NETWORKS,
        [],
        "Load balancers. When given, each connection must come from one and start with a PROXY header, v1 or v2.",
        example=["192.0.2.20"],
    )
    trusted_proxies: tuple[Network, ...] = option(
        NETWORKS,
        [],
        'Proxies, ["192.0.2.30"], whose X-Forwarded-For and X-Forwarded-Proto are believed; where protocol is http.',
    )
    plain_credentials: bool = option(
        BOOLEAN, False, "Take credentials without TLS from other machines too (protocol http only)."
    )
    socket_mode: int = option(FILE_MODE, "0666", "Mode of a Unix socket, octal.")

    def __post_init__(self) -> None:
        if self.protocol == "lmtp" and any(each.port == 25 for each in self.bind):
            raise OptionError("bind: LMTP must not be spoken on port 25 (RFC 2033 §5)")
        if self.role == "submit" and not all(each.path for each in self.bind):
            raise OptionError('bind: expected "unix:/path" for role = "submit"')
        if self.protocol == "lmtp" and self.role != "mx":
            raise OptionError('role: expected "mx" where the protocol is lmtp')
        if self.protocol != "http":
            if self.trusted_proxies:
                raise OptionError("trusted-proxies: expected only where the protocol is http; smtp has proxy-protocol")
            if self.plain_credentials:
                raise OptionError("plain-credentials: expected only where the protocol is http")


@section("certificate.<id>", "Certificates of the listeners; the files are read again when they change.")
@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateOptions:
    """`certificate.<id>.*`"""

    cert: str = option(TEXT, REQUIRED, "PEM file: the certificate, then its chain.", example="/etc/relayd/mx.pem")
    private_key: str = option(TEXT, REQUIRED, "PEM file of the private key.", example="/etc/relayd/mx.key")
    default: bool = option(BOOLEAN, False, "Use this one when SNI names none of them.")


@section("session.timeout", "How long a session may take.")
@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutOptions:
    """`session.timeout.*`"""

    idle: float = option(DURATION, "5m", "Longest wait for the next command or the next octets (RFC 5321 §4.5.3.2.7).")
    total: float = option(DURATION, "6h", "Longest session.")
    tls_handshake: float = option(DURATION, "30s", "Longest TLS handshake.")
    proxy_header: float = option(DURATION, "10s", "Longest wait for the PROXY header.")
    data_grace: float = option(DURATION, "1m", "A message may take this long whatever its rate.")
    data_rate: int = option(
        SIZE, "256B", "Octets a second that a message must reach after the grace; 0 for no minimum."
    )


@section("session.limits", "How much nonsense a session may send.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorLimitOptions:
    """`session.limits.*`"""

    errors: int = option(
        integer(1), 20, "Bad commands and refused recipients of a stranger; then 421 and the connection is closed."
    )
    auth_failures: int = option(integer(1), 3, "Failed sign-ins; then 421 and the connection is closed.")


@section("session", "What applies to every session.")
@dataclass(frozen=True, slots=True, kw_only=True)
class PluginOptions:
    """`session.plugins`"""

    plugins: tuple[str, ...] = option(
        TEXTS,
        [],
        'Policy plug-ins, "module:Class", with aiosmtpd\'s handler interface; see conf/plugin_example.py.',
        example=["plugin_example:RefuseExecutables"],
    )
