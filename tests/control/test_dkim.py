"""Signing keys by the API: what is created, what one takes over from another, what is shown, what is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from relayd.assembly.control_socket import Signatures
from relayd.config.settings import Settings
from relayd.control.access import Caller
from relayd.control.answers import Failure, Problem
from relayd.control.api.dkim import DkimOperations, NewSignature, NoSignatures, SignatureShown, SignaturesQuery
from relayd.control.api.settings import Insert, Operation, SettingsUnavailable
from relayd.control.routes import Call
from relayd.events.event import Event, EventStream, Span
from relayd.mailauth.dkim_sign import GRACE
from relayd.mailauth.signature_options import SignatureOptions
from relayd.mailauth.signing_key import record_name
from relayd.resolver.zone import Zone
from relayd.telemetry.render import rfc3339
from tests.control.conftest import settings_of
from tests.rig.signing import signing_with

NOW = 1_735_900_000.0  # January 2025


class House:
    """The operations over settings of their own, and a DNS."""

    def __init__(self, settings: Settings) -> None:
        self.events: list[Event] = []
        self.span = Span(EventStream(lambda: NOW, [self.events.append]))
        self.settings = settings
        self.signing = signing_with()
        self.engine = SimpleNamespace(signing=self.signing, resolver=Zone({}))
        self.side = Signatures(cast(Any, self.engine), settings)
        self.area = DkimOperations(self.side, settings, lambda: NOW)

    def call(self, **given: Any) -> Call:
        values: dict[str, Any] = {"request": None, "path": {}, "query": SignaturesQuery(), "body": None, **given}
        return Call(caller=Caller(name="admin", permissions=None), span=self.span, **values)

    async def create(self, **body: Any) -> None:
        await self.area.create(self.call(body=NewSignature(**{"algorithm": "Ed25519", "domain": "a.example", **body})))

    async def shown(self, **query: Any) -> Sequence[SignatureShown]:
        return await self.area.list(self.call(query=SignaturesQuery(**query)))

    async def reload(self) -> None:
        self.signing.keyring = await self.side.configured()

    async def states(self) -> dict[str, str]:
        return {each["id"]: each["state"] for each in await self.shown()}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    settings = await settings_of(tmp_path, Span(EventStream(time.time, [])))
    yield House(settings)
    await settings.store.close()


async def test_the_defaults_are_those_of_the_page(house: House) -> None:
    await house.create(algorithm="Rsa", domain="A.example")
    stored = house.settings.store.values
    assert stored["signature.rsa-a.example.selector"] == "202501r"
    assert stored["signature.rsa-a.example.private-key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    await house.create()
    assert house.settings.store.values["signature.ed25519-a.example.private-key"].startswith("-----BEGIN PRIVATE KEY")
    assert [(event.kind.id, event.fields["details"]) for event in house.events] == [
        ("manage.action", "rsa-a.example"),
        ("manage.action", "ed25519-a.example"),
    ]


async def test_one_that_replaces_another_signs_as_it_did(house: House) -> None:
    await house.create(id="old", selector="s1")
    await house.create(id="old.other", domain="b.example")  # an id that begins like the other
    await house.settings.change([Insert(values=[("signature.old.accounts.0000", "ann")], assert_empty=False)])
    await house.create(id="new", selector="s2", replaces="old")
    options = (await house.settings.load()).records(SignatureOptions)["new"]
    assert (options.accounts, options.replaces, options.selector) == (("ann",), "old", "s2")
    assert options.headers == ("From", "To", "Date", "Subject", "Message-ID")
    assert await house.states() == {"new": "new", "old": "new", "old.other": "new"}
    await house.reload()
    assert await house.states() == {"new": "waiting", "old": "active", "old.other": "active"}
    house.signing.keyring.publish("new", NOW)
    assert await house.states() == {"new": "active", "old": "retired", "old.other": "active"}
    (old,) = [each for each in await house.shown() if each["id"] == "old"]
    assert old["keepUntil"] == rfc3339(NOW + 5 * 86400 + GRACE)
    house.signing.keyring.publish("new", NOW - 5 * 86400 - GRACE - 1)
    assert (await house.states())["old"] == "obsolete"


@pytest.mark.parametrize("replaces", ["none", "other"])
async def test_only_one_of_the_same_domain_can_be_replaced(house: House, replaces: str) -> None:
    await house.create(id="other", domain="b.example")
    with pytest.raises(Failure) as caught:
        await house.create(id="new", replaces=replaces)
    assert caught.value.body == {"error": "notFound", "item": replaces}


async def test_a_key_that_is_there_is_not_shown_and_not_lost(house: House) -> None:
    await house.create()
    before = house.settings.store.values
    with pytest.raises(Failure) as caught:
        await house.create()
    assert caught.value.body["value"] == "ed25519-a.example"
    assert "PRIVATE" not in str(caught.value.body)
    assert house.settings.store.values == before


async def test_what_cannot_be_written_is_said(house: House) -> None:
    with pytest.raises(Failure) as caught:
        await house.create(selector="not a selector")
    assert "expected a selector" in caught.value.body["reason"]
    assert "PRIVATE" not in caught.value.body["reason"]

    async def broken(operations: Sequence[Operation]) -> Sequence[str]:
        raise SettingsUnavailable("disk full")

    house.settings.change = broken  # type: ignore[method-assign]
    with pytest.raises(Problem) as problem:
        await house.create()
    assert problem.value.status == 503


async def test_the_dns_is_asked_on_demand(house: House) -> None:
    await house.create(selector="s")
    await house.reload()
    assert [each["published"] for each in await house.shown()] == [None]
    assert "there is no TXT record" in str([each["published"] for each in await house.shown(check=True)])
    (shown,) = await house.shown()
    house.engine.resolver = Zone({record_name("s", "a.example"): {"TXT": [shown["content"]]}})
    assert [each["published"] for each in await house.shown(domain="A.EXAMPLE", check=True)] == [""]
    assert await house.shown(domain="b.example") == []


async def test_a_file_that_is_gone_is_told_and_its_public_key_is_unknown(house: House, tmp_path: Path) -> None:
    values = [("private-key", f"%{{file:{tmp_path}/gone.pem}}%"), ("domain", "a.example"), ("selector", "s")]
    await house.settings.change([Insert(values=values, assert_empty=True, prefix="signature.x")])
    await house.reload()
    (shown,) = await house.shown()
    assert (shown["state"], shown["content"]) == ("unreadable", "")
    assert "No such file" in shown["problem"]
    with pytest.raises(Problem):
        await house.area.public_key(house.call(path={"id": "x"}))


async def test_without_signatures_there_is_nothing() -> None:
    none = NoSignatures()
    assert (await none.configured()).ids == ()
