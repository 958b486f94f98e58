"""The stages of a rehearsed delivery, as operation 26 tells of them: `type` in camel case, other fields in snake case.

Nearly every step has three: Start, Success and Error.  elapsed: whole milliseconds of the step.  reason: why it failed.
"""

from __future__ import annotations

import msgspec


def _camel(name: str) -> str:
    return name[0].lower() + name[1:]


class Stage(msgspec.Struct, frozen=True, tag_field="type", tag=_camel):
    """One stage."""

    @property
    def type(self) -> str:
        """Its name on the wire."""
        return str(self.__struct_config__.tag)


class Timed(Stage, frozen=True):
    """A step is over."""

    elapsed: int


class Failed(Stage, frozen=True):
    """A step failed."""

    reason: str
    elapsed: int


class Exchanges(msgspec.Struct, frozen=True):
    """The hosts of one preference."""

    exchanges: tuple[str, ...]
    preference: int


class MxLookupStart(Stage, frozen=True):
    """The hosts of the domain are asked for; of a route, whose host is given, they are told at once."""

    domain: str


class MxLookupSuccess(Stage, frozen=True):
    """mxs: none where the domain has no MX record; then it is tried itself."""

    mxs: tuple[Exchanges, ...]
    elapsed: int


class MxLookupError(Failed, frozen=True):
    """Also a null MX."""


class Equals(msgspec.Struct, frozen=True):
    """A host that an MTA-STS policy names."""

    equals: str


class StartsWith(msgspec.Struct, frozen=True, rename="camel"):
    """What stands behind the "*" of a pattern."""

    starts_with: str


class StsPolicy(msgspec.Struct, frozen=True):
    """An MTA-STS policy.  max_age: seconds."""

    id: str
    mode: str
    mx: tuple[Equals | StartsWith, ...]
    max_age: int


class MtaStsFetchStart(Stage, frozen=True):
    """The domain's MTA-STS policy is asked for."""


class MtaStsFetchSuccess(Stage, frozen=True):
    """There is one."""

    policy: StsPolicy
    elapsed: int


class MtaStsFetchError(Failed, frozen=True):
    """Whether there is one is unknown, or it cannot be had."""


class MtaStsNotFound(Timed, frozen=True):
    """There is none."""


class MailUri(msgspec.Struct, frozen=True, tag_field="type", tag="mail"):
    """Reports go to an address."""

    email: str


class HttpUri(msgspec.Struct, frozen=True, tag_field="type", tag="http"):
    """Reports go to a web server."""

    url: str


class TlsRptLookupStart(Stage, frozen=True):
    """The domain's TLS reporting record is asked for."""


class TlsRptLookupSuccess(Stage, frozen=True):
    """Whom it names."""

    rua: tuple[MailUri | HttpUri, ...]
    elapsed: int


class TlsRptLookupError(Failed, frozen=True):
    """It cannot be had, or read."""


class TlsRptNotFound(Timed, frozen=True):
    """There is none."""


class DeliveryAttemptStart(Stage, frozen=True):
    """A host is tried."""

    hostname: str


class MtaStsVerifySuccess(Stage, frozen=True):
    """The policy names the host."""


class MtaStsVerifyError(Stage, frozen=True):
    """It does not."""

    reason: str


class TlsaEntry(msgspec.Struct, frozen=True):
    """A TLSA record.  data: octets as numbers."""

    is_end_entity: bool
    is_sha256: bool
    is_spki: bool
    data: tuple[int, ...]


class TlsaSet(msgspec.Struct, frozen=True):
    """The usable TLSA records of a host."""

    entries: tuple[TlsaEntry, ...]
    has_end_entities: bool
    has_intermediates: bool


class TlsaLookupStart(Stage, frozen=True):
    """The host's TLSA records are asked for."""


class TlsaLookupSuccess(Stage, frozen=True):
    """They are there, signed and usable."""

    record: TlsaSet
    elapsed: int


class TlsaNotFound(Stage, frozen=True):
    """There are none that count."""

    elapsed: int
    reason: str


class TlsaLookupError(Stage, frozen=True):
    """They cannot be had, or none is usable."""

    elapsed: int
    reason: str


class IpLookupStart(Stage, frozen=True):
    """The host's addresses are asked for."""


class IpLookupSuccess(Stage, frozen=True):
    """In the order in which they are tried."""

    remote_ips: tuple[str, ...]
    elapsed: int


class IpLookupError(Failed, frozen=True):
    """There are none."""


class ConnectionStart(Stage, frozen=True):
    """An address is connected to."""

    remote_ip: str


class ConnectionSuccess(Timed, frozen=True):
    """The connection is there."""


class ConnectionFailure(Stage, frozen=True, tag="connectionError"):
    """It is not."""

    elapsed: int
    reason: str


class ReadGreetingStart(Stage, frozen=True):
    """The host has to greet."""


class ReadGreetingSuccess(Timed, frozen=True):
    """It did."""


class ReadGreetingError(Stage, frozen=True):
    """It did not, or refused us."""

    elapsed: int
    reason: str


class EhloStart(Stage, frozen=True):
    """EHLO; again once TLS is active."""


class EhloSuccess(Timed, frozen=True):
    """It was taken."""


class EhloError(Stage, frozen=True):
    """It was not."""

    elapsed: int
    reason: str


class StartTlsStart(Stage, frozen=True):
    """STARTTLS."""


class StartTlsSuccess(Timed, frozen=True):
    """TLS is active."""


class StartTlsError(Stage, frozen=True):
    """It is not: not offered, refused, or the certificate is not what is demanded."""

    elapsed: int
    reason: str


class DaneVerifySuccess(Stage, frozen=True):
    """A TLSA record fits the certificate."""


class DaneVerifyError(Stage, frozen=True):
    """None does."""

    reason: str


class MailFromStart(Stage, frozen=True):
    """MAIL FROM:<>."""


class MailFromSuccess(Timed, frozen=True):
    """It was taken."""


class MailFromError(Failed, frozen=True):
    """It was not, or we may not even sign in."""


class RcptToStart(Stage, frozen=True):
    """RCPT."""


class RcptToSuccess(Timed, frozen=True):
    """The recipient would be taken."""


class RcptToError(Failed, frozen=True):
    """It would not."""


class QuitStart(Stage, frozen=True):
    """QUIT; nothing was sent."""


class QuitCompleted(Timed, frozen=True):
    """The host said goodbye."""


class Completed(Stage, frozen=True):
    """Always the last."""
