"""The shape of a queued message (operations 11 and 42).

The rows are of recipients; the API groups them by domain.  What a domain shows follows from its recipients: it waits
while one of them does, has failed when none was delivered, and its next retry is the earliest of those that wait.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relayd.mail.envelope import domain_of
from relayd.mail.xtext import XtextError, decode_xtext
from relayd.queue.message import Hold, Message, Recipient, State
from relayd.telemetry.render import rfc3339


def message_value(message: Message, now: float) -> dict[str, Any]:
    """A message as the API shows it; now: Unix time, against which a notice is past."""
    value: dict[str, Any] = {
        "id": message.id,
        "return_path": message.return_path,
        "domains": [_domain(name, each, now) for name, each in by_domain(message.recipients).items()],
        "created": rfc3339(message.created),
        "size": message.size,
    }
    if message.envid:
        value["env_id"] = _decoded(message.envid)
    value["blob_hash"] = message.blob_hash
    if message.hold is not None:
        value["hold"] = hold_value(message.hold)
    if message.corrupt:
        value["corrupt"] = True
    return value


def hold_value(hold: Hold) -> dict[str, str]:
    """Who held a message, when and why."""
    return {"since": rfc3339(hold.since), "by": hold.by, "reason": hold.reason}


def by_domain(recipients: Sequence[Recipient]) -> dict[str, list[Recipient]]:
    """Recipients by domain, in the order of the first of each."""
    domains: dict[str, list[Recipient]] = {}
    for recipient in recipients:
        domains.setdefault(domain_of(recipient.address), []).append(recipient)
    return domains


def _domain(name: str, recipients: list[Recipient], now: float) -> dict[str, Any]:
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


def _domain_status(recipients: list[Recipient], waiting: list[Recipient]) -> Any:
    if waiting:
        failed = [each for each in waiting if each.state is State.TEMP_FAIL]
        return status_value(State.TEMP_FAIL, failed[0].status) if failed else status_value(State.SCHEDULED, "")
    if any(each.state is State.COMPLETED for each in recipients):
        return status_value(State.COMPLETED, "")
    return status_value(State.PERM_FAIL, recipients[0].status)


def _recipient(recipient: Recipient) -> dict[str, Any]:
    value: dict[str, Any] = {
        "address": recipient.address,
        "status": status_value(recipient.state, recipient.status),
    }
    if recipient.orcpt:
        value["orcpt"] = _decoded(recipient.orcpt)
    return value


def status_value(state: State, text: str) -> str | dict[str, str]:
    """A status with its external tag."""
    return state.value if state is State.SCHEDULED else {state.value: text}


def _decoded(xtext: str) -> str:
    try:
        return decode_xtext(xtext)
    except XtextError:
        return xtext
