"""The PROXY protocol's header, versions 1 and 2 (haproxy.org, proxy-protocol.txt)."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_V1_MAX = 107
_V2_MAX = 4096
_PORT = re.compile(r"0|[1-9][0-9]{0,4}", re.A)


class ProxyError(Exception):
    """The connection does not begin with a PROXY header that is valid."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Who connected to the proxy.

    local: the proxy speaks for itself (a health check).  source, destination: IP addresses as text, IPv4-mapped IPv6
    as IPv4; None when the proxy does not say.
    """

    local: bool
    source: str | None = None
    source_port: int = 0
    destination: str | None = None
    destination_port: int = 0


def parse_proxy(buffer: bytes) -> tuple[ProxyHeader, int] | None:
    """(header, octets it takes) from the first octets of a connection; None: more are needed.  ProxyError."""
    if buffer[:12] == _SIGNATURE[: len(buffer)]:
        return _version_2(buffer)
    if buffer[:6] == b"PROXY "[: len(buffer)]:
        return _version_1(buffer)
    raise ProxyError("no PROXY header")


def _version_1(buffer: bytes) -> tuple[ProxyHeader, int] | None:
    end = buffer.find(b"\r\n", 0, _V1_MAX)
    if end < 0:
        if len(buffer) >= _V1_MAX:
            raise ProxyError("PROXY header is too long")
        return None
    try:
        words = buffer[:end].decode("ascii").split(" ")
    except UnicodeDecodeError as error:
        raise ProxyError("PROXY header is not ASCII") from error
    if words[1] == "UNKNOWN":
        return ProxyHeader(False), end + 2
    if len(words) != 6 or words[1] not in ("TCP4", "TCP6"):
        raise ProxyError("PROXY header is malformed")
    family = ipaddress.IPv4Address if words[1] == "TCP4" else ipaddress.IPv6Address
    try:
        source, destination = _text(family(words[2])), _text(family(words[3]))
    except ValueError as error:
        raise ProxyError("PROXY header holds a bad address") from error
    return ProxyHeader(False, source, _port(words[4]), destination, _port(words[5])), end + 2


def _port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ProxyError("PROXY header holds a bad port")
    return int(text)


def _version_2(buffer: bytes) -> tuple[ProxyHeader, int] | None:
    if len(buffer) >= 13 and (buffer[12] >> 4 != 2 or buffer[12] & 15 > 1):
        raise ProxyError("PROXY header has an unknown version or command")
    if len(buffer) < 16:
        return None
    used = 16 + int.from_bytes(buffer[14:16], "big")
    if used > _V2_MAX:
        raise ProxyError("PROXY header is too long")
    if len(buffer) < used:
        return None
    if buffer[12] & 15 == 0:
        return ProxyHeader(True), used
    kind, body = buffer[13], buffer[16:used]
    size = {0x11: 4, 0x21: 16}.get(kind)  # TCP over IPv4, over IPv6
    if size is None:
        if kind >> 4 > 3 or kind & 15 > 2:
            raise ProxyError("PROXY header has an unknown address family")
        return ProxyHeader(False), used
    if len(body) < 2 * size + 4:
        raise ProxyError("PROXY header is malformed")
    source, destination = (_text(ipaddress.ip_address(body[at : at + size])) for at in (0, size))
    ports = body[2 * size : 2 * size + 4]
    return (
        ProxyHeader(False, source, int.from_bytes(ports[:2], "big"), destination, int.from_bytes(ports[2:], "big")),
        used,
    )


def _text(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
