"""The secrets of one principal: passwords, the key of one-time codes, app passwords, and the verifier of SCRAM.

They are kept in one list, told apart by their form: `otpauth://...` is the key of one-time codes, `$app$name$hash` an
app password, all else is a password, hashed or (of the configuration alone) plain.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from relayd.directory.entry import SECRETS, Type
from relayd.directory.fields import Change
from relayd.directory.password import MAX_SECRET, digest_secret, hash_secret, is_hash, problem_of, unmarked
from relayd.directory.refusals import Invalid, invalid_parameter
from relayd.directory.scram import verifier
from relayd.directory.totp import BadTotp, parse_totp

OTP = "otpauth://"
APP = "$app$"

RANDOM = 32
"""Characters from which on the secret of a program (an API key, an app password) is taken to be made by chance: a quick
hash will do."""


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """stored: as written above, in order.  scram: `SCRAM-SHA-256$iterations:salt$stored:server`, "" for none."""

    stored: tuple[str, ...] = ()
    scram: str = ""

    @property
    def passwords(self) -> tuple[str, ...]:
        """Hashes of the passwords."""
        return tuple(each for each in self.stored if is_password(each))

    @property
    def otp(self) -> str:
        """The URL of the key of one-time codes, "" for none."""
        return next((each for each in self.stored if each.startswith(OTP)), "")

    @property
    def apps(self) -> tuple[str, ...]:
        """The app passwords, each with its name."""
        return tuple(each for each in self.stored if is_app(each))

    def as_json(self) -> str:
        """As a column has it."""
        return msgspec.json.encode(self.stored).decode()


def is_app(stored: str) -> bool:
    """Whether it is an app password."""
    return stored.startswith(APP)


def is_password(stored: str) -> bool:
    """Whether it is a password."""
    return not stored.startswith((OTP, APP))


def app_name(stored: str) -> str:
    """The name of an app password, which holds no "$"."""
    return stored[len(APP) :].partition("$")[0]


def app_secret(stored: str) -> str:
    """What an app password is stored as."""
    return stored[len(APP) :].partition("$")[2]


def changed_secrets(before: Secrets, changes: Sequence[Change], hashed: Mapping[str, Secrets]) -> Secrets:
    """The secrets after `changes` of the field.  hashed: what to keep for each secret that is given.

    Raises Invalid for one that is already there.
    """
    kept = list(before.stored)
    scram = before.scram
    for change in changes:
        if change.action == "removeItem":
            after = _without(kept, str(change.value))
            if [each for each in after if is_password(each)] != [each for each in kept if is_password(each)]:
                scram = ""
            kept = after
            continue
        given = [str(each) for each in change.value] if change.action == "set" else [str(change.value)]
        if change.action == "set":
            kept, scram = [], ""
        for each in given:
            made = hashed[each]
            if made.otp:
                kept = [*made.stored, *(old for old in kept if not old.startswith(OTP))]
                continue
            if is_app(each) and app_name(each) in [app_name(old) for old in kept if is_app(old)]:
                raise invalid_parameter(change.field, f"there is an app password {app_name(each)}")
            if any(is_password(new) for new in made.stored):
                # a verifier stands for one password only: of several, the last that was given in plain
                scram = made.scram or scram
            kept += [new for new in made.stored if new not in kept]
    return Secrets(tuple(kept), scram)


def _without(kept: list[str], item: str) -> list[str]:
    """What is left: "" removes passwords, `$app$` app passwords, `$app$name` and `otpauth://` what begins so."""
    if not item:
        return [each for each in kept if not is_password(each)]
    if item.startswith(OTP):
        return [each for each in kept if not each.startswith(item)]
    if item == APP:
        return [each for each in kept if not is_app(each)]
    if item.startswith(APP):
        return [each for each in kept if each != item and not (is_app(each) and app_name(each) == item[len(APP) :])]
    return [each for each in kept if each != item]


def prepared(type: Type, given: str) -> Secrets:
    """What to keep for a secret as it was given: hashed by us, or by whoever gave it.  Blocks.  Raises Invalid."""
    if given.startswith(OTP):
        try:
            parse_totp(given)
        except BadTotp as error:
            raise invalid_parameter(SECRETS, str(error)) from None
        return Secrets((given,))
    if is_app(given):
        name, secret = app_name(given), app_secret(given)
        if not name or not secret:
            raise invalid_parameter(SECRETS, "expected $app$NAME$SECRET")
        return Secrets((f"{APP}{name}${_hashed(secret, is_random=len(secret) >= RANDOM)}",))
    stored = _hashed(given, is_random=type is Type.API_KEY and len(given) >= RANDOM)
    with_scram = type is Type.INDIVIDUAL and stored != given
    return Secrets((stored,), verifier(unmarked(given), secrets.token_bytes(16)) if with_scram else "")


def _hashed(given: str, *, is_random: bool) -> str:
    if is_hash(given):
        problem = problem_of(given)
        if problem is not None:
            raise Invalid("Invalid secrets value", f"a secret {problem}")
        return given
    plain = unmarked(given)
    if not plain or len(plain.encode("utf-8", "surrogatepass")) > MAX_SECRET or "\0" in plain:
        raise Invalid("Invalid secrets value", f"a secret has 1 to {MAX_SECRET} octets, none of them NUL")
    return digest_secret(plain) if is_random else hash_secret(plain)
