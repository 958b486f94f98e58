"""`/api/principal`: every type, every operation, who may do it, and every error form."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from relayd.directory.editing import Authority
from relayd.directory.entry import Type
from relayd.directory.fields import draft
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import AUTHENTICATE, PERMISSIONS
from relayd.directory.rows import Selection
from tests.control.conftest import ACCOUNTS, Control

FAMILIES = {  # control-api section 1.3
    "individual": "individual",
    "group": "group",
    "resource": "principal",
    "location": "principal",
    "list": "mailing-list",
    "tenant": "tenant",
    "role": "role",
    "domain": "domain",
    "apiKey": "api-key",
    "oauthClient": "oauth-client",
    "other": "principal",
}
VERBS = ("list", "get", "create", "update", "delete")
HASH = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="


async def ask(session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> Any:
    async with session.request(method, "/api/principal" + path, json=body) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def status(session: aiohttp.ClientSession, method: str, path: str, body: Any = None) -> int:
    async with session.request(method, "/api/principal" + path, json=body) as answer:
        return answer.status


async def add(control: Control, type: str, name: str, **given: Any) -> int:
    return await control.parts.principals.create(Type(type), draft(Type(type), {"name": name, **given}), Authority())


def test_the_families_of_permissions_are_the_apis() -> None:
    assert {each.value: each.family for each in Type} == FAMILIES


@pytest.mark.parametrize("type", FAMILIES)
async def test_each_operation_on_each_type_asks_for_its_own_permission(control: Control, type: str) -> None:
    family = FAMILIES[type]
    control.accounts.reconfigure(
        ACCOUNTS
        | {
            f"{way}-{verb}": AccountOptions(
                secret="x",
                roles=(),
                enabled_permissions=(AUTHENTICATE, f"{family}-{verb}")
                if way == "only"
                else tuple(PERMISSIONS - {f"{family}-{verb}"}),
            )
            for way in ("only", "but")
            for verb in VERBS
        }
    )
    for way, expected in (("but", 403), ("only", 200)):
        await add(control, type, "thing")
        calls = {
            "list": ("GET", f"?types={type}", None),
            "get": ("GET", "/thing", None),
            "create": ("POST", "", {"type": type, "name": "made"}),
            "update": ("PATCH", "/thing", [{"action": "set", "field": "description", "value": "x"}]),
            "delete": ("DELETE", "/thing", None),
        }
        for verb, (method, path, body) in calls.items():
            credentials = aiohttp.encode_basic_auth(f"{way}-{verb}", "x")
            async with control.session(Authorization=credentials) as session:
                assert await status(session, method, path, body) == expected, (way, verb)
                if verb == "delete" and way == "but":
                    assert await status(session, "DELETE", f"?type={type}&confirm=true") == 403
        if way == "but":
            await control.parts.principals.delete("thing")


async def test_the_whole_list_asks_for_every_list_permission(control: Control) -> None:
    every = {f"{family}-list" for family in FAMILIES.values()}
    for missing in [*sorted(every), None]:
        may = tuple(every - {missing} | {AUTHENTICATE})
        control.accounts.reconfigure({"lister": AccountOptions(secret="x", roles=(), enabled_permissions=may)})
        async with control.session(Authorization=aiohttp.encode_basic_auth("lister", "x")) as session:
            assert await status(session, "GET", "") == (403 if missing else 200)


FULL: dict[str, dict[str, Any]] = {
    "domain": {"name": "example.net", "description": "d", "nextHop": "hub", "allowances": ["messages:9/day"]},
    "tenant": {"name": "t2", "quota": [0, 5], "roles": ["user"], "enabledPermissions": ["email-send"], "picture": "p"},
    "role": {"name": "r2", "enabledPermissions": ["email-send", "logs-view"], "disabledPermissions": ["undelete"]},
    "individual": {
        "name": "ann",
        "description": "Ann",
        "secrets": [HASH, "$app$phone$" + HASH],
        "emails": ["ann@example.org", "a@example.org"],
        "quota": 1024,
        "memberOf": ["staff"],
        "lists": ["all"],
        "roles": ["user", "r1"],
        "tenant": "acme",
        "enabledPermissions": ["logs-view"],
        "disabledPermissions": ["email-receive"],
        "picture": "data:image/png;base64,AAAA",
        "urls": ["https://example.org/"],
        "allowances": ["recipients:300/hour", "bytes:1000/month"],
        "senders": ["@example.org"],
        "suspended": "owes money",
    },
    "group": {"name": "g2", "emails": ["g2@example.org", "@example.org"], "members": ["jane"], "memberOf": ["staff"]},
    "list": {"name": "l2", "emails": "l2@example.org", "members": ["all", "jane"], "externalMembers": ["X@y.example"]},
    "resource": {"name": "room", "emails": "room@example.org", "secrets": HASH},
    "location": {"name": "house", "emails": "house@example.org", "members": ["jane"]},
    "other": {"name": "thing", "description": "x", "urls": ["u"]},
    "apiKey": {"name": "k", "description": "key", "secrets": HASH, "roles": ["user"], "tenant": "acme"},
    "oauthClient": {"name": "client", "secrets": HASH, "emails": ["x@nowhere.example"], "urls": ["https://a/cb"]},
}


async def world(control: Control) -> None:
    """A domain, a tenant, a role, a group, a list and somebody."""
    await add(control, "tenant", "acme")
    await add(control, "domain", "example.org", tenant="acme")
    for type, name in (("role", "r1"), ("group", "staff"), ("list", "all"), ("individual", "jane")):
        await add(control, type, name)


@pytest.mark.parametrize("type", FULL)
async def test_every_field_of_every_type_comes_back_as_it_was_given(
    control: Control, admin: aiohttp.ClientSession, type: str
) -> None:
    await world(control)
    given = FULL[type]
    created = await ask(admin, "POST", "", {"type": type, "id": 4711, "usedQuota": 3, **given})
    found = (await ask(admin, "GET", f"/{given['name']}"))["data"]
    assert found.pop("id") == created["data"] != 4711
    if type in ("individual", "group"):
        found.setdefault("quota", 0)
        given = {"quota": 0, **given}
    expected = {"type": type, **given}
    for field in ("emails", "secrets"):  # one value is written as that value
        if isinstance(expected.get(field), list) and len(expected[field]) == 1:
            expected[field] = expected[field][0]
    if type == "list":
        expected["externalMembers"] = ["X@y.example"]
    if type in ("domain", "tenant"):
        expected["members"] = 0
    assert found == expected
    listed = (await ask(admin, "GET", f"?types={type}&filter={given['name']}"))["data"]
    assert listed == {"items": [{"id": created["data"], **found}], "total": 1}


async def test_paging_counting_and_fields(control: Control, admin: aiohttp.ClientSession) -> None:
    for number in range(7):
        await add(control, "group", f"g{number}", description="odd" if number % 2 else "even")
    pages = [
        (await ask(admin, "GET", f"?type=group&limit=3&page={page}&fields=name"))["data"] for page in (0, 1, 2, 3, 4)
    ]
    assert [[each["name"] for each in page["items"]] for page in pages] == [
        ["g0", "g1", "g2"],
        ["g0", "g1", "g2"],
        ["g3", "g4", "g5"],
        ["g6"],
        [],
    ]
    assert {page["total"] for page in pages} == {7}
    assert (await ask(admin, "GET", "?types=group&count=1"))["data"] == {"items": [], "total": 7}
    assert (await ask(admin, "GET", "?types=group&filter=odd+G3&fields=description"))["data"] == {
        "items": [{"description": "odd"}],
        "total": 1,
    }
    assert (await ask(admin, "GET", "?types=group,nonsense&limit=x"))["data"]["total"] == 7
    everything = (await ask(admin, "GET", ""))["data"]
    names = [each["name"] for each in everything["items"]]
    assert names == sorted([*ACCOUNTS, *(f"g{number}" for number in range(7))])
    assert (await ask(admin, "GET", "?tenant=nobody")) == {"error": "notFound", "item": "nobody"}


async def test_a_long_list_is_answered_whole(control: Control, admin: aiohttp.ClientSession) -> None:
    for number in range(260):
        await add(control, "other", f"o{number:03}")
    found = (await ask(admin, "GET", "?fields=name"))["data"]
    names = [each["name"] for each in found["items"]]
    assert (names, len(names)) == (sorted(names), found["total"])
    assert len(names) == 260 + len(ACCOUNTS)
    part = (await ask(admin, "GET", "?types=other&limit=255&page=1&fields=name"))["data"]["items"]
    assert [part[0]["name"], part[-1]["name"], len(part)] == ["o000", "o254", 255]


REFUSED: list[tuple[str, Any, dict[str, Any]]] = [
    ("create", {"type": "group"}, {"error": "fieldMissing", "field": "name"}),
    ("create", {"name": "x"}, {"error": "fieldMissing", "field": "type"}),
    ("create", {"type": "list", "name": "JANE"}, {"error": "fieldAlreadyExists", "field": "name", "value": "jane"}),
    ("create", {"type": "group", "name": "user"}, {"error": "fieldAlreadyExists", "field": "name", "value": "user"}),
    (
        "create",
        {"type": "group", "name": "x", "emails": "jane@example.org"},
        {"error": "fieldAlreadyExists", "field": "emails", "value": "jane@example.org"},
    ),
    (
        "create",
        {"type": "group", "name": "x", "emails": "x@unknown.example"},
        {"error": "notFound", "item": "unknown.example"},
    ),
    ("create", {"type": "group", "name": "x", "members": ["nobody"]}, {"error": "notFound", "item": "nobody"}),
    ("create", {"type": "individual", "name": "x", "roles": ["none"]}, {"error": "notFound", "item": "none"}),
    ("create", {"type": "individual", "name": "x", "lists": ["none"]}, {"error": "notFound", "item": "none"}),
    ("create", {"type": "individual", "name": "x", "tenant": "none"}, {"error": "notFound", "item": "none"}),
    (
        "create",
        {"type": "individual", "name": "x", "enabledPermissions": ["fly"]},
        {"error": "other", "details": "Invalid enabledPermissions value", "reason": "there is no permission fly"},
    ),
    (
        "create",
        {"type": "individual", "name": "x", "emails": "no address"},
        {"error": "other", "details": "Invalid email", "reason": "no address: Address must have the form user@domain"},
    ),
    (
        "create",
        {"type": "domain", "name": "x.example", "secrets": ["s"]},
        {"error": "other", "details": "Invalid parameter", "reason": "secrets: a principal of type domain has none"},
    ),
    (
        "update",
        [{"action": "addItem", "field": "description", "value": "x"}],
        {"error": "other", "details": "Invalid parameter", "reason": "description: addItem is for lists"},
    ),
    (
        "update",
        [{"action": "set", "field": "id", "value": 5}],
        {
            "error": "other",
            "details": "Invalid parameter",
            "reason": "id: a principal of type individual has none that can be set",
        },
    ),
    (
        "update",
        [{"action": "set", "field": "memberOf", "value": ["all"]}],
        {"error": "other", "details": "Invalid memberOf value", "reason": "all cannot be one"},
    ),
    (
        "update",
        [{"action": "set", "field": "quota", "value": -1}],
        {"error": "other", "details": "Invalid parameter", "reason": "quota: expected octets, 0 for no limit"},
    ),
    ("delete", "/example.org", {"error": "other", "details": "Domain has members", "reason": "jane"}),
    ("delete", "/acme", {"error": "other", "details": "Tenant has members", "reason": "example.org"}),
    ("delete", "/noone", {"error": "notFound", "item": "noone"}),
    (
        "delete",
        "/user",
        {
            "error": "unsupported",
            "details": "user stands in the configuration file: change account.user.* there",
        },
    ),
]


@pytest.mark.parametrize(("what", "given", "expected"), REFUSED, ids=range(len(REFUSED)))
async def test_what_is_refused_and_how(
    control: Control, admin: aiohttp.ClientSession, what: str, given: Any, expected: dict[str, Any]
) -> None:
    await world(control)
    jane = [{"action": "addItem", "field": "emails", "value": "jane@example.org"}]
    assert await ask(admin, "PATCH", "/jane", jane) == {"data": None}
    before = await control.parts.principals.count(Selection())
    if what == "create":
        found = await ask(admin, "POST", "", given)
    elif what == "update":
        found = await ask(admin, "PATCH", "/jane", given)
    else:
        found = await ask(admin, "DELETE", given)
    assert found == expected
    assert await control.parts.principals.count(Selection()) == before


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"type":"group","name":"x","shoe":1}',
        b'{"type":"nonsense","name":"x"}',
        b'{"type":"group","name":7}',
        b'{"type":"individual","name":"x","quota":1.5}',
    ],
)
async def test_a_body_that_is_none_is_400(admin: aiohttp.ClientSession, body: bytes) -> None:
    async with admin.post("/api/principal", data=body) as answer:
        if body:
            assert (answer.status, (await answer.json())["detail"]) == (400, "JSON deserialization failed")
        else:
            assert await answer.json() == {"error": "fieldMissing", "field": "type"}


async def test_an_individual_of_the_old_name_is_an_administrator(admin: aiohttp.ClientSession) -> None:
    await ask(admin, "POST", "", {"type": "superuser", "name": "boss", "emails": [], "secrets": []})
    found = (await ask(admin, "GET", "/BOSS"))["data"]
    assert (found["type"], found["roles"]) == ("individual", ["admin"])
    assert (await ask(admin, "GET", f"/{found['id']}"))["data"] == found


async def test_hashes_are_for_who_may_change_them_and_keys_of_codes_for_nobody(
    control: Control, admin: aiohttp.ClientSession
) -> None:
    otp = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=y"
    await add(control, "individual", "jane", secrets=[HASH, otp])
    assert (await ask(admin, "GET", "/jane"))["data"]["secrets"] == [HASH, otp[:24] + "********&issuer=y"]
    control.accounts.reconfigure(
        {
            "reader": AccountOptions(
                secret="x", roles=(), enabled_permissions=(AUTHENTICATE, "individual-get", "individual-list")
            )
        }
    )
    async with control.session(Authorization=aiohttp.encode_basic_auth("reader", "x")) as session:
        assert "secrets" not in (await ask(session, "GET", "/jane"))["data"]
        assert "secrets" not in (await ask(session, "GET", "?types=individual&filter=jane"))["data"]["items"][0]


async def test_many_are_deleted_at_once(control: Control, admin: aiohttp.ClientSession) -> None:
    for number in range(5):
        await add(control, "list", f"l{number}", description="old" if number else "new")
    for query in ("", "?type=list", "?confirm=true", "?type=nonsense&confirm=true"):
        assert await status(admin, "DELETE", query) == 400
    assert await ask(admin, "DELETE", "?type=list&filter=old&confirm=true") == {"data": True}
    assert await ask(admin, "DELETE", "?type=list&filter=old&confirm=true") == {"data": False}
    assert (await ask(admin, "GET", "?types=list&fields=name"))["data"]["items"] == [{"name": "l0"}]
    assert [each.data()["details"] for each in control.named("manage.action")] == ["delete principals of type list"] * 2


async def test_who_is_of_a_tenant_sees_nothing_else(control: Control, admin: aiohttp.ClientSession) -> None:
    await world(control)
    await add(control, "individual", "ann", tenant="acme", roles=["tenant-admin"], secrets=HASH)
    async with control.session(Authorization=aiohttp.encode_basic_auth("ann", "password")) as session:
        assert await ask(session, "GET", "/jane") == {"error": "notFound", "item": "jane"}
        assert await ask(session, "DELETE", "/jane") == {"error": "notFound", "item": "jane"}
        assert await ask(session, "PATCH", "/jane", []) == {"error": "notFound", "item": "jane"}
        listed = (await ask(session, "GET", "?types=individual,domain,group&fields=name"))["data"]
        assert listed == {"items": [{"name": "ann"}, {"name": "example.org"}], "total": 2}
        assert await ask(session, "GET", "?types=group&tenant=other") == {"error": "notFound", "item": "other"}
        await ask(session, "POST", "", {"type": "group", "name": "staff2", "emails": "s@example.org"})
        assert await status(session, "POST", "", {"type": "tenant", "name": "t"}) == 403
        assert await ask(session, "DELETE", "?type=group&confirm=true") == {"data": True}
    assert (await ask(admin, "GET", "/staff"))["data"]["name"] == "staff"


async def test_a_tenant_has_no_more_than_its_quota(control: Control, admin: aiohttp.ClientSession) -> None:
    await add(control, "tenant", "acme", quota=[0, 0, 1])
    await ask(admin, "POST", "", {"type": "group", "name": "one", "tenant": "acme"})
    async with admin.post("/api/principal", json={"type": "group", "name": "two", "tenant": "acme"}) as answer:
        assert (answer.status, (await answer.json())["title"]) == (403, "Tenant quota exceeded")
    assert control.named("limit.tenant-quota")


async def test_a_database_that_fails_is_503(control: Control, admin: aiohttp.ClientSession) -> None:
    await control.parts.principals.database.close()
    async with admin.get("/api/principal/jane") as answer:
        assert (answer.status, answer.content_type) == (503, "application/problem+json")
