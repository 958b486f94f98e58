"""Queued messages, as the control API gives them, as rows and lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNSAID = "no reason given"

Message = Mapping[str, Any]

ID_STEP = 128
"""Queue ids are this far apart, so that each is exact as the double that the API reads it as."""


def message_row(message: Message) -> list[str]:
    """A row of `relayd queue list`."""
    recipients = [each["address"] for each in _recipients(message)]
    more = f" +{len(recipients) - 1}" if len(recipients) > 1 else ""
    return [
        str(message["id"]),
        size(message["size"]),
        message["created"],
        message["return_path"] or "<>",
        (recipients[0] if recipients else "") + more,
        state(message),
        next_attempt(message),
    ]


def message_lines(message: Message) -> list[str]:
    """The lines of `relayd queue show`."""
    lines = [
        f"Message {message['id']}",
        f"  from     {message['return_path'] or '<>'}",
        f"  created  {message['created']}",
        f"  size     {size(message['size'])}",
    ]
    hold = message.get("hold")
    if isinstance(hold, Mapping):
        lines.append(f"  held     since {hold.get('since')} by {hold.get('by')}: {hold.get('reason') or _UNSAID}")
    deleted = message.get("deleted")
    if isinstance(deleted, Mapping):
        why = deleted.get("reason") or _UNSAID
        lines.append(f"  deleted  {deleted.get('since')} by {deleted.get('by')}: {why}")
        lines.append(f"  kept     until {deleted.get('until')}")
    if message.get("next_hop"):
        lines.append(f"  goes by  {message['next_hop']}")
    for field in ("tls", "env_id", "message_id", "account", "client", "blob_hash"):
        if message.get(field):
            lines.append(f"  {field.replace('_', '-'):<8} {message[field]}")
    for domain in message["domains"]:
        lines.append(f"  {domain['name']}: {status_text(domain['status'])}")
        lines.append(f"    attempts {domain['retry_num']}, expires {domain['expires']}")
        if domain.get("next_retry"):
            lines.append(f"    next attempt {domain['next_retry']}")
        if domain.get("next_notify"):
            lines.append(f"    next delay notice {domain['next_notify']}")
        for each in domain["recipients"]:
            lines.append(f"    <{each['address']}> {status_text(each['status'])}")
            if each.get("class"):
                lines.append(f"      class {each['class']}" + (f", rule {each['rule']}" if each.get("rule") else ""))
            if each.get("maybe_delivered"):
                lines.append(f"      maybe delivered {each['maybe_delivered']}: the peer was lost after the final dot")
    return lines


def status_text(status: Any) -> str:
    """A Status of the control API: "scheduled", or its name and text."""
    if isinstance(status, Mapping):
        return "; ".join(f"{name.replace('_', ' ')} {text}".strip() for name, text in status.items())
    return str(status)


def state(message: Message) -> str:
    """One word for the whole message."""
    if message.get("deleted"):
        return "deleted"
    if message.get("hold"):
        return "held"
    statuses = {
        next(iter(each["status"])) if isinstance(each["status"], Mapping) else each["status"]
        for each in _recipients(message)
    }
    for name, word in (("temp_fail", "deferred"), ("scheduled", "queued"), ("perm_fail", "failed")):
        if name in statuses:
            return word
    return "completed"


def next_attempt(message: Message) -> str:
    """The earliest of its domains, "" when none is due."""
    return min((each["next_retry"] for each in message["domains"] if each.get("next_retry")), default="")


def reason(message: Message) -> str:
    """Why the first failing recipient was not delivered, "" when none failed."""
    for domain in message["domains"]:
        for status in (domain["status"], *(each["status"] for each in domain["recipients"])):
            if isinstance(status, Mapping) and status.get("temp_fail"):
                return str(status["temp_fail"])
    return ""


def pause_line(status: Any) -> str:
    """Who paused the queue, when and why, as far as the daemon says."""
    if not isinstance(status, Mapping) or not status.get("since"):
        return "The queue is paused."
    return f"The queue is paused since {status['since']} by {status.get('by')}: {status.get('reason') or _UNSAID}"


def audit_rows(data: Mapping[str, Any]) -> list[list[str]]:
    """The counters of `relayd queue audit`."""
    rows = []
    for name, value in data.items():
        if isinstance(value, Mapping):
            rows += audit_rows(value)
        else:
            rows.append([name, str(value)])
    return rows


def size(octets: int) -> str:
    """Octets for people, rounded."""
    for unit, factor in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if octets >= factor:
            return f"{octets / factor:.1f}{unit}"
    return f"{octets}B"


def _recipients(message: Message) -> list[Mapping[str, Any]]:
    return [each for domain in message["domains"] for each in domain["recipients"]]
