"""Signing in."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from relayd.directory.account import Account, Refusal
from relayd.directory.directory import MAX_WAITING, REMEMBERED_FOR, Directory, TooBusy
from relayd.directory.options import AccountOptions
from relayd.directory.password import UnknownHash, hash_secret, matches
from relayd.directory.principal import Principal
from relayd.directory.secrets import Secrets
from relayd.directory.totp import parse_totp
from relayd.options import section_of

HASH = hash_secret("good")


def account(**values: Any) -> AccountOptions:
    built: AccountOptions = section_of(AccountOptions).build(
        {key.replace("_", "-"): value for key, value in values.items()}
    )
    return built


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Checks:
    """Counts what is really checked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.stored: list[str] = []

        def counted(secret: str, stored: str) -> bool:
            self.stored.append(stored)
            return matches(secret, stored)

        monkeypatch.setattr("relayd.directory.directory.matches", counted)


async def test_an_account_signs_in_with_its_secret() -> None:
    directory = Directory({"app": account(secret=HASH, emails=["a@b.example"], roles=["user"])}, Clock())
    found = await directory.authenticate("app", "good")
    assert isinstance(found, Account)
    assert (found.name, found.emails, found.roles, found.may_send) == ("app", ("a@b.example",), ("user",), True)
    assert await directory.authenticate(" App ", "good") == found
    assert await directory.get("APP") == found
    assert await directory.authenticate("app", "bad") is Refusal.WRONG
    assert await directory.authenticate("", "") is Refusal.WRONG
    directory.close()


async def test_a_good_sign_in_is_remembered_for_minutes_and_a_bad_one_never(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    directory = Directory({"app": account(secret=HASH)}, clock)
    checks = Checks(monkeypatch)
    for _ in range(3):
        assert isinstance(await directory.authenticate("app", "good"), Account)
        assert await directory.authenticate("app", "bad") is Refusal.WRONG
    assert len(checks.stored) == 1 + 3
    clock.now += REMEMBERED_FOR
    assert await directory.authenticate("app", "good")
    assert len(checks.stored) == 5
    directory.close()


async def test_a_changed_secret_counts_at_once() -> None:
    directory = Directory({"app": account(secret="good")}, Clock())
    assert await directory.authenticate("app", "good")
    directory.reconfigure({"app": account(secret="better")})
    assert await directory.authenticate("app", "good") is Refusal.WRONG
    assert isinstance(await directory.authenticate("app", "better"), Account)
    directory.close()


@pytest.mark.parametrize("login", ["app", "plain", "nobody"])
async def test_every_sign_in_computes_one_hash_whether_the_login_exists_or_not(
    monkeypatch: pytest.MonkeyPatch, login: str
) -> None:
    directory = Directory({"app": account(secret=HASH), "plain": account(secret="text")}, Clock())
    checks = Checks(monkeypatch)
    assert await directory.authenticate(login, "bad") is Refusal.WRONG
    assert [stored for stored in checks.stored if stored.startswith("$")] == [HASH]
    directory.close()


async def test_accounts_that_may_not_sign_in_or_send() -> None:
    directory = Directory(
        {
            "mute": account(secret="s", disabled_permissions=["email-send"]),
            "gone": account(secret="s", disabled_permissions=["authenticate"]),
            "empty": account(secret=""),
        },
        Clock(),
    )
    for name in ("mute", "gone"):
        found = await directory.authenticate(name, "s")
        assert isinstance(found, Account)
        assert (found.may_send, found.may("authenticate")) == (False, name == "mute")
    assert await directory.authenticate("empty", "") is Refusal.WRONG
    directory.close()


async def test_too_many_sign_ins_at_once_are_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Directory({"app": account(secret=HASH)}, Clock())
    tasks = [asyncio.create_task(directory.authenticate("app", str(number))) for number in range(MAX_WAITING)]
    await asyncio.sleep(0)  # each of them runs up to the threads
    assert directory._waiting == MAX_WAITING
    with pytest.raises(TooBusy):
        await directory.authenticate("app", "good")
    for task in tasks[8:]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert directory._waiting == 0
    directory.close()


async def test_no_repr_shows_a_secret() -> None:
    directory = Directory({"app": account(secret="topsecret")}, Clock())
    await directory.authenticate("app", "topsecret")
    assert "topsecret" not in repr(await directory._sources[0].find("app"))
    assert "topsecret" not in repr(directory._good)
    assert "topsecret" not in repr(await directory.get("app"))
    assert await directory.get("nobody") is None
    directory.close()


OTP = "otpauth://totp/Relay:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


def code_at(now: float) -> str:
    return parse_totp(OTP).generate_otp(int(now // 30))


async def test_an_account_with_one_time_codes_asks_for_one() -> None:
    clock = Clock()
    directory = Directory({"ann": account(secret=HASH, otp=OTP)}, clock)
    code = code_at(clock.now)
    assert await directory.authenticate("ann", "good") is Refusal.NEEDS_TOTP
    assert await directory.authenticate("ann", "bad") is Refusal.WRONG
    assert await directory.authenticate("ann", f"bad${code}") is Refusal.WRONG
    assert await directory.authenticate("ann", "good$000000") is Refusal.WRONG
    assert isinstance(await directory.authenticate("ann", f"good${code}"), Account)
    assert await directory.authenticate("ann", f"good${code}") is Refusal.WRONG
    clock.now += 30
    assert await directory.authenticate("ann", f"good${code}") is Refusal.WRONG
    assert isinstance(await directory.authenticate("ann", f"good${code_at(clock.now)}"), Account)
    directory.close()


async def test_a_secret_with_digits_behind_it_is_no_code_where_none_is_asked_for() -> None:
    directory = Directory({"ann": account(secret="good$123456")}, Clock())
    assert isinstance(await directory.authenticate("ann", "good$123456"), Account)
    directory.close()


async def test_an_api_key_signs_in_as_one_and_nothing_else_does() -> None:
    directory = Directory({"key": account(secret="s", type="apiKey"), "ann": account(secret="s")}, Clock())
    found = await directory.api_key("KEY", "s")
    assert isinstance(found, Account)
    assert (found.name, found.may_send) == ("key", False)
    for name, secret in (("key", "x"), ("ann", "s"), ("nobody", "s")):
        assert await directory.api_key(name, secret) is Refusal.WRONG
    assert await directory.authenticate("key", "s") is Refusal.WRONG
    directory.close()


async def test_the_version_changes_with_the_secrets_and_nothing_else() -> None:
    directory = Directory({"ann": account(secret="a")}, Clock())
    versions = []
    for options in (
        account(secret="a", roles=["admin"], emails=["a@b.example"]),
        account(secret="b"),
        account(secret="a", otp=OTP),
    ):
        directory.reconfigure({"ann": options})
        found = await directory.get("ann")
        assert found is not None
        versions.append(found.version)
    directory.reconfigure({"ann": account(secret="a")})
    found = await directory.get("ann")
    assert found is not None
    assert found.version == versions[0]
    assert len(set(versions)) == 3
    directory.close()


class Memory:
    """A second source."""

    def __init__(self) -> None:
        self.principals = {
            "bob": Principal(Account(name="bob"), Secrets(("b",))),
            "ann": Principal(Account(name="ann"), Secrets(("other",))),
        }

    async def find(self, name: str) -> Principal | None:
        return self.principals.get(name)


async def test_the_first_source_that_knows_a_name_answers_for_it() -> None:
    memory = Memory()
    directory = Directory({"ann": account(secret="a")}, Clock(), [memory])
    assert isinstance(await directory.authenticate("ann", "a"), Account)
    assert await directory.authenticate("ann", "other") is Refusal.WRONG
    assert isinstance(await directory.authenticate("bob", "b"), Account)
    memory.principals["bob"] = Principal(Account(name="bob"), Secrets(("c",)))
    assert await directory.authenticate("bob", "b") is Refusal.WRONG  # what was remembered is of the old secret
    directory.reconfigure({})
    assert isinstance(await directory.authenticate("ann", "other"), Account)
    directory.close()


async def test_a_hash_that_cannot_be_checked_is_neither_good_nor_wrong() -> None:
    directory = Directory(
        {"ann": account(secret="$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"), "bob": account(secret="b")}, Clock()
    )
    with pytest.raises(UnknownHash):
        await directory.authenticate("ann", "x")
    assert isinstance(await directory.authenticate("bob", "b"), Account)
    directory.close()
