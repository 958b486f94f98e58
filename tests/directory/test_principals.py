"""The principals of the database: what is kept, found, listed, and refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from relayd.database.interface import Connection, DatabaseError
from relayd.directory.editing import Authority
from relayd.directory.entry import How, Type
from relayd.directory.fields import change, draft
from relayd.directory.options import AccountOptions
from relayd.directory.permissions import ROLES
from relayd.directory.principal import reserved_by
from relayd.directory.principals import Principals, open_principals
from relayd.directory.refusals import (
    AlreadyExists,
    Configured,
    DirectoryRefusal,
    FieldMissing,
    Invalid,
    NotFound,
    OverTenantQuota,
)
from relayd.directory.rows import Place, Selection, suspended
from relayd.events.event import EventStream, Span

SPAN = Span(EventStream(lambda: 0.0))
QUICK = "{SHA256}XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="
"""The hash of "password"."""


@pytest.fixture
async def principals(tmp_path: Path) -> AsyncIterator[Principals]:
    opened = await open_principals(tmp_path, SPAN)
    yield opened
    await opened.close()


async def add(principals: Principals, type: Type, name: str, by: Authority | None = None, **given: Any) -> int:
    return await principals.create(type, draft(type, {"name": name, **given}), by or Authority())


async def patch(principals: Principals, name: str, *changes: tuple[str, str, Any], by: Authority | None = None) -> None:
    entry = await principals.get(name)
    assert entry is not None
    await principals.update(name, [change(entry.type, *each) for each in changes], by or Authority())  # type: ignore[arg-type]


async def names(principals: Principals, selection: Selection, place: Place = Place(), limit: int = 100) -> list[str]:  # noqa: B008
    return [each.entry.name for each in await principals.page(selection, place, limit)]


async def domain_and_jane(principals: Principals) -> None:
    await add(principals, Type.DOMAIN, "Example.org", description="Example domain")
    await add(principals, Type.LIST, "all", emails=["all@example.org"])
    await add(
        principals,
        Type.INDIVIDUAL,
        "Jane",
        description="Jane Doe",
        emails=["Jane@example.org", "j@example.org"],
        roles=["user"],
        lists="all",
        secrets=QUICK,
    )


async def test_what_was_created_is_read_back_and_survives_a_restart(principals: Principals, tmp_path: Path) -> None:
    await domain_and_jane(principals)
    await principals.close()
    again = await open_principals(tmp_path, SPAN)
    jane = await again.get("JANE")
    assert jane is not None
    assert (jane.name, jane.description, jane.emails) == ("jane", "Jane Doe", ("jane@example.org", "j@example.org"))
    assert (jane.roles, jane.lists, jane.member_of, jane.tenant) == (("user",), ("all",), (), "")
    assert again.has_domains
    found = await again.find("jane")
    assert found is not None
    assert (found.secrets.stored, found.account.may_send) == ((QUICK,), True)
    assert (tmp_path / "directory.db").stat().st_mode & 0o777 == 0o600
    await again.close()


@pytest.mark.parametrize(
    ("address", "how", "matched", "detail"),
    [
        ("JANE@example.ORG", How.EXACT, "jane@example.org", ""),
        ("j+Shop@example.org", How.SUB_ADDRESS, "j@example.org", "shop"),
        ("nobody@example.org", How.CATCH_ALL, "@example.org", ""),
        ("no+body@example.org", How.CATCH_ALL, "@example.org", ""),
        ("all@example.org", How.EXACT, "all@example.org", ""),
    ],
)
async def test_whose_an_address_is(principals: Principals, address: str, how: How, matched: str, detail: str) -> None:
    await domain_and_jane(principals)
    assert await principals.whose("nobody@example.org") is None
    await patch(principals, "jane", ("addItem", "emails", "@example.org"))
    found = await principals.whose(address)
    assert found is not None
    assert (found.how, found.address, found.detail) == (how, matched, detail)
    assert await principals.whose("jane@elsewhere.example") is None
    assert await principals.whose("no address") is None


async def test_changes_are_made_all_or_none_and_count_at_once(principals: Principals) -> None:
    await domain_and_jane(principals)
    before = principals.generation
    told: list[int] = []
    principals.on_change.append(lambda: told.append(principals.generation))
    with pytest.raises(NotFound):
        await patch(principals, "jane", ("set", "name", "jane.doe"), ("addItem", "emails", "a@unknown.example"))
    assert (await principals.get("jane.doe"), await principals.whose("a@unknown.example")) == (None, None)
    await patch(
        principals,
        "jane",
        ("set", "name", "jane.doe"),
        ("set", "description", "Jane Mary Doe"),
        ("addItem", "emails", "jane-doe@example.org"),
        ("removeItem", "emails", "jane@example.org"),
        ("removeItem", "lists", "all"),
        ("set", "roles", ["user", "tenant-admin"]),
    )
    jane = await principals.get("jane.doe")
    assert jane is not None
    assert (jane.emails, jane.description) == (("j@example.org", "jane-doe@example.org"), "Jane Mary Doe")
    assert (jane.lists, jane.roles) == ((), ("user", "tenant-admin"))
    assert await principals.get("jane") is None
    assert await principals.whose("jane@example.org") is None
    assert told == [before + 1, before + 2]


async def test_an_answer_that_was_asked_for_before_a_change_is_not_remembered_after_it(principals: Principals) -> None:
    await domain_and_jane(principals)
    read = principals.database.read

    async def slow(work: Any) -> Any:
        found = await read(work)
        await patch_in_between()
        return found

    async def patch_in_between() -> None:
        principals.database.read = read  # type: ignore[method-assign]
        await patch(principals, "jane", ("set", "description", "new"))

    principals.changed()
    principals.database.read = slow  # type: ignore[method-assign]
    stale = await principals.get("jane")
    assert stale is not None
    fresh = await principals.get("jane")
    assert fresh is not None
    assert (stale.description, fresh.description) == ("Jane Doe", "new")


async def test_a_change_whose_caller_went_away_still_evicts_what_is_remembered(principals: Principals) -> None:
    await domain_and_jane(principals)
    task = asyncio.create_task(patch(principals, "jane", ("set", "description", "new")))
    while not task.done() and not principals.database._waiting:
        await asyncio.sleep(0)
    task.cancel()
    await principals.update("all", [change(Type.LIST, "set", "description", "x")])
    jane = await principals.get("jane")
    assert jane is not None
    assert jane.description == "new"


async def test_names_and_addresses_are_unique_over_types_and_the_configuration(principals: Principals) -> None:
    await domain_and_jane(principals)
    principals.reserved = reserved_by({"app": AccountOptions(secret="x", emails=("App@example.org",))})
    cases: list[tuple[Type, str, dict[str, Any], str, str]] = [
        (Type.GROUP, "jane", {}, "name", "jane"),
        (Type.INDIVIDUAL, "APP", {}, "name", "app"),
        (Type.ROLE, "admin", {}, "name", "admin"),
        (Type.GROUP, "g", {"emails": "j@example.org"}, "emails", "j@example.org"),
        (Type.GROUP, "g", {"emails": ["app@example.org"]}, "emails", "app@example.org"),
    ]
    for type, name, given, field, value in cases:
        with pytest.raises(AlreadyExists) as refused:
            await add(principals, type, name, **given)
        assert (refused.value.field, refused.value.value) == (field, value)
    for action in (principals.delete("app"), principals.update("app", [])):
        with pytest.raises(Configured, match="configuration file"):
            await action
    with pytest.raises(FieldMissing):
        await add(principals, Type.GROUP, "")


async def test_what_the_configuration_hides_is_told(principals: Principals) -> None:
    await domain_and_jane(principals)
    assert await principals.hidden() == {}
    accounts = {"Jane": AccountOptions(secret="x"), "app": AccountOptions(secret="x", emails=("J@example.org",))}
    principals.reserved = reserved_by(accounts | {"fine": AccountOptions(secret="x")})
    found = await principals.hidden()
    assert list(found) == ["app", "jane"]
    assert "j@example.org" in found["app"]


async def test_members_both_ways_and_what_cannot_be_one(principals: Principals) -> None:
    await domain_and_jane(principals)
    await add(principals, Type.GROUP, "staff", members=["jane"], emails=["staff@example.org"])
    await add(principals, Type.LIST, "news", members=["jane", "all"], externalMembers=["Bob@Elsewhere.example"])
    jane, news = await principals.get("jane"), await principals.get("news")
    assert jane is not None
    assert news is not None
    assert (jane.member_of, jane.lists) == (("staff",), ("all", "news"))
    assert news.external_members == ("Bob@elsewhere.example",)
    assert {each.name for each in await principals.members("news")} == {"jane", "all"}
    await patch(
        principals,
        "news",
        ("removeItem", "members", "jane"),
        ("removeItem", "externalMembers", "bob@elsewhere.example"),
    )
    assert [each.name for each in await principals.members("news")] == ["all"]
    await patch(principals, "jane", ("set", "lists", []))
    assert await principals.members("all") == []
    jane = await principals.get("jane")
    assert jane is not None
    assert (jane.member_of, jane.lists) == (("staff",), ())
    wrong: list[tuple[str, tuple[str, str, Any], str]] = [
        ("jane", ("addItem", "memberOf", "all"), "Invalid memberOf value"),
        ("jane", ("addItem", "lists", "staff"), "Invalid lists value"),
        ("jane", ("addItem", "roles", "staff"), "Invalid role"),
        ("staff", ("addItem", "members", "staff"), "Invalid members value"),
        ("staff", ("addItem", "members", "example.org"), "Invalid members value"),
    ]
    for name, each, details in wrong:
        with pytest.raises(Invalid) as refused:
            await patch(principals, name, each)
        assert refused.value.details == details
    with pytest.raises(NotFound, match="nobody"):
        await patch(principals, "jane", ("addItem", "memberOf", "nobody"))


async def test_custom_roles_count_at_once_also_nested_and_within_a_tenant(principals: Principals) -> None:
    async def permissions(name: str) -> frozenset[str]:
        found = await principals.find(name)
        assert found is not None
        return found.account.permissions

    await add(principals, Type.ROLE, "reader", enabledPermissions=["message-queue-list", "email-send"])
    await add(
        principals,
        Type.ROLE,
        "operator",
        roles=["reader"],
        enabledPermissions="logs-view",
        disabledPermissions="email-send",
    )
    await add(principals, Type.INDIVIDUAL, "ann", roles=["operator"], enabledPermissions=["authenticate"])
    assert await permissions("ann") == {"message-queue-list", "logs-view", "authenticate"}
    await patch(principals, "reader", ("addItem", "enabledPermissions", "settings-list"))
    assert "settings-list" in await permissions("ann")
    await patch(principals, "ann", ("set", "disabledPermissions", ["logs-view"]))
    assert "logs-view" not in await permissions("ann")
    await add(principals, Type.TENANT, "acme", enabledPermissions=["authenticate", "settings-list"])
    await patch(principals, "ann", ("set", "tenant", "acme"))
    assert await permissions("ann") == {"authenticate", "settings-list"}
    await patch(principals, "acme", ("set", "disabledPermissions", ["settings-list"]))
    assert await permissions("ann") == {"authenticate"}
    await patch(principals, "ann", ("set", "suspended", "spam"))
    assert await permissions("ann") == frozenset()


async def test_nobody_gives_what_he_does_not_have(principals: Principals) -> None:
    helpdesk = Authority(
        ROLES["user"].enabled | {"individual-create", "individual-update", "role-update", "role-create"}
    )
    await add(principals, Type.ROLE, "boss", enabledPermissions=["settings-update"], disabledPermissions=["logs-view"])
    await add(principals, Type.ROLE, "mild", enabledPermissions=["email-send"])
    await add(principals, Type.INDIVIDUAL, "root", roles=["admin"])
    await add(principals, Type.INDIVIDUAL, "ann", helpdesk, roles=["user", "mild"])
    await add(principals, Type.INDIVIDUAL, "bob", enabledPermissions=["logs-view"], disabledPermissions=["logs-view"])
    cases: list[tuple[str, tuple[str, str, Any], str]] = [
        ("ann", ("addItem", "roles", "boss"), "Invalid role"),
        ("ann", ("set", "roles", ["admin"]), "Invalid role"),
        ("ann", ("addItem", "enabledPermissions", "logs-view"), "Invalid enabledPermissions value"),
        ("boss", ("addItem", "members", "ann"), "Not permitted"),
        ("mild", ("addItem", "enabledPermissions", "logs-view"), "Invalid enabledPermissions value"),
        ("bob", ("removeItem", "disabledPermissions", "logs-view"), "Invalid disabledPermissions value"),
        ("root", ("set", "secrets", ["taken over"]), "Not permitted"),
    ]
    for name, each, details in cases:
        with pytest.raises(Invalid) as refused:
            await patch(principals, name, each, by=helpdesk)
        assert refused.value.details == details, each
    with pytest.raises(Invalid, match="Invalid role"):
        await add(principals, Type.INDIVIDUAL, "eve", helpdesk, roles=["admin"])
    assert await principals.get("eve") is None


async def test_who_is_of_a_tenant_sees_and_makes_only_what_is_the_tenants(principals: Principals) -> None:
    await domain_and_jane(principals)
    await add(principals, Type.TENANT, "acme", quota=[0, 2])
    await add(principals, Type.TENANT, "other")
    await add(principals, Type.DOMAIN, "acme.example", tenant="acme")
    admin = Authority(ROLES["tenant-admin"].enabled, "acme")
    await add(principals, Type.INDIVIDUAL, "ann", admin, emails="ann@acme.example", roles="user")
    ann = await principals.get("ann")
    assert ann is not None
    assert ann.tenant == "acme"
    refusals: list[tuple[type[DirectoryRefusal], Any]] = [
        (NotFound, patch(principals, "jane", ("set", "description", "x"), by=admin)),
        (NotFound, principals.delete("jane", admin)),
        (NotFound, patch(principals, "ann", ("set", "tenant", ""), by=admin)),
        (NotFound, patch(principals, "ann", ("set", "tenant", "other"), by=admin)),
        (NotFound, patch(principals, "ann", ("addItem", "lists", "all"), by=admin)),
        (NotFound, add(principals, Type.INDIVIDUAL, "bob", admin, emails="bob@example.org")),
        (NotFound, add(principals, Type.INDIVIDUAL, "bob", admin, tenant="other")),
    ]
    for kind, action in refusals:
        with pytest.raises(kind):
            await action
    await add(principals, Type.INDIVIDUAL, "bob", admin)
    with pytest.raises(OverTenantQuota):
        await add(principals, Type.INDIVIDUAL, "carl", admin)
    await add(principals, Type.GROUP, "staff", admin)
    assert await names(principals, Selection(tenant="acme")) == ["acme.example", "ann", "bob", "staff"]


async def test_what_is_used_is_not_deleted_and_what_is_deleted_leaves_nothing(principals: Principals) -> None:
    await domain_and_jane(principals)
    await add(principals, Type.TENANT, "acme")
    await patch(principals, "jane", ("addItem", "emails", "@example.org"))
    with pytest.raises(Invalid) as refused:
        await principals.delete("example.org")
    assert (refused.value.details, refused.value.reason) == ("Domain has members", "all, jane")
    with pytest.raises(Invalid, match="Domain has members"):
        await patch(principals, "example.org", ("set", "name", "example.net"))
    await patch(principals, "example.org", ("set", "tenant", "acme"))
    with pytest.raises(Invalid) as refused:
        await principals.delete("acme")
    assert (refused.value.details, refused.value.reason) == ("Tenant has members", "example.org")
    assert (await principals.delete("jane")).name == "jane"
    with pytest.raises(NotFound):
        await principals.delete("jane")
    assert await principals.delete_many(Selection(types=frozenset({Type.LIST, Type.DOMAIN}))) == 2
    assert not principals.has_domains
    await principals.delete("acme")

    def left(connection: Connection) -> list[int]:
        tables = ("principals", "secrets", "addresses", "memberships")
        return [int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in tables]

    assert await principals.read(left) == [0, 0, 0, 0]


async def test_a_bulk_deletion_that_can_do_nothing_says_why(principals: Principals) -> None:
    await domain_and_jane(principals)
    with pytest.raises(Invalid, match="Domain has members"):
        await principals.delete_many(Selection(types=frozenset({Type.DOMAIN})))
    assert await principals.delete_many(Selection(words=("nobody",))) == 0


async def test_pages_are_in_byte_order_with_the_configuration_in_its_places(principals: Principals) -> None:
    for name in ("b", "é", "a", "d"):
        await add(principals, Type.GROUP, name, description=f"Group {name.upper()}")
    principals.reserved = reserved_by({name: AccountOptions(secret="x") for name in ("é1", "C")})
    assert await names(principals, Selection()) == ["a", "b", "c", "d", "é", "é1"]
    assert [each.entry.is_configured for each in await principals.page(Selection(), Place(), 3)] == [False, False, True]
    assert await names(principals, Selection(), Place(offset=2), 2) == ["c", "d"]
    assert await names(principals, Selection(), Place("c"), 2) == ["d", "é"]
    assert await names(principals, Selection(words=("c",), types=frozenset({Type.INDIVIDUAL}))) == ["c"]
    assert await principals.count(Selection()) == 6
    assert await principals.count(Selection(words=("group", "É"))) == 1
    assert await principals.count(Selection(types=frozenset({Type.LIST}))) == 0


async def test_plain_secrets_are_hashed_and_bad_ones_refused(principals: Principals) -> None:
    await add(principals, Type.INDIVIDUAL, "ann", secrets=["correct horse", "$app$mail$plain app"])
    await add(principals, Type.API_KEY, "key", secrets="k" * 40)
    ann, key = await principals.find("ann"), await principals.find("key")
    assert ann is not None
    assert key is not None
    assert [each[:10] for each in ann.secrets.stored] == ["$argon2id$", "$app$mail$"]
    assert ann.secrets.scram.startswith("SCRAM-SHA-256$")
    assert key.secrets.stored[0].startswith("{SSHA256}")
    assert "horse" not in repr((ann.secrets, ann))
    otp = "otpauth://totp/x?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    await patch(principals, "ann", ("addItem", "secrets", otp), ("addItem", "secrets", QUICK))
    again = await principals.find("ann")
    assert again is not None
    assert again.secrets.stored[0] == otp
    assert again.account.version != ann.account.version
    await patch(principals, "ann", ("removeItem", "secrets", "$app$mail"), ("removeItem", "secrets", "otpauth://"))
    await patch(principals, "ann", ("removeItem", "secrets", ""))
    again = await principals.find("ann")
    assert again is not None
    assert (again.secrets.stored, again.secrets.scram) == ((), "")
    for bad in ("$P$unknown", "$app$$x", "$app$x$", "otpauth://hotp/x", "{PLAIN}", "x" * 2000):
        with pytest.raises(Invalid):
            await patch(principals, "ann", ("addItem", "secrets", bad))


async def test_without_a_database_a_lookup_is_an_error_and_no_answer(principals: Principals) -> None:
    await domain_and_jane(principals)
    await principals.close()
    principals.changed()
    with pytest.raises(DatabaseError):
        await principals.whose("jane@example.org")


async def test_who_is_suspended_and_why(principals: Principals) -> None:
    await domain_and_jane(principals)
    await add(principals, Type.INDIVIDUAL, "eve", suspended="it sent spam")
    assert await principals.read(lambda connection: suspended(connection, 10)) == [("eve", "it sent spam")]
    assert await principals.read(lambda connection: suspended(connection, 0)) == []


async def test_a_domain_names_a_route_that_there_is(principals: Principals) -> None:
    principals.reserved = reserved_by({}, {"hub"})
    await add(principals, Type.DOMAIN, "example.org", nextHop="hub")
    await patch(principals, "example.org", ("set", "nextHop", "mx"))
    with pytest.raises(DirectoryRefusal, match='nope: expected "mx" or a route'):
        await patch(principals, "example.org", ("set", "nextHop", "nope"))
    with pytest.raises(DirectoryRefusal, match="route"):
        await add(principals, Type.DOMAIN, "example.net", nextHop="nope")
    await patch(principals, "example.org", ("set", "nextHop", ""))
    assert principals.next_hops == {}
