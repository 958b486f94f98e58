"""The shape of a queued message (operations 11 and 42).

The rows are of recipients; the API groups them by domain.  What a domain shows follows from its recipients: it waits
while one of them does, has failed when none was delivered, and its next retry is the earliest of those that wait.  One
whose last recipients were cancelled is completed.  A domain's text names the host whose reply it is, a recipient's is
the reply alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from relayd.mail.envelope import domain_of
from relayd.mail.xtext import XtextError, decode_xtext
from relayd.queue.message import Deletion, Hold, Message, Recipient, State
from relayd.queue.rows import CANCELED
from relayd.routing.next_hop import MessageTls
from relayd.telemetry.render import rfc3339

_HOST = re.compile(r"^Unexpected response from '[^']*': (?=Code: )")


class Outcome(TypedDict, total=False):
    """Exactly one of these, with the text of what happened; what is only waiting is the word "scheduled" instead."""

    completed: str
    temp_fail: str
    perm_fail: str


_RecipientValue = TypedDict("_RecipientValue", {"class": NotRequired[str]})
"""The name of the field is a word of the language."""


class RecipientValue(_RecipientValue):
    """A recipient.  orcpt: omitted when none was given.  maybe_delivered: when a copy may have arrived unanswered.

    class, rule: what its last failure means, and the rule of bounces that says so; omitted without one.
    """

    address: str
    status: str | Outcome
    orcpt: NotRequired[str]
    maybe_delivered: NotRequired[str]
    rule: NotRequired[str]


class DomainValue(TypedDict):
    """The recipients of one domain.  next_retry: null when nobody waits; next_notify: null when no notice comes."""

    name: str
    status: str | Outcome
    recipients: list[RecipientValue]
    retry_num: int
    next_retry: str | None
    next_notify: str | None
    expires: str


class HoldValue(TypedDict):
    """Who holds a message, since when and why."""

    since: str
    by: str
    reason: str


class DeletionValue(TypedDict):
    """Who deleted a message, when and why; until when that can be undone."""

    since: str
    by: str
    reason: str
    until: str


class MessageValue(TypedDict):
    """A queued message.  What is omitted does not hold.

    next_hop: where an operator sent it.  deliver_by: when it is late.  rules: the routing rules that it matched.  tls:
    "requiretls", or "tls-required: no" (RFC 8689).
    """

    id: int
    return_path: str
    domains: list[DomainValue]
    created: str
    size: int
    priority: NotRequired[int]
    env_id: NotRequired[str]
    tls: NotRequired[str]
    blob_hash: str
    hold: NotRequired[HoldValue]
    corrupt: NotRequired[bool]
    next_hop: NotRequired[str]
    deliver_by: NotRequired[str]
    rules: NotRequired[list[str]]
    deleted: NotRequired[DeletionValue]


def message_value(message: Message, now: float) -> MessageValue:
    """A message as the API shows it; now: Unix time, against which a notice is past."""
    value: MessageValue = {
        "id": message.id,
        "return_path": message.return_path,
        "domains": [_domain(name, each, now) for name, each in by_domain(message.recipients).items()],
        "created": rfc3339(message.created),
        "size": message.size,
        "blob_hash": message.blob_hash,
    }
    if message.terms.priority:
        value["priority"] = message.terms.priority
    if message.terms.by is not None:
        value["deliver_by"] = rfc3339(message.terms.by)
    if message.terms.rules:
        value["rules"] = list(message.terms.rules)
    if message.envid:
        value["env_id"] = _decoded(message.envid)
    if message.tls is not MessageTls.USUAL:
        value["tls"] = message.tls.value
    if message.hold is not None:
        value["hold"] = hold_value(message.hold)
    if message.corrupt:
        value["corrupt"] = True
    if message.next_hop is not None:
        value["next_hop"] = message.next_hop
    if message.deletion is not None:
        value["deleted"] = deletion_value(message.deletion)
    return value


def hold_value(hold: Hold) -> HoldValue:
    """Who held a message, when and why."""
    return {"since": rfc3339(hold.since), "by": hold.by, "reason": hold.reason}


def deletion_value(deletion: Deletion) -> DeletionValue:
    """Who deleted a message, when and why, and until when that can be undone."""
    return {
        "since": rfc3339(deletion.since),
        "by": deletion.by,
        "reason": deletion.reason,
        "until": rfc3339(deletion.until),
    }


def by_domain(recipients: Sequence[Recipient]) -> dict[str, list[Recipient]]:
    """Recipients by domain, in the order of the first of each."""
    domains: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        domains.setdefault(domain_of(recipient.address), []).append(recipient)
    return domains


def _domain(name: str, recipients: list[Recipient], now: float) -> DomainValue:
    waiting = [each for each in recipients if each.state.is_pending]
    notices = [each.next_notify for each in waiting if each.next_notify is not None and each.next_notify > now]
    return {
        "name": name,
        "status": _domain_status(recipients, waiting),
        "recipients": [_recipient(each) for each in recipients],
        "retry_num": max(each.attempts for each in recipients),
        "next_retry": rfc3339(min(each.next_attempt for each in waiting)) if waiting else None,
        "next_notify": rfc3339(min(notices)) if notices else None,
        "expires": rfc3339(max(each.expires for each in waiting or recipients)),
    }


def _domain_status(recipients: list[Recipient], waiting: list[Recipient]) -> str | Outcome:
    if waiting:
        failed = [each for each in waiting if each.state is State.TEMP_FAIL]
        return status_value(State.TEMP_FAIL, failed[0].status) if failed else status_value(State.SCHEDULED, "")
    if any(each.state is State.COMPLETED or each.status == CANCELED for each in recipients):
        return status_value(State.COMPLETED, "")
    return status_value(State.PERM_FAIL, recipients[0].status)


def _recipient(recipient: Recipient) -> RecipientValue:
    value: RecipientValue = {
        "address": recipient.address,
        "status": status_value(recipient.state, _HOST.sub("", recipient.status, count=1)),
    }
    if recipient.orcpt:
        value["orcpt"] = _decoded(recipient.orcpt)
    if recipient.maybe_delivered is not None:
        value["maybe_delivered"] = rfc3339(recipient.maybe_delivered)
    if recipient.class_:
        value["class"] = recipient.class_
    if recipient.rule:
        value["rule"] = recipient.rule
    return value


def status_value(state: State, text: str) -> str | Outcome:
    """A status with its external tag."""
    if state is State.COMPLETED:
        return {"completed": text}
    if state is State.TEMP_FAIL:
        return {"temp_fail": text}
    return {"perm_fail": text} if state is State.PERM_FAIL else state.value


def _decoded(xtext: str) -> str:
    try:
        return decode_xtext(xtext)
    except XtextError:
        return xtext
