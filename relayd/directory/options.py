"""Options of the directory: the accounts of the configuration file, codes and tokens."""

from __future__ import annotations

from dataclasses import dataclass

from relayd.directory.permissions import PERMISSION_NAMES, ROLE_NAMES
from relayd.options import DURATION, REQUIRED, TEXT, TEXTS, choice, integer, option, section


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
        "Password: a hash (`relayd account hash` makes one; $y$, $6$, $2b$, {SSHA} and others do too), or plain text; "
        "%{env:NAME}% or %{file:PATH}% where either stands.",
        secret=True,
        hashed=True,
        example="%{env:APP_SECRET}%",
    )
    otp: str | None = option(
        TEXT,
        None,
        "Key of one-time codes (otpauth://totp/...): the account then signs in with PASSWORD$CODE.",
        secret=True,
        example="%{env:APP_OTP}%",
    )
    emails: tuple[str, ...] = option(
        TEXTS,
        [],
        'Addresses the account may send from: "a@example.org", or "@example.org" for all of the domain. The return '
        "path of its mail must be one of them (or empty).",
        example=["app@example.org"],
    )
    roles: tuple[str, ...] = option(
        ROLE_NAMES, ["user"], "Roles whose permissions the account has: user, tenant-admin, admin."
    )
    enabled_permissions: tuple[str, ...] = option(PERMISSION_NAMES, [], "Permissions beside those of the roles.")
    disabled_permissions: tuple[str, ...] = option(
        PERMISSION_NAMES,
        [],
        'Permissions taken away: without "email-send" it cannot send, without "authenticate" not sign in.',
    )


@section("oauth.expiry", "How long codes and tokens are good for.")
@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiryOptions:
    """`oauth.expiry.*`"""

    auth_code: float = option(DURATION, "10m", "A code that a client exchanges for tokens.")
    user_code: float = option(DURATION, "30m", "A code that a device shows, for somebody to let it in.")
    token: float = option(DURATION, "1h", "An access token.")
    refresh_token: float = option(DURATION, "30d", "A refresh token, which makes new access tokens.")
    refresh_token_renew: float = option(
        DURATION, "4d", "A refresh token with no more than this left is replaced when it is used."
    )


@section("oauth.auth", "The exchange of codes for tokens.")
@dataclass(frozen=True, slots=True, kw_only=True)
class CodeOptions:
    """`oauth.auth.*`"""

    max_attempts: int = option(integer(1, 100), 3, "Wrong tries after which a code is void.")


@section("sending-address", "Addresses that programs make for themselves with an access key (the DirectMail dialect).")
@dataclass(frozen=True, slots=True, kw_only=True)
class SendingOptions:
    """`sending-address.*`"""

    addresses: int = option(integer(0, 100_000), 100, "Sending addresses of one account at most.")
    batch_daily: int = option(integer(), 10_000, "Messages a day from a new address of type batch.", key="batch.daily")
    batch_monthly: int = option(integer(), 200_000, "The same a month.", key="batch.monthly")
    trigger_daily: int = option(
        integer(), 10_000, "Messages a day from a new address of type trigger.", key="trigger.daily"
    )
    trigger_monthly: int = option(integer(), 200_000, "The same a month.", key="trigger.monthly")
