"""What the built-in alerts look at, and how their mail gets into the queue."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from cryptography import x509

from relayd.assembly.engine import Engine
from relayd.assembly.own_mail import send_own
from relayd.directory import rows as principals
from relayd.events.event import Span
from relayd.listener.options import CertificateOptions
from relayd.mail.snowflake import issued_at, least_issued_at
from relayd.mailauth.signing_key import record_name
from relayd.options import format_duration, format_size
from relayd.queue.suspension import Subject, subject_of
from relayd.reception.rotation import unpublished
from relayd.telemetry.alert_mail import AlertMail
from relayd.telemetry.alerts import MOST_CAUSES, Alerts, Causes, Mail, Memory, Watch
from relayd.telemetry.metrics import Metrics
from relayd.telemetry.options import AlertOptions
from relayd.telemetry.refusal_wave import WINDOW, RefusalWave

FILE = "alerts.json"

_SELDOM = 5
"""How many times as long as `every` costly looks are apart."""

_DAY = 86400.0


def alerts(engine: Engine, metrics: Metrics, span: Span, directory: Path) -> Alerts:
    """The alerts of a running engine.  directory: where it is remembered what was told."""
    looks = _Looks(engine, metrics, span)
    return Alerts(Memory(directory / FILE), looks.watches, looks.mail, span, time.monotonic)


class _Looks:
    """Every watch."""

    def __init__(self, engine: Engine, metrics: Metrics, span: Span) -> None:
        self._engine = engine
        self._metrics = metrics
        self._span = span
        self._clock = span.stream.clock
        self._wave = RefusalWave()

    @property
    def _options(self) -> AlertOptions:
        return self._engine.loaded.config.section(AlertOptions)

    def watches(self) -> Sequence[Watch]:
        """Those that are in force."""
        options = self._options
        if not options.enable:
            return ()
        every = options.every
        return (
            Watch("oldest", "mail waits for long", every * _SELDOM, self._oldest),
            Watch("disk", "disk space", every, self._disk),
            Watch("certificate", "certificates", every * _SELDOM, self._certificates),
            Watch("dkim", "DKIM keys", every * _SELDOM * 2, self._keys, at_once=False),
            Watch("route", "suspended destinations", every, self._routes),
            Watch("account", "suspended and held accounts", every, self._accounts),
            Watch("refusals", "refused mail", every, self._refusals, remembers=WINDOW),
            Watch("audit", "the queue's audit", every * _SELDOM, self._audit),
        )

    def mail(self) -> Mail | None:
        """How the postmaster is told; None when there is nobody to tell."""
        postmaster = self._engine.loaded.policy.local_names.postmaster
        return partial(self._send, postmaster) if self._options.mail and postmaster else None

    async def _send(self, to: tuple[str, ...], subject: str, lines: Sequence[str]) -> None:
        hostname = self._engine.loaded.hostname

        def compose(message_id: str, now: float) -> bytes:
            mail = AlertMail(hostname=hostname, to=to, now=now, message_id=message_id, subject=subject, lines=lines)
            return mail.compose()

        await send_own(self._engine, self._span, to, compose)

    async def _oldest(self) -> Causes:
        now, limit = self._clock(), self._options.oldest
        found = await self._engine.opened.queue.oldest(least_issued_at(now - limit), MOST_CAUSES)
        wait = format_duration(limit)
        return {
            f"oldest:{destination}": f"mail for {destination} waits for more than {wait}; "
            f"the oldest message, {id}, for {_long(now - issued_at(id))}"
            for destination, id in found
        }

    async def _disk(self) -> Causes:
        space, config = self._engine.opened.space, self._engine.loaded.queue.space
        if space.free >= 2 * config.min_free:
            return {}
        what = "no mail is taken" if space.is_low else f"below {format_size(config.min_free)} no mail is taken"
        return {"disk:data": f"{format_size(space.free >> 20 << 20)} are free in {self._engine.loaded.data}: {what}"}

    async def _certificates(self) -> Causes:
        records = self._engine.loaded.config.records(CertificateOptions)
        return expiring(records, self._clock(), self._options.certificate)

    async def _keys(self) -> Causes:
        engine = self._engine
        found = {}
        for id in engine.signing.keyring.ids:
            if id in engine.signing.keyring.waiting:
                continue  # not in use yet: it waits for the DNS
            key, rule = engine.signing.keyring.known(id), engine.signing.keyring.rule(id)
            if key is not None and (reason := await unpublished(engine.resolver, rule, key)):
                found[f"dkim:{id}"] = f"the key of signature {id} ({record_name(rule.selector, rule.domain)}): {reason}"
        return found

    async def _routes(self) -> Causes:
        queue = self._engine.opened.queue
        found = {
            f"route:{each.destination}": f"delivery to {each.destination} is suspended by {each.by}: {each.reason}"
            for each in queue.suspensions()
            if subject_of(each.destination)[0] is not Subject.ACCOUNT
        }
        if queue.paused is not None:
            found["route:"] = f"the whole queue is paused by {queue.paused.by}: {queue.paused.reason}"
        return found

    async def _accounts(self) -> Causes:
        found = await self._engine.principals.read(lambda connection: principals.suspended(connection, MOST_CAUSES))
        held = {}
        for each in self._engine.opened.queue.suspensions():
            subject, name = subject_of(each.destination)
            if subject is Subject.ACCOUNT:
                held[f"account:held:{name}"] = f"mail of account {name} is held by {each.by}: {each.reason}"
        return held | {f"account:{name}": f"account {name} is suspended: {reason}" for name, reason in found}

    async def _refusals(self) -> Causes:
        options = self._options
        found = self._wave.look(
            self._metrics.deliveries, time.monotonic(), least=options.refusals, share=options.refused_share / 100
        )
        return {f"refusals:{provider}": text for provider, text in found.items()}

    async def _audit(self) -> Causes:
        difference = (await self._engine.opened.queue.audit()).difference
        if not difference:
            return {}
        return {"audit:queue": f"{difference} recipients are not accounted for: `relayd queue audit` says more"}


def expiring(records: Mapping[str, CertificateOptions], now: float, within: float) -> dict[str, str]:
    """What is wrong with certificates whose time is up within so many seconds, or that cannot be read."""
    found = {}
    for id, options in records.items():
        try:
            leaf = x509.load_pem_x509_certificates(Path(options.cert).read_bytes())[0]
        except (OSError, ValueError) as error:
            found[f"certificate:{id}"] = f"certificate {id} cannot be read: {error}"
            continue
        left = leaf.not_valid_after_utc.timestamp() - now
        if left < within:
            day = leaf.not_valid_after_utc.date()
            when = f"expires on {day}, in {left / _DAY:.0f} days" if left > 0 else f"expired on {day}"
            found[f"certificate:{id}"] = f"certificate {id} {when}"
    return found


def _long(seconds: float) -> str:
    return f"{seconds / 3600:.0f} hours" if seconds >= 2 * 3600 else f"{seconds / 60:.0f} minutes"
