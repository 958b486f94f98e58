"""A caller of a tenant sees and changes that tenant's mail alone, and stops nobody's."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from relayd.directory.entry import Type
from relayd.directory.fields import draft
from tests.control.conftest import Control
from tests.control.test_queue import Api, put

QUICK = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
"""The hash of "password"."""


@pytest.fixture
async def ann(control: Control) -> AsyncIterator[Api]:
    """The administrator of the tenant acme, whose domain is acme.example."""
    for type, values in (
        (Type.TENANT, {"name": "acme"}),
        (Type.DOMAIN, {"name": "acme.example", "tenant": "acme"}),
        (Type.DOMAIN, {"name": "other.example"}),
        (Type.INDIVIDUAL, {"name": "ann", "tenant": "acme", "secrets": QUICK, "roles": "tenant-admin"}),
    ):
        await control.parts.principals.create(type, draft(type, values))
    async with control.session(Authorization=aiohttp.encode_basic_auth("ann", "password")) as session:
        yield Api(session)


async def test_only_mail_of_the_tenants_domains_is_seen_and_changed(control: Control, ann: Api) -> None:
    rig = control.rig
    sent = await put(rig, "x@far.example", sender="a@ACME.example")
    received = await put(rig, "a@acme.example", "b@acme.example", sender="x@far.example")
    both = await put(rig, "a@acme.example", "b@other.example", sender="x@far.example")
    others = await put(rig, "b@other.example", sender="")
    assert await ann.ids() == [sent.id, received.id]
    assert await ann.ids(text="far.example") == [sent.id, received.id]
    assert (await ann.ask("GET", f"/queue/messages/{sent.id}"))["return_path"].lower() == "a@acme.example"
    for message in (both, others):
        for method in ("GET", "PATCH", "DELETE"):
            assert await ann.status(method, f"/queue/messages/{message.id}") == 404
    assert await ann.ask("PATCH", "/queue/messages") is True
    assert await ann.ask("POST", "/queue/hold", json={"reason": "x"}, dry_run=1) == {
        "matched": 2,
        "sample": [sent.id, received.id],
    }
    assert await ann.ask("DELETE", f"/queue/messages/{sent.id}") is True
    assert await ann.ask("DELETE", "/queue/messages") is True
    assert await ann.ids() == []
    assert (await ann.ask("POST", "/queue/undo", json={}))["matched"] == 2
    assert await ann.ids() == [sent.id, received.id]


async def test_what_concerns_everybody_is_not_a_tenants(control: Control, ann: Api) -> None:
    for method, path in (
        ("PATCH", "/queue/status/stop"),
        ("PATCH", "/queue/status/start"),
        ("GET", "/queue/audit"),
    ):
        assert await ann.status(method, path) == 403
    assert control.rig.o.queue.paused is None
    assert await ann.status("GET", "/queue/status") == 200


async def test_a_tenant_without_a_domain_sees_nothing(control: Control, ann: Api) -> None:
    await put(control.rig, "x@far.example")
    await control.parts.principals.delete("acme.example")
    assert await ann.ids() == []


async def test_held_mail_of_others_is_not_there(control: Control, ann: Api) -> None:
    own = await put(control.rig, "a@acme.example", sender="x@far.example", held="looks odd")
    other = await put(control.rig, "b@other.example", sender="x@far.example", held="looks odd")
    assert [each["id"] for each in (await ann.ask("GET", "/quarantine"))["items"]] == [own.id]
    for method, path in (("GET", ""), ("POST", "/release"), ("DELETE", ""), ("POST", "/report?report=spam")):
        async with ann.session.request(method, f"/api/quarantine/{other.id}{path}") as answer:
            assert (await answer.json())["error"] == "notFound"
    assert await ann.ask("POST", f"/quarantine/{own.id}/release") is True
    assert await ann.ask("GET", "/quarantine") == {"items": [], "total": 0}


async def test_everybodys_model_is_no_tenants(ann: Api) -> None:
    assert await ann.status("POST", "/spam-filter/train/spam") == 403
