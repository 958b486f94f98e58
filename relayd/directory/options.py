"""Options of the directory: the accounts of the configuration file."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.options import REQUIRED, TEXT, TEXTS, choice, option, section


@section("account.<id>", "Accounts that may sign in.")
@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOptions:
    """`account.<id>.*`; the id is the name to sign in with"""

    type_: str = option(
        choice("individual", "apiKey"), "individual", "individual: a sender of mail; apiKey: for the control API alone."
    )
    secret: str = option(
        TEXT,
        REQUIRED,
        "Password: a hash ($argon2id$, $y$, $6$, $5$, $2b$), or %{env:NAME}% or %{file:PATH}% of either kind.",
        secret=True,
        hashed=True,
        example="%{env:APP_SECRET}%",
    )
    emails: tuple[str, ...] = option(
        TEXTS,
        [],
        'Addresses the account may send from: "a@example.org", or "@example.org" for all of the domain. The return '
        "path of its mail must be one of them (or empty).",
        example=["app@example.org"],
    )
    roles: tuple[str, ...] = option(TEXTS, ["user"], "Roles whose permissions the account has.")
    enabled_permissions: tuple[str, ...] = option(TEXTS, [], "Permissions beside those of the roles.")
    disabled_permissions: tuple[str, ...] = option(
        TEXTS, [], 'Permissions taken away: without "email-send" it cannot send, without "authenticate" not sign in.'
    )
