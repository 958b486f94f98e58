"""A principal that may sign in, without its secret."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """name: to sign in with.  type: "individual" or "apiKey".  emails: addresses, or "@domain", it may send from."""

    name: str
    type: str = "individual"
    emails: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    enabled_permissions: tuple[str, ...] = ()
    disabled_permissions: tuple[str, ...] = ()

    @property
    def may_sign_in(self) -> bool:
        """The permission `authenticate` was not taken away."""
        return "authenticate" not in self.disabled_permissions

    @property
    def may_send(self) -> bool:
        """A person or program that sends mail, whose permission to was not taken away."""
        return self.type == "individual" and self.may_sign_in and "email-send" not in self.disabled_permissions
