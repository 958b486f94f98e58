"""Options of the control socket: `server.http.*`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from relayd.options import (
    BOOLEAN,
    DURATION,
    NETWORKS,
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
from relayd.reputation.rate import RATE, Rate

NATIVE = "native"
BRAINYCP = "brainycp"
DIRECTMAIL = "directmail"
DIALECTS = (NATIVE, BRAINYCP, DIRECTMAIL)
"""The ways in which the control socket can be spoken to."""

_OURS = frozenset({"content-length", "content-type", "transfer-encoding", "connection", "date", "x-request-id"})


def _parse_header(value: Raw) -> tuple[str, str]:
    """ "Name: value", as RFC 9110 section 5 has it; OptionError."""
    name, colon, text = value.partition(":") if isinstance(value, str) else ("", "", "")
    name, text = name.strip(), text.strip(" ")
    if colon and re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", name) and re.fullmatch(r"[\t -~]*", text):
        if name.lower() in _OURS:
            raise OptionError(f'expected another header than "{name}", which is set by relayd')
        return name, text
    raise OptionError('expected a header such as "Referrer-Policy: no-referrer"')


HEADERS = list_of(Kind("header", _parse_header))


@section("server.http", "The control socket: listeners with protocol http, and <data-dir>/control.sock.")
@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """`server.http.*`"""

    idle_timeout: float = option(
        DURATION, "30s", "A connection without a request in work is closed after this time, however it dawdles."
    )
    body_timeout: float = option(DURATION, "30s", "The body of a request must arrive within this time.")
    max_body: int = option(SIZE, "1MB", "The largest body of a request.")
    max_connections: int = option(
        integer(1, 100_000),
        256,
        "Over this many connections, those that were longest without a request in work are closed; at four times as "
        "many, new ones are not taken.",
    )
    max_concurrent: int = option(integer(1, 10_000), 4, "Requests of one account at once; open streams do not count.")
    max_streams: int = option(integer(1, 10_000), 100, "Open streams at once.")
    max_streams_per_account: int = option(integer(1, 10_000), 10, "Open streams of one account at once.")
    rate_limit_account: Rate | None = option(
        RATE, "1000/1m", 'Requests of one account; "none": no limit.', key="rate-limit.account"
    )
    rate_limit_anonymous: Rate | None = option(
        RATE,
        "100/1m",
        "Requests without credentials, or with a token not seen before, of one address (IPv6: of one /64).",
        key="rate-limit.anonymous",
    )
    exempt_networks: tuple[Network, ...] = option(
        NETWORKS,
        [],
        "Networks without limits of rate and number, as this machine itself is (a request that a proxy forwarded is "
        "not of this machine).",
        example=["10.0.0.0/8"],
    )
    hosts: tuple[str, ...] = option(
        TEXTS,
        [],
        "Names in the Host header that are ours, beside server.hostname, localhost and the listener's addresses; "
        "requests for others are refused, so that no web page can reach us by a name of its own.",
        example=["relay.example.org"],
    )
    permissive_cors: bool = option(
        BOOLEAN, False, "Let web pages of any origin call the API (with credentials of theirs)."
    )
    hsts: bool = option(
        BOOLEAN, False, "Tell browsers to come by TLS only (Strict-Transport-Security), where they did."
    )
    headers: tuple[tuple[str, str], ...] = option(
        HEADERS, [], "Headers of every answer.", example=["Referrer-Policy: no-referrer"]
    )
    dialects: tuple[str, ...] = option(
        list_of(choice(*DIALECTS)),
        list(DIALECTS),
        "The dialects spoken: native (/api, /auth), brainycp (/api/api.php) and directmail (/, with an Action). The "
        "control Unix socket always speaks the native one, for the commands need it.",
    )


@section("authentication.fallback-admin", "The administrator that always works. Taken from the file alone.")
@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackAdminOptions:
    """`authentication.fallback-admin.*`"""

    user: str | None = option(TEXT, None, "Name to sign in with.", example="admin")
    secret: str | None = option(
        TEXT,
        None,
        "Password: a hash (`relayd account hash` makes one; $y$, $6$, $2b$, {SSHA} and others do too), or plain text; "
        "%{env:NAME}% or %{file:PATH}% where either stands.",
        secret=True,
        example="%{env:RELAYD_ADMIN_SECRET}%",
    )
