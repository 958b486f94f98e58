"""The access table: rules that refuse, hold or redirect, looked at as soon as their conditions can be known.

A rule belongs to the first stage at which all of its conditions are known: listener and client at the connection, the
name at EHLO, sender and account at MAIL, the recipient at RCPT; hold and redirect speak of a message and so wait for
MAIL.  At each stage the first rule that matches is applied and the rest of that stage is not looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from relayd.mail.pattern import Addresses, Names
from relayd.mail.reply import Reply
from relayd.options import Network, OptionError
from relayd.reception.client import Client
from relayd.reception.local_names import addresses
from relayd.reception.options import AccessOptions


class Stage(IntEnum):
    """Steps of a session, in their order."""

    CONNECT = 0
    EHLO = 1
    MAIL = 2
    RCPT = 3


class _Matching(Protocol):
    """The conditions that access and rewriting rules share."""

    @property
    def client(self) -> tuple[Network, ...]: ...
    @property
    def ehlo(self) -> tuple[str, ...]: ...
    @property
    def sender(self) -> tuple[str, ...]: ...
    @property
    def recipient(self) -> tuple[str, ...]: ...
    @property
    def account(self) -> tuple[str, ...]: ...
    @property
    def listener(self) -> tuple[str, ...]: ...


class Conditions:
    """What must hold for a rule: every kind that is given, by any of its values."""

    __slots__ = ("_account", "_client", "_ehlo", "_listener", "_recipient", "sender", "stage")

    def __init__(self, options: _Matching) -> None:
        self._client = options.client
        self._ehlo = Names(options.ehlo) if options.ehlo else None
        self.sender = Addresses(options.sender) if options.sender else None
        self._recipient = Addresses(options.recipient) if options.recipient else None
        self._account = Names(options.account) if options.account else None
        self._listener = Names(options.listener) if options.listener else None
        self.stage = Stage.CONNECT
        if self._recipient:
            self.stage = Stage.RCPT
        elif self.sender or self._account:
            self.stage = Stage.MAIL
        elif self._ehlo:
            self.stage = Stage.EHLO

    @property
    def needs_recipient(self) -> bool:
        """Whether a recipient is among the conditions."""
        return self._recipient is not None

    def match_recipient(self, recipient: str) -> bool:
        """Whether the condition on the recipient, if there is one, holds."""
        return self._recipient is None or self._recipient.matches(recipient)

    def match_session(self, client: Client, sender: str) -> bool:
        """Whether everything but the recipient holds; what is not known yet must not be asked for."""
        if self._listener is not None and not self._listener.matches(client.listener):
            return False
        if self._client and (client.address is None or not any(client.address in each for each in self._client)):
            return False
        if self._ehlo is not None and not self._ehlo.matches(client.helo):
            return False
        if self._account is not None and (client.account is None or not self._account.matches(client.account)):
            return False
        return self.sender is None or self.sender.matches(sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, ready to be applied.  reply: of reject and defer.  to: of redirect."""

    id: str
    action: str
    conditions: Conditions
    reply: Reply
    to: tuple[str, ...]
    reason: str


class AccessTable:
    """The rules of each stage, in their order.  origin: qualifies bare names that redirect sends to."""

    def __init__(self, records: Mapping[str, AccessOptions], origin: str) -> None:
        stages: dict[Stage, list[Rule]] = {stage: [] for stage in Stage}
        for id, options in sorted(records.items(), key=lambda item: (item[1].order, item[0])):
            conditions = Conditions(options)
            stage = conditions.stage
            if options.action in ("hold", "redirect"):
                stage = max(stage, Stage.MAIL)
            stages[stage].append(_rule(id, options, conditions, origin))
        self.connect = tuple(stages[Stage.CONNECT])
        self.ehlo = tuple(stages[Stage.EHLO])
        self.mail = tuple(stages[Stage.MAIL])
        self.rcpt = tuple(stages[Stage.RCPT])


def first_match(rules: tuple[Rule, ...], client: Client, sender: str = "", recipient: str = "") -> Rule | None:
    """The first rule of a stage that matches."""
    for rule in rules:
        if rule.conditions.match_session(client, sender) and rule.conditions.match_recipient(recipient):
            return rule
    return None


def _rule(id: str, options: AccessOptions, conditions: Conditions, origin: str) -> Rule:
    severity = 4 if options.action == "defer" else 5
    code = options.code or (450 if severity == 4 else 550)
    if options.action in ("reject", "defer") and code // 100 != severity:
        raise OptionError(f'access.{id}.code: expected {severity}00 to {severity}99 with action = "{options.action}"')
    if options.action == "redirect" and not options.to:
        raise OptionError(f'access.{id}.to: expected addresses: action = "redirect" and none is given')
    text = options.text or ("Try again later" if severity == 4 else "Refused by the access rules of this host")
    return Rule(
        id=id,
        action=options.action,
        conditions=conditions,
        reply=Reply(code, f"{severity}.7.1", text),
        to=addresses(options.to, origin, f"access.{id}.to"),
        reason=options.text or f"access rule {id}",
    )
