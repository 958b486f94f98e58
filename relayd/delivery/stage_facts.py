"""How what a rehearsal finds becomes stages: steps of a connection, policies, records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

from relayd.delivery import stages
from relayd.delivery.endpoint import Step
from relayd.delivery.host_policy import HostPolicy
from relayd.delivery.stages import Stage
from relayd.resolver.answer import Tlsa
from relayd.routing.dane import usable, verify
from relayd.routing.mta_sts import Kept
from relayd.routing.tls_report import Record

_STEPS: dict[Step, tuple[Callable[[], Stage] | None, Callable[[int], Stage], Callable[[int, str], Stage]]] = {
    Step.CONNECT: (None, stages.ConnectionSuccess, stages.ConnectionFailure),
    Step.GREETING: (stages.ReadGreetingStart, stages.ReadGreetingSuccess, stages.ReadGreetingError),
    Step.EHLO: (stages.EhloStart, stages.EhloSuccess, stages.EhloError),
    Step.STARTTLS: (stages.StartTlsStart, stages.StartTlsSuccess, stages.StartTlsError),
}


class StageWatch:
    """Tells the stages of a connection that is set up.  failed: one of them has."""

    def __init__(self, tell: Callable[[Stage], None], policy: HostPolicy) -> None:
        self._tell = tell
        self._policy = policy
        self.failed = False

    def began(self, step: Step) -> None:
        start = _STEPS[step][0]
        if start is not None:
            self._tell(start())

    def ended(self, step: Step, seconds: float, reason: str = "") -> None:
        _, success, error = _STEPS[step]
        elapsed = round(seconds * 1000)
        self.failed = bool(reason)
        self._tell(error(elapsed, reason) if reason else success(elapsed))

    def showed(self, chain: Sequence[bytes]) -> None:
        if not self._policy.tls.tlsa:
            return
        found = verify(self._policy.tls.tlsa, chain, self._policy.names, time.time())
        if found.record is None:
            self._tell(stages.DaneVerifyError(found.reason))
        else:
            self._tell(stages.DaneVerifySuccess())


def shown_policy(kept: Kept) -> stages.StsPolicy:
    policy = kept.policy
    patterns = tuple(
        stages.StartsWith(each[2:]) if each.startswith("*.") else stages.Equals(each) for each in policy.mx
    )
    return stages.StsPolicy(kept.id, policy.mode.value, patterns, policy.max_age)


def uris(record: Record) -> Iterator[stages.MailUri | stages.HttpUri]:
    for uri in record.usable:
        scheme, _, rest = uri.partition(":")
        yield stages.MailUri(rest) if scheme.lower() == "mailto" else stages.HttpUri(uri)


def shown_records(records: Sequence[Tlsa]) -> tuple[stages.TlsaEntry, ...]:
    """The usable ones of a host's TLSA records."""
    return tuple(
        stages.TlsaEntry(
            is_end_entity=each.usage == _END_ENTITY,
            is_sha256=each.matching == _SHA256,
            is_spki=each.selector == _KEY,
            data=tuple(each.data),
        )
        for each in usable(records)
    )


_END_ENTITY = 3
_SHA256 = 1
_KEY = 1
