"""What would become of an envelope, tried without taking any mail: for troubleshooting by an operator.

A Reception of its own walks it up to RCPT: the same rules as in a session of a local user, but nothing is queued, no
next hop is probed, and what would have been logged comes back as steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from relayd.events import smtp
from relayd.events.event import Event, EventStream, Span
from relayd.mail.address import split_address
from relayd.mail.reply import Reply
from relayd.mailauth.dkim_sign import signers
from relayd.reception.client import Client
from relayd.reception.policy import Policy
from relayd.reception.receive import Parts, Reception
from relayd.smtp.command import MailCommand, RcptCommand
from relayd.telemetry.render import own_fields


class Signer(msgspec.Struct, frozen=True, kw_only=True):
    """A signature that the message would get.  id: of its settings.  problem: why its key cannot be read, or ""."""

    id: str
    domain: str
    selector: str
    problem: str


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """What RCPT would come to for a local user.

    reply: to the command that decided.  recipients: whom the message would be queued for.  return_path: as rules made
    it.  held: why it would wait for an operator.  steps: what rules did and why, in order.  signers: of a message whose
    From is the sender's address.
    """

    accepted: bool
    reply: str
    return_path: str
    recipients: tuple[str, ...]
    held: str | None
    steps: tuple[str, ...]
    signers: tuple[Signer, ...] = ()


class Trials:
    """Tries envelopes.  parts: of the Reception in force; policy: the one in force."""

    def __init__(self, parts: Parts, policy: Callable[[], Policy]) -> None:
        self._parts = replace(parts, prober=_Unasked())
        self._policy = policy

    async def rcpt(self, to: str, sender: str) -> Trial:
        """A message from `sender` ("": the null return path) to one recipient, both valid addresses or bare names."""
        told: list[Event] = []
        span = Span(EventStream(self._parts.clock, [told.append]))
        policy = self._policy()
        reception = Reception(policy, self._parts)
        client = Client(span=span, session_id=0, listener="submit", role="submit", helo=policy.hostname, trusted=True)
        smtputf8 = not (to + sender).isascii()
        try:
            tx = await reception.mail(client, MailCommand(return_path=sender, smtputf8=smtputf8))
            if isinstance(tx, Reply):
                return Trial(
                    accepted=False, reply=str(tx), return_path=sender, recipients=(), held=None, steps=_steps(told)
                )
            reply = await reception.rcpt(tx, RcptCommand(address=to))
            reception.abort(tx)
        finally:
            await reception.close()
        return Trial(
            accepted=reply.is_positive,
            reply=str(reply),
            return_path=tx.return_path,
            recipients=tuple(each.address for each in tx.recipients),
            held=tx.held,
            steps=_steps(told),
            signers=self._signers(sender, tx.return_path),
        )

    def _signers(self, author: str, return_path: str) -> tuple[Signer, ...]:
        keyring = self._parts.signing.keyring
        rules = signers(split_address(author)[1], return_path, None, keyring.rules)
        return tuple(
            Signer(id=rule.id, domain=rule.domain, selector=rule.selector, problem=keyring.problems.get(rule.id, ""))
            for rule in rules
        )


class _Unasked:
    """In place of the prober: no peer is bothered."""

    async def probe(self, address: str) -> Reply | None:
        """Nobody was asked."""
        return None


_USUAL = (smtp.MAIL_FROM, smtp.RCPT_TO)
"""What happens to every envelope that is taken."""


def _steps(events: list[Event]) -> tuple[str, ...]:
    stated = (each for each in events if each.kind not in _USUAL)
    return tuple(f"{each.kind.text} ({each.kind.id}) {', '.join(own_fields(each))}".rstrip() for each in stated)
