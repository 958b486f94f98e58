"""Failed sign-ins over SMTP: they ban the address where one signs in, and nowhere else."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from relayd.directory.directory import Directory
from relayd.directory.options import AccountOptions
from relayd.events.event import Event, EventStream, Span
from relayd.reception.client import Client
from relayd.reception.sign_in import BANNED, SUCCEEDED, WRONG, SignIns
from relayd.reputation.bans import Bans
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Rate


class House:
    def __init__(self) -> None:
        self.now = 1000.0
        self.events: list[Event] = []
        self.stream = EventStream(lambda: self.now, [self.events.append])
        self.bans = Bans(BanOptions(auth_rate=Rate(3, 3600.0)))
        accounts = {"ann": AccountOptions(secret="good", roles=("user",)), "careful": AccountOptions(secret="good")}
        self.directory = Directory(accounts, lambda: self.now, pause=self.pause)
        self.sign_ins = SignIns(self.directory, lambda: self.now, bans=self.bans)

    async def pause(self, seconds: float) -> None:
        """In place of waiting."""

    def client(self, address: str | None = "203.0.113.5", **fields: Any) -> Client:
        parsed = ipaddress.ip_address(address) if address is not None else None
        span = Span(self.stream)
        return Client(span=span, session_id=1, listener="s", **{"role": "submission", "address": parsed, **fields})

    def ids(self) -> list[str]:
        return [event.kind.id for event in self.events]


@pytest.fixture
def house() -> House:
    return House()


async def test_an_address_is_banned_for_an_hour_and_twice_as_long_the_next_time(house: House) -> None:
    client = house.client()
    for lasts in (3600, 7200):
        tries = 0
        while house.sign_ins.shut_out(client) is None:
            assert await house.sign_ins.by_password(client, "ann", "bad") == WRONG
            tries += 1
            assert tries < 10
        assert house.ids()[-2:] == ["security.authentication-ban", "security.ip-blocked"]
        assert house.sign_ins.shut_out(client) == BANNED
        assert house.sign_ins.shut_out(house.client("203.0.113.6")) is None
        assert house.sign_ins.shut_out(house.client(role="mx")) is None  # mail of others may come from there
        house.now += lasts - 1
        assert house.sign_ins.shut_out(client) == BANNED
        house.now += 1
        assert house.sign_ins.shut_out(client) is None
    house.directory.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", None])
async def test_this_machine_is_never_banned(house: House, address: str | None) -> None:
    client = house.client(address)
    for _ in range(10):
        await house.sign_ins.by_password(client, "ann", "bad")
    assert house.sign_ins.shut_out(client) is None
    house.directory.close()


async def test_others_failures_with_a_login_do_not_shut_out_who_used_it_well(house: House) -> None:
    home = house.client("198.51.100.1")
    assert await house.sign_ins.by_password(home, "ann", "good") == SUCCEEDED
    for number in range(2, 12):
        await house.sign_ins.by_password(house.client(f"203.0.113.{number}"), "ann", "bad")
    owner = house.client("198.51.100.1")
    assert await house.sign_ins.by_password(owner, "ann", "mistyped") == WRONG
    assert house.sign_ins.shut_out(owner) is None
    assert await house.sign_ins.by_password(owner, "ann", "good") == SUCCEEDED
    assert house.sign_ins.shut_out(house.client("203.0.113.11")) == BANNED  # by the login's failures
    house.directory.close()
