"""A principal that may sign in, without its secret; and why one may not."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from relayd.directory.permissions import AUTHENTICATE, EMAIL_SEND

INDIVIDUAL = "individual"
API_KEY = "apiKey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """name: to sign in with, lower case.  type: "individual" or "apiKey".  emails: addresses, or "@domain", it may
    send from.  permissions: the effective ones.  version: a digest of its stored secrets, which changes with them and
    with nothing else; empty where it does not matter.
    """

    name: str
    type: str = INDIVIDUAL
    emails: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    permissions: frozenset[str] = frozenset()
    version: bytes = b""
    tenant: str = ""
    senders: tuple[str, ...] = ()
    suspended: str = ""
    has_otp: bool = False
    proof: bytes = field(default=b"", compare=False, repr=False)

    def may(self, permission: str) -> bool:
        """Whether the account has `permission`."""
        return permission in self.permissions

    @property
    def may_send(self) -> bool:
        """A person or program that sends mail, and may sign in to."""
        return self.type == INDIVIDUAL and self.may(AUTHENTICATE) and self.may(EMAIL_SEND)


class Refusal(enum.Enum):
    """Why credentials did not sign anybody in."""

    WRONG = "wrong"
    """No such account, another secret, a forged token, a code that was used: nothing more is told."""

    NEEDS_TOTP = "needs-totp"
    """The secret is right, and the account asks for a one-time code that did not come: send `secret$code`."""

    EXPIRED = "expired"
    """A token of ours whose time is over."""
