"""Options of where mail goes: `queue.outbound.*` and `queue.route.<id>.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import BOOLEAN, PORT, REQUIRED, TEXT, TEXTS, choice, option, section


@section("queue.outbound", "Where mail goes that no route or domain names, and what may be connected to.")
@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundOptions:
    """`queue.outbound.*`"""

    next_hop: str = option(TEXT, "mx", '"mx" (the hosts that the DNS names) or the id of a route.', example="smarthost")
    port: int = option(PORT, 25, "Port for direct delivery to MX hosts.")
    allow_private: bool = option(
        BOOLEAN, False, "Deliver to MX hosts on private or loopback addresses. Routes always may."
    )
    ca_files: tuple[str, ...] = option(
        TEXTS, [], "PEM files of authorities trusted beside the system's.", key="tls.ca-files"
    )


@section("queue.outbound.domain.<id>", "Recipient domains with a next hop of their own.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DomainOptions:
    """`queue.outbound.domain.<domain>`"""

    next_hop: str = option(TEXT, REQUIRED, '"mx" or the id of a route, for this domain.', key="", example="smarthost")


@section("queue.route.<id>", "Smarthosts and LMTP servers that mail may be handed to.")
@dataclass(frozen=True, slots=True, kw_only=True)
class RouteOptions:
    """`queue.route.<id>.*`"""

    address: str = option(
        TEXT, REQUIRED, 'Host name, IP address or "unix:/path" of the next hop.', example="smtp.example.net"
    )
    port: int | None = option(
        PORT, None, "Default: 25; 465 with tls.implicit; 587 with auth; 24 for lmtp.", example=587
    )
    protocol: str = option(choice("smtp", "lmtp"), "smtp", "How the next hop is spoken to.")
    use_mx: bool = option(BOOLEAN, False, "Ask for the MX records of the address, not for its own.")
    tls_mode: str | None = option(
        choice("none", "opportunistic", "required", "verified"),
        None,
        'Default: "opportunistic", "verified" with auth (and auth allows nothing less).',
        key="tls.mode",
        example="verified",
    )
    tls_implicit: bool = option(BOOLEAN, False, "TLS from the first octet (port 465).", key="tls.implicit")
    tls_ca_files: tuple[str, ...] = option(
        TEXTS, [], "PEM files of authorities trusted for this route beside the others.", key="tls.ca-files"
    )
    username: str | None = option(TEXT, None, "Name to sign in with.", key="auth.username", example="relay")
    secret: str | None = option(
        TEXT, None, "Password to sign in with.", key="auth.secret", secret=True, example="%{env:RELAY_PASSWORD}%"
    )
    send_8bit_anyway: bool = option(
        BOOLEAN, False, "Send 8-bit bodies as they are, also when the next hop does not offer 8BITMIME."
    )
