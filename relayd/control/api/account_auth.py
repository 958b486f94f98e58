"""One's own ways to sign in: operations 38 and 39.

The password and the one-time codes are changed only by who gives the password in this very request: a token that was
stolen, or an app password, takes no account over.  The fallback administrator stands in the configuration file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import msgspec

from relayd.control.answers import Failure, Problem, other
from relayd.control.routes import Call, Route
from relayd.control.signing_in import Identity, Way
from relayd.directory.entry import SECRETS
from relayd.directory.fields import Change
from relayd.directory.principals import Principals
from relayd.directory.refusals import Invalid
from relayd.directory.secrets import APP, OTP, app_name, is_app
from relayd.directory.tokens import Realm
from relayd.events import manage

AREA = "account"
PERMISSION = "manage-passwords"

ONLY_BASIC = "Password changes only allowed using Basic auth"
NO_FALLBACK = "Fallback administrator accounts do not support 2FA or AppPasswords"


class SetPassword(msgspec.Struct, tag_field="type", tag="setPassword"):
    """password: in plain, or a hash of it."""

    password: str


class EnableOtpAuth(msgspec.Struct, tag_field="type", tag="enableOtpAuth"):
    """url: otpauth://totp/..."""

    url: str


class DisableOtpAuth(msgspec.Struct, tag_field="type", tag="disableOtpAuth"):
    """url: taken, and of no consequence."""

    url: str | None = None


class AddAppPassword(msgspec.Struct, tag_field="type", tag="addAppPassword"):
    """name: without "$".  password: in plain, or a hash of it."""

    name: str
    password: str


class RemoveAppPassword(msgspec.Struct, tag_field="type", tag="removeAppPassword"):
    """name: absent for all of them."""

    name: str | None = None


Step = SetPassword | EnableOtpAuth | DisableOtpAuth | AddAppPassword | RemoveAppPassword


class AuthAnswer(TypedDict):
    """appPasswords: their names."""

    otpEnabled: bool
    appPasswords: list[str]


class AccountAuth:
    """The handlers."""

    def __init__(self, principals: Principals) -> None:
        self._principals = principals

    def routes(self) -> Iterator[Route]:
        """The operations."""
        yield Route(
            method="GET",
            path="/account/auth",
            permission=PERMISSION,
            handler=self.show,
            summary="Own ways to sign in",
            area=AREA,
            answer=AuthAnswer,
            operation=38,
        )
        yield Route(
            method="POST",
            path="/account/auth",
            permission=PERMISSION,
            handler=self.change,
            summary="Change own ways to sign in",
            area=AREA,
            body=list[Step],
            answer=None,
            operation=39,
        )

    async def show(self, call: Call) -> AuthAnswer:
        """38: whether one-time codes are asked for, and the names of the app passwords."""
        identity = call.caller.identity
        found = None
        if identity is not None and identity.realm is Realm.DIRECTORY:
            found = await self._principals.find(identity.name)
        if found is None:  # the fallback administrator, a peer of the Unix socket, or an account of the file
            return {"otpEnabled": identity is not None and identity.account.has_otp, "appPasswords": []}
        return {"otpEnabled": bool(found.secrets.otp), "appPasswords": [app_name(each) for each in found.secrets.apps]}

    async def change(self, call: Call) -> None:
        """39: make all of the changes, or none."""
        steps: Sequence[Step] = call.body
        if not steps:
            raise Problem(400, "Invalid parameters", "Empty request")
        identity = call.caller.identity
        if identity is None or identity.realm is not Realm.DIRECTORY:
            if any(not isinstance(each, SetPassword) for each in steps):
                raise other(NO_FALLBACK)
            raise Failure("unsupported", details="The fallback administrator stands in the configuration file")
        if any(isinstance(each, SetPassword | EnableOtpAuth | DisableOtpAuth) for each in steps):
            await self._check_basic(identity)
        changes = [change for each in steps for change in _changes(each)]
        await self._principals.update(identity.name, changes)
        kinds = ", ".join(sorted({type(each).__name__ for each in steps}))
        manage.ACTION(
            call.span, account_name=identity.name, type_="account.auth", details=kinds, total=len(steps), reason=""
        )

    async def _check_basic(self, identity: Identity) -> None:
        """Raise Failure unless the password itself came with this request."""
        found = await self._principals.find(identity.name)
        apps = [] if found is None else [each for each in found.secrets.apps if found.is_proof(identity.account, each)]
        if identity.way is not Way.BASIC or apps:
            raise other(ONLY_BASIC)


def _changes(step: Step) -> Iterator[Change]:
    """A step as changes of the field `secrets`."""
    match step:
        case SetPassword(password=password):
            if password.startswith(OTP) or is_app(password):
                raise Invalid("Invalid secrets value", "that is no password")
            yield Change(action="removeItem", field=SECRETS, value="")
            yield Change(action="addItem", field=SECRETS, value=password)
        case EnableOtpAuth(url=url):
            if not url.startswith(OTP):
                raise Invalid("Invalid secrets value", "expected otpauth://totp/...")
            yield Change(action="removeItem", field=SECRETS, value=OTP)
            yield Change(action="addItem", field=SECRETS, value=url)
        case DisableOtpAuth():
            yield Change(action="removeItem", field=SECRETS, value=OTP)
        case AddAppPassword(name=name, password=password):
            if not name or "$" in name or not name.isprintable():
                raise Invalid("Invalid secrets value", 'a name of an app password is printable and has no "$"')
            yield Change(action="addItem", field=SECRETS, value=f"{APP}{name}${password}")
        case RemoveAppPassword(name=name):
            yield Change(action="removeItem", field=SECRETS, value=f"{APP}{name or ''}")
