"""Signing in with an account of the database: better hashes, app passwords, SCRAM, waiting, time that tells nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from relayd.database.interface import DatabaseError
from relayd.directory.account import Account, Refusal
from relayd.directory.attempts import FREE, PATIENCE
from relayd.directory.directory import PACE, Directory
from relayd.directory.entry import Type
from relayd.directory.fields import change, draft
from relayd.directory.password import is_slow, matches
from relayd.directory.principals import Principals, open_principals
from relayd.directory.totp import parse_totp
from relayd.events.event import EventStream, Span
from tests.directory.test_directory import Clock

QUICK = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
"""The hash of "password"."""
OTP = "otpauth://totp/Relay:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


@dataclass
class House:
    principals: Principals
    directory: Directory
    clock: Clock
    pauses: list[float] = field(default_factory=list)

    async def add(self, name: str, *secrets: str, **values: Any) -> None:
        given = {"name": name, "secrets": list(secrets), "roles": ["user"], **values}
        await self.principals.create(Type.INDIVIDUAL, draft(Type.INDIVIDUAL, given))

    async def patch(self, name: str, action: Any, value: Any, field: str = "secrets") -> None:
        await self.principals.update(name, [change(Type.INDIVIDUAL, action, field, value)])

    async def stored(self, name: str) -> tuple[str, ...]:
        found = await self.principals.find(name)
        assert found is not None
        return found.secrets.stored

    @property
    def waits(self) -> list[float]:
        """Pauses for a turn; the others are for the pace of refusals."""
        return [each for each in self.pauses if each > PACE]


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    principals = await open_principals(tmp_path, Span(EventStream(lambda: 0.0)))
    clock = Clock()
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    directory = Directory({}, clock, [principals], rehash=principals.replace_password, decoys=b"k" * 32, pause=pause)
    principals.on_change.append(directory.changed)
    yield House(principals, directory, clock, pauses)
    directory.close()
    await principals.close()


@pytest.mark.parametrize(
    "stored",
    [
        QUICK,
        "$6$saltsalt$qFmFH.bQmmtXzyBY0s9v7Oicd2z4XSIecDzlB5KiA2/jctKu9YterLp8wwnSq.qc.eoxqOmSuNp2xS0ktL3nh/",
        "$argon2id$v=19$m=8,t=1,p=1$Td1xjnUCpnYaeUMRc2naqw$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA",
    ],
)
async def test_a_hash_that_is_not_ours_of_today_is_replaced_at_the_next_sign_in(house: House, stored: str) -> None:
    secret = "for-tests-only" if stored.startswith("$argon2id") else "password"
    await house.add("ann", stored, "$app$phone$" + QUICK)
    found = await house.directory.authenticate("ann", secret)
    assert isinstance(found, Account)
    better, app = await house.stored("ann")
    assert better.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert app == "$app$phone$" + QUICK
    present = await house.directory.get("ann")
    assert present is not None
    assert present.version == found.version  # so what is given out now holds
    assert await house.directory.renewed(found) == present
    assert isinstance(await house.directory.authenticate("ann", secret), Account)
    assert (await house.stored("ann"))[0] == better
    principal = await house.principals.find("ann")
    assert principal is not None
    assert principal.secrets.scram
    assert house.principals.has_scram


async def test_a_hash_that_cannot_be_kept_now_signs_in_all_the_same(house: House) -> None:
    await house.add("ann", QUICK)

    async def full(*arguments: Any) -> None:
        raise DatabaseError("disk full")

    house.directory._rehash = full
    assert isinstance(await house.directory.authenticate("ann", "password"), Account)
    assert await house.stored("ann") == (QUICK,)


async def test_app_passwords_need_no_code_and_end_alone(house: House) -> None:
    await house.add("ann", QUICK, "$app$phone${PLAIN}app", OTP)
    assert await house.directory.authenticate("ann", "password") is Refusal.NEEDS_TOTP
    phone = await house.directory.authenticate("ann", "app")
    assert isinstance(phone, Account)
    assert await house.directory.authenticate("ann", "app$123456") is Refusal.WRONG
    code = parse_totp(OTP).generate_otp(int(house.clock.now // 30))
    desk = await house.directory.authenticate("ann", f"password${code}")
    assert isinstance(desk, Account)
    await house.patch("ann", "removeItem", "$app$phone")
    assert await house.directory.renewed(phone) is None
    assert await house.directory.renewed(desk) is not None
    assert await house.directory.authenticate("ann", "app") is Refusal.WRONG
    await house.patch("ann", "removeItem", "")
    assert await house.directory.renewed(desk) is None


async def test_what_an_account_may_is_of_now_and_not_of_its_sign_in(house: House) -> None:
    await house.add("ann", QUICK)
    ann = await house.directory.authenticate("ann", "password")
    assert isinstance(ann, Account)
    generation = house.directory.generation
    await house.patch("ann", "set", ["email-send"], field="disabledPermissions")
    assert house.directory.generation > generation
    renewed = await house.directory.renewed(ann)
    assert renewed is not None
    assert not renewed.may_send
    again = await house.directory.authenticate("ann", "password")  # remembered, and of now
    assert isinstance(again, Account)
    assert not again.may_send
    await house.principals.delete("ann")
    assert await house.directory.renewed(ann) is None
    assert await house.directory.authenticate("ann", "password") is Refusal.WRONG


async def test_scram_is_for_accounts_that_have_a_verifier_and_are_asked_for_no_code(house: House) -> None:
    assert not house.principals.has_scram
    await house.add("hashed", QUICK)
    assert not house.principals.has_scram
    await house.add("plain", "pencil")
    await house.add("careful", "pencil", OTP)
    assert house.principals.has_scram
    salts = set()
    for name, known in (("plain", True), ("hashed", False), ("careful", False), ("nobody", False)):
        challenge = await house.directory.challenge(name)
        assert (challenge.account is not None) == known
        assert challenge.verifier.iterations == 32_768
        assert len(challenge.verifier.salt) == 16
        assert (await house.directory.challenge(name)).verifier == challenge.verifier
        salts.add(challenge.verifier.salt)
        assert isinstance(house.directory.conclude(challenge, proved=True), Account) == known
    assert len(salts) == 4
    plain = house.directory.conclude(await house.directory.challenge("plain"), proved=True)
    assert isinstance(plain, Account)
    assert await house.directory.renewed(plain) is not None
    await house.patch("plain", "set", ["other"])
    assert await house.directory.renewed(plain) is None


async def test_a_login_that_fails_is_slowed_but_not_for_its_owner(house: House) -> None:
    await house.add("ann", "secret of ann")
    assert isinstance(await house.directory.authenticate("ann", "secret of ann", "home"), Account)
    for _ in range(FREE + 2):
        assert await house.directory.authenticate("ann", "guess", "elsewhere") is Refusal.WRONG
    assert house.waits == [0.5]
    house.clock.now += 400  # what was remembered is too old
    assert isinstance(await house.directory.authenticate("ann", "secret of ann", "home"), Account)
    assert house.waits == [0.5]
    for _ in range(3):
        await house.directory.challenge("ann", "elsewhere")  # SCRAM stands in the same line
    assert len(house.waits) > 1
    house.clock.now += 400
    for _ in range(20):
        await house.directory.challenge("ann", "elsewhere")
    assert isinstance(await house.directory.authenticate("ann", "secret of ann", "away"), Account)
    assert max(house.waits) == PATIENCE  # and no more: the owner is heard from wherever he comes


async def test_a_refusal_costs_and_takes_the_same_whatever_account_there_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One slow hash for each password, one where there is none; what app passwords cost more, the step hides."""
    slow: list[str] = []

    def counted(secret: str, stored: str) -> bool:
        slow.extend([stored] if is_slow(stored) else [])
        return matches(secret, stored)

    monkeypatch.setattr("relayd.directory.directory.matches", counted)
    await house.add("argon", "secret")
    await house.add("quick", QUICK)
    await house.add("apps", "secret", "$app$a${PLAIN}x")
    await house.add("empty")
    for name in ("argon", "quick", "apps", "empty", "nobody"):
        slow.clear()
        house.pauses.clear()
        assert await house.directory.authenticate(name, "wrong") is Refusal.WRONG
        assert len(slow) == (2 if name == "apps" else 1), name
        (pause,) = house.pauses
        assert 0 < pause <= PACE, name
