"""Devices, introspection, userinfo and the well-known documents."""

from __future__ import annotations

import re
from typing import Any

import aiohttp
import pytest

from relayd.directory.entry import Type
from relayd.directory.fields import draft
from tests.control.conftest import Control

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
QUICK = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
ANN = aiohttp.encode_basic_auth("ann", "password")


@pytest.fixture(autouse=True)
async def ann(control: Control) -> None:
    principals = control.parts.principals
    await principals.create(Type.DOMAIN, draft(Type.DOMAIN, {"name": "example.org"}))
    values = {"name": "ann", "secrets": QUICK, "roles": ["user"], "emails": "ann@example.org"}
    await principals.create(Type.INDIVIDUAL, draft(Type.INDIVIDUAL, values))


async def post(control: Control, path: str, form: dict[str, str] | bytes, **headers: str) -> tuple[int, Any]:
    async with control.session(**headers) as session, session.post(path, data=form) as answer:
        return answer.status, await answer.json()


async def poll(control: Control, code: str, client_id: str = "tv") -> tuple[int, Any]:
    form = {"grant_type": DEVICE, "client_id": client_id, "device_code": code}
    return await post(control, "/auth/token", form)


async def approve(control: Control, user_code: str) -> Any:
    async with control.session(Authorization=ANN) as session:
        async with session.post("/api/oauth", json={"type": "device", "code": user_code}) as answer:
            return (await answer.json())["data"]


async def test_a_device_is_let_in_by_somebody_elsewhere(control: Control) -> None:
    status, device = await post(control, "/auth/device", {"client_id": "tv", "nonce": "x"})
    base = f"http://127.0.0.1:{control.port}"
    assert status == 200
    assert re.fullmatch("[A-Za-z0-9]{40}", device["device_code"])
    assert re.fullmatch("[A-HJ-NP-Z2-9]{4}-[A-HJ-NP-Z2-9]{4}", device["user_code"])
    assert device["verification_uri"] == f"{base}/authorize"
    assert device["verification_uri_complete"] == f"{base}/authorize/?code={device['user_code']}"
    assert (device["expires_in"], device["interval"]) == (1800, 5)
    code = device["device_code"]
    assert await poll(control, code) == (400, {"error": "authorization_pending"})
    assert await poll(control, code, "other") == (400, {"error": "invalid_client"})
    assert await approve(control, "AAAA-AAAA") is False
    assert await approve(control, device["user_code"].lower()) is True
    assert await approve(control, device["user_code"]) is False
    status, tokens = await poll(control, code)
    assert (status, tokens["token_type"], tokens["expires_in"]) == (200, "bearer", 3600)
    assert await poll(control, code) == (400, {"error": "expired_token"})
    async with control.session(Authorization="Bearer " + tokens["access_token"]) as session:
        async with session.get("/auth/userinfo") as answer:
            assert await answer.json() == {
                "sub": "ann",
                "preferred_username": "ann",
                "name": "ann",
                "email": "ann@example.org",
                "email_verified": True,
            }


async def test_a_device_that_waits_too_long_or_errs_too_often_begins_anew(control: Control) -> None:
    _, device = await post(control, "/auth/device", {"client_id": "tv"})
    for _ in range(3):
        await poll(control, device["device_code"], "other")
    assert await poll(control, device["device_code"]) == (400, {"error": "expired_token"})
    _, device = await post(control, "/auth/device", {"client_id": "tv"})
    control.rig.clock.now += 1800
    assert await approve(control, device["user_code"]) is False
    assert await poll(control, device["device_code"]) == (400, {"error": "expired_token"})


@pytest.mark.parametrize("form", [{}, {"client_id": ""}, {"client_id": "x" * 21}, b"client_id=a&client_id=b"])
async def test_what_is_no_device(control: Control, form: Any) -> None:
    status, found = await post(control, "/auth/device", form)
    assert (status, found["error"]) in ((400, "invalid_client"), (400, "invalid_request"))


async def test_a_token_is_introspected_by_who_signed_in(control: Control) -> None:
    _, device = await post(control, "/auth/device", {"client_id": "tv"})
    await approve(control, device["user_code"])
    _, tokens = await poll(control, device["device_code"])
    assert (await post(control, "/auth/introspect", {"token": tokens["access_token"]}))[0] == 401
    for name, kind, lasts in (("access_token", "bearer", 3600), ("refresh_token", "refresh_token", 30 * 86400)):
        status, found = await post(control, "/auth/introspect", {"token": tokens[name]}, Authorization=ANN)
        assert (status, found["active"], found["username"], found["client_id"]) == (200, True, "ann", "tv")
        assert (found["token_type"], found["exp"] - found["iat"]) == (kind, lasts)
    for form in ({"token": "x"}, {}):
        assert await post(control, "/auth/introspect", form, Authorization=ANN) == (200, {"active": False})
    await control.parts.principals.delete("ann")
    admin = aiohttp.encode_basic_auth("admin", "s3:cret")
    gone = await post(control, "/auth/introspect", {"token": tokens["access_token"]}, Authorization=admin)
    assert gone == (200, {"active": False})


async def test_the_well_known_documents_name_what_is_there(control: Control, tcp: aiohttp.ClientSession) -> None:
    base = f"http://127.0.0.1:{control.port}"
    async with tcp.get("/.well-known/oauth-authorization-server") as answer:
        assert answer.status == 200
        found = await answer.json()
    assert (found["issuer"], found["token_endpoint"]) == (base, f"{base}/auth/token")
    assert found["device_authorization_endpoint"] == f"{base}/auth/device"
    assert found["grant_types_supported"] == ["authorization_code", "refresh_token", DEVICE]
    async with tcp.get("/.well-known/openid-configuration") as answer:
        openid = await answer.json()
    assert openid | found == openid
    assert openid["userinfo_endpoint"] == f"{base}/auth/userinfo"
    async with tcp.get("/auth/jwks.json") as answer:
        assert await answer.json() == {"keys": []}
    async with tcp.get("/auth/userinfo") as answer:
        assert answer.status == 401


async def test_a_peer_of_the_unix_socket_is_nobody(local: aiohttp.ClientSession) -> None:
    async with local.get("/auth/userinfo") as answer:
        assert answer.status == 404


async def test_the_page_that_a_device_points_to_is_there(control: Control) -> None:
    _, device = await post(control, "/auth/device", {"client_id": "tv"})
    async with control.session() as session:
        for each in (device["verification_uri"], device["verification_uri_complete"]):
            async with session.get(each.partition("/authorize")[1] + each.partition("/authorize")[2]) as answer:
                assert answer.status == 200
                assert answer.content_type == "text/html"
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
                assert "/console/authorize.js" in await answer.text()
