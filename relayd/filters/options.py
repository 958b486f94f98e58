"""Options of outside filters: `filter.*`, `milter.*`, `session.data.scan.*`."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.filters.endpoint import ENDPOINT, Endpoint
from relayd.filters.peer_tls import PeerTls
from relayd.options import BOOLEAN, DURATION, REQUIRED, SIZE, TEXT, TEXTS, choice, integer, option, section

_ON_FAILURE = "What becomes of a message when it gives no answer: taken all the same, or answered 451."
_TLS = "Speak TLS from the first octet; over TCP alone."
_INVALID = "Connect although its certificate is not valid, or of another name."
_AUTHORITIES = "PEM files of authorities trusted beside the system's."
_SESSIONS = choice("all", "strangers", "trusted")
_SESSIONS_DOC = "Whose mail: that of strangers, of trusted sessions, or of all."


@section("session.data.scan", "Outside filters together; the sending host waits for them at the end of data.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ScanOptions:
    """`session.data.scan.*`"""

    timeout: float = option(
        DURATION, "2m", "How long all filters together may take of a message; what has not answered then has failed."
    )


@section("filter.<id>", "Outside scanners, all asked side by side: ClamAV, SpamAssassin, rspamd.")
@dataclass(frozen=True, slots=True, kw_only=True)
class FilterOptions:
    """`filter.<id>.*`"""

    type: str = option(choice("clamd", "spamd", "rspamd"), REQUIRED, "Which protocol it speaks.", example="clamd")
    address: Endpoint = option(
        ENDPOINT, REQUIRED, 'A Unix socket "unix:/path" or "host:port".', example="unix:/run/clamav/clamd.ctl"
    )
    enabled: bool = option(BOOLEAN, True, "Whether it is asked.")
    sessions: str = option(_SESSIONS, "all", _SESSIONS_DOC)
    action: str | None = option(
        choice("tag", "hold", "reject", "discard"),
        None,
        "What becomes of a message with a virus, or that it calls spam. Not set: viruses are rejected, spam is tagged.",
        example="hold",
    )
    on_failure: str = option(choice("accept", "tempfail"), "tempfail", _ON_FAILURE)
    timeout: float = option(DURATION, "30s", "How long it may take of a message, waiting for its turn included.")
    max_size: int | None = option(
        SIZE,
        None,
        "Larger messages are not given to it. Not set: 25MB, for spamd 500KB as its own client has it, for it takes "
        "minutes for megabytes and keeps other mail waiting.",
        example="25MB",
    )
    concurrency: int = option(integer(1, 1000), 10, "Messages given to it at once.")
    breaker_failures: int = option(
        integer(0), 5, "After so many failures in a row it is not asked for a while; 0: never.", key="breaker.failures"
    )
    breaker_pause: float = option(DURATION, "30s", "For how long.", key="breaker.pause")
    tls_enable: bool = option(BOOLEAN, False, _TLS, key="tls.enable")
    tls_allow_invalid: bool = option(BOOLEAN, False, _INVALID, key="tls.allow-invalid-certs")
    tls_ca_files: tuple[str, ...] = option(TEXTS, [], _AUTHORITIES, key="tls.ca-files", example=["/etc/relayd/ca.pem"])
    user: str = option(TEXT, "", "spamd: whose preferences are used.", example="nobody")
    password: str | None = option(TEXT, None, "rspamd: what its controller asks for.", secret=True)

    @property
    def tls(self) -> PeerTls | None:
        """How TLS is spoken to it; None: not at all."""
        return PeerTls(self.tls_allow_invalid, self.tls_ca_files) if self.tls_enable else None

    @property
    def largest(self) -> int:
        """Octets of the largest message that it is given."""
        if self.max_size is not None:
            return self.max_size
        return 500 << 10 if self.type == "spamd" else 25 << 20


@section("milter.<id>", "Milters, asked one after the other at each stage of a session.")
@dataclass(frozen=True, slots=True, kw_only=True)
class MilterOptions:
    """`milter.<id>.*`"""

    address: Endpoint = option(
        ENDPOINT,
        REQUIRED,
        '"unix:/path" or "host:port"; "local:/path" and "inet:port@host" are understood too.',
        example="unix:/run/opendkim/opendkim.sock",
    )
    enabled: bool = option(BOOLEAN, True, "Whether it is asked.")
    order: int = option(integer(), 0, "Those with a lower number are asked first; equal ones by id.")
    sessions: str = option(_SESSIONS, "all", _SESSIONS_DOC)
    listeners: tuple[str, ...] = option(TEXTS, [], "Ids of listeners it is for; none named: for all.")
    on_failure: str = option(choice("accept", "tempfail"), "tempfail", _ON_FAILURE)
    connect_timeout: float = option(DURATION, "10s", "For connecting and negotiating.", key="timeout.connect")
    command_timeout: float = option(DURATION, "30s", "For each answer before the content.", key="timeout.command")
    content_timeout: float = option(
        DURATION, "90s", "For each answer about the content; a milter that reports progress gets more.",
        key="timeout.content",
    )  # fmt: skip
    max_size: int = option(SIZE, "100MB", "Of larger messages it sees the envelope alone.")
    breaker_failures: int = option(
        integer(0), 5, "After so many failures in a row it is not asked for a while; 0: never.", key="breaker.failures"
    )
    breaker_pause: float = option(DURATION, "30s", "For how long.", key="breaker.pause")
    tls_enable: bool = option(BOOLEAN, False, _TLS, key="tls.enable")
    tls_allow_invalid: bool = option(BOOLEAN, False, _INVALID, key="tls.allow-invalid-certs")
    tls_ca_files: tuple[str, ...] = option(TEXTS, [], _AUTHORITIES, key="tls.ca-files", example=["/etc/relayd/ca.pem"])

    @property
    def tls(self) -> PeerTls | None:
        """How TLS is spoken to it; None: not at all."""
        return PeerTls(self.tls_allow_invalid, self.tls_ca_files) if self.tls_enable else None
