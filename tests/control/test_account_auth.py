"""Operations 38 and 39, and what a changed secret ends."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from relayd.directory.entry import Type
from relayd.directory.fields import draft
from relayd.directory.totp import parse_totp
from tests.control.conftest import Control

OTP = "otpauth://totp/Relay:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
QUICK = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
"""The hash of "password"."""

APP = (
    "dGVzdCQyMDI1LTAxLTA1VDE0OjEyOjUxLjg0NyswMDowMA==",
    "$6$4M/5LmG7b13r0cdE$6zb.i6wJ3pAQHA2MRHkKg0t8bgSYb2IeqiIU115t.NugwW6VXifE0VKI5n2BQUNwdeDMUzaX82TmhuVVgC0Gx1",
)


@pytest.fixture(autouse=True)
async def ann(control: Control) -> None:
    values = draft(Type.INDIVIDUAL, {"name": "ann", "secrets": [QUICK, "$app$old$" + APP[1]], "roles": ["user"]})
    await control.parts.principals.create(Type.INDIVIDUAL, values)


async def ask(control: Control, authorization: str, steps: Any = None) -> Any:
    """The JSON of the answer, with its status when that is not 200."""
    method = "GET" if steps is None else "POST"
    async with control.session(Authorization=authorization) as session:
        async with session.request(method, "/api/account/auth", json=steps) as answer:
            found = await answer.json()
            return found if answer.status == 200 else (answer.status, found["detail"])


def as_ann(secret: str = "password") -> str:
    return aiohttp.encode_basic_auth("ann", secret)


async def token(control: Control) -> str:
    asked = {"type": "code", "client_id": "web", "redirect_uri": "https://a.example/"}
    async with control.session(Authorization=as_ann()) as session:
        async with session.post("/api/oauth", json=asked) as answer:
            code = (await answer.json())["data"]["code"]
        form = {"grant_type": "authorization_code", "code": code, **asked}
        async with session.post("/auth/token", data=form) as answer:
            return f"Bearer {(await answer.json())['access_token']}"


async def test_the_seeds_examples(control: Control) -> None:
    admin = aiohttp.encode_basic_auth("admin", "s3:cret")
    assert await ask(control, admin) == {"data": {"otpEnabled": False, "appPasswords": []}}
    assert await ask(control, admin, [{"type": "addAppPassword", "name": APP[0], "password": APP[1]}]) == {
        "error": "other",
        "details": "Fallback administrator accounts do not support 2FA or AppPasswords",
        "reason": None,
    }
    assert (await ask(control, admin, [{"type": "setPassword", "password": "x"}]))["error"] == "unsupported"
    assert await ask(control, admin, []) == (400, "Empty request")
    assert await ask(control, admin, [{"type": "nonsense"}]) == (400, "JSON deserialization failed")


async def test_app_passwords_come_and_go_by_a_token_too(control: Control) -> None:
    bearer = await token(control)
    assert await ask(control, bearer, [{"type": "addAppPassword", "name": APP[0], "password": APP[1]}]) == {
        "data": None
    }
    assert await ask(control, bearer) == {"data": {"otpEnabled": False, "appPasswords": ["old", APP[0]]}}
    again = await ask(control, bearer, [{"type": "addAppPassword", "name": "old", "password": "x"}])
    assert again["details"] == "Invalid parameter"
    assert (await ask(control, bearer, [{"type": "addAppPassword", "name": "a$b", "password": "x"}]))[
        "error"
    ] == "other"
    assert await ask(control, bearer, [{"type": "removeAppPassword", "name": "old"}]) == {"data": None}
    assert (await ask(control, bearer))["data"]["appPasswords"] == [APP[0]]
    assert await ask(control, bearer, [{"type": "removeAppPassword"}]) == {"data": None}
    assert (await ask(control, bearer))["data"]["appPasswords"] == []


async def test_the_password_is_changed_by_who_gives_it_and_the_old_one_ends_at_once(control: Control) -> None:
    bearer = await token(control)
    only_basic = {"error": "other", "details": "Password changes only allowed using Basic auth", "reason": None}
    for step in (
        {"type": "setPassword", "password": "new"},
        {"type": "enableOtpAuth", "url": OTP},
        {"type": "disableOtpAuth"},
    ):
        assert await ask(control, bearer, [step]) == only_basic
    assert await ask(control, as_ann("password"), [{"type": "setPassword", "password": "new"}]) == {"data": None}
    assert (await ask(control, as_ann("password")))[0] == 401
    assert (await ask(control, bearer))[0] == 401
    assert (await ask(control, as_ann("new")))["data"]["appPasswords"] == ["old"]
    found = await control.parts.principals.find("ann")
    assert found is not None
    assert found.secrets.passwords[0].startswith("$argon2id$")
    assert found.secrets.scram


async def test_an_app_password_takes_no_account_over(control: Control) -> None:
    await control.parts.principals.delete("ann")
    values = draft(
        Type.INDIVIDUAL,
        {"name": "ann", "secrets": [QUICK, "$app$old${PLAIN}app"], "roles": ["user"]},
    )
    await control.parts.principals.create(Type.INDIVIDUAL, values)
    assert (await ask(control, as_ann("app")))["data"]["appPasswords"] == ["old"]
    assert (await ask(control, as_ann("app"), [{"type": "setPassword", "password": "x"}]))["error"] == "other"


async def test_one_time_codes_are_switched_on_asked_for_and_off_again(control: Control) -> None:
    assert await ask(control, as_ann(), [{"type": "enableOtpAuth", "url": "otpauth://hotp/x"}]) != {"data": None}
    assert await ask(control, as_ann(), [{"type": "enableOtpAuth", "url": OTP}]) == {"data": None}
    assert (await ask(control, as_ann()))[0] == 402
    now = control.rig.clock.now
    code = parse_totp(OTP).generate_otp(int(now // 30))
    found = await ask(control, as_ann(f"password${code}"))
    assert found == {"data": {"otpEnabled": True, "appPasswords": ["old"]}}
    control.rig.clock.now += 30
    code = parse_totp(OTP).generate_otp(int(control.rig.clock.now // 30))
    assert await ask(control, as_ann(f"password${code}"), [{"type": "disableOtpAuth", "url": None}]) == {"data": None}
    assert (await ask(control, as_ann()))["data"]["otpEnabled"] is False


async def test_an_account_of_the_file_is_shown_and_not_changed(control: Control) -> None:
    credentials = aiohttp.encode_basic_auth("user", "plain")
    assert await ask(control, credentials) == {"data": {"otpEnabled": False, "appPasswords": []}}
    found = await ask(control, credentials, [{"type": "addAppPassword", "name": "x", "password": "y"}])
    assert found["error"] == "unsupported"
    assert "configuration file" in found["details"]
