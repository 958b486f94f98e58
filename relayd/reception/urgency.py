"""When a message is to go and how urgent it is: what trusted sessions are offered, and what MAIL made of it.

FUTURERELEASE (RFC 4865), DELIVERBY (RFC 2852), MT-PRIORITY (RFC 6710).
"""

from __future__ import annotations

from datetime import UTC, datetime

from relayd.mail.reply import Reply
from relayd.mail.terms import NO_TERMS, Terms
from relayd.reception.options import ExtensionOptions
from relayd.smtp.command import MailCommand

NOTHING = ExtensionOptions(future_release=0.0, deliver_by=False, mt_priority=False)
"""What strangers are offered."""


class LatestRelease:
    """The time until which a message may be held, to the hour, so that one answer to EHLO serves many sessions."""

    def __init__(self) -> None:
        self._hour = 0
        self._text = ""

    def text(self, offered: ExtensionOptions, now: float) -> str:
        """As the answer says it (RFC 3339); "" when holding is not offered.  now: Unix seconds."""
        if not offered.future_release:
            return ""
        hour = int((now + offered.future_release) // 3600)
        if hour != self._hour:
            self._hour = hour
            self._text = datetime.fromtimestamp(hour * 3600, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self._text


def terms_of(command: MailCommand, now: float, allowed: ExtensionOptions) -> Terms | Reply:
    """What MAIL asks of the message's way; a Reply refuses a release too far away.

    The time to deliver by is counted from the release.  A release in the past is no hold.
    """
    release = command.hold_until if command.hold_for is None else now + command.hold_for
    if release is not None:
        if release > now + allowed.future_release:
            return Reply(501, "5.5.4", "The time of release is too far away")
        release = release if release > now else None
    by = command.by
    if release is None and by is None and not command.priority:
        return NO_TERMS
    return Terms(
        priority=command.priority,
        release=release,
        by=None if by is None else (release or now) + by.seconds,
        returns=by is not None and by.returns,
        traces=by is not None and by.traces,
    )
