"""Settings over the API: listed in four ways, changed as a whole or not at all."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from relayd.control.api.settings import Insert
from relayd.database.interface import DatabaseError
from relayd.directory.password import matches
from tests.control.conftest import Control


async def get(client: aiohttp.ClientSession, path: str, **query: str) -> Any:
    async with client.get(f"/api/settings/{path}", params=query) as answer:
        assert answer.status == 200, await answer.text()
        assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
        return (await answer.json())["data"]


async def post(client: aiohttp.ClientSession, *operations: dict[str, Any]) -> Any:
    """The whole answer of a POST."""
    async with client.post("/api/settings", json=list(operations)) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


def insert(*values: tuple[str, str], prefix: str | None = None, new: bool = False) -> dict[str, Any]:
    return {"type": "insert", "prefix": prefix, "values": values, "assert_empty": new}


DONE = {"data": None}


async def written(client: aiohttp.ClientSession, *values: tuple[str, str]) -> None:
    assert await post(client, insert(*values)) == DONE


async def reason(client: aiohttp.ClientSession, *operations: dict[str, Any]) -> str:
    """Why a POST was refused."""
    answer = await post(client, *operations)
    assert answer["error"] == "other", answer
    assert answer["details"] == "The settings were refused; nothing was stored"
    return str(answer["reason"])


async def test_what_is_set_is_listed_as_it_is_written(local: aiohttp.ClientSession) -> None:
    await written(local, ("queue.schedule.expire", "3d"), ("session.data.limits.size", "26214400"))
    assert await get(local, "list", prefix="queue") == {"total": 1, "items": {"schedule.expire": "3d"}}
    assert await get(local, "list", prefix="session.") == {
        "total": 4,
        "items": {
            "data.limits.size": "26214400",
            "ehlo.reject-non-fqdn": "true",
            "rcpt.relay-domains.0000": "example.org",
            "rcpt.relay-domains.0001": "example.net",
        },
    }
    page = await get(local, "list", prefix="session", limit="2", page="2")
    assert page["total"] == 4
    assert list(page["items"]) == ["rcpt.relay-domains.0000", "rcpt.relay-domains.0001"]
    assert (await get(local, "list"))["items"]["queue.schedule.expire"] == "3d"
    assert await get(local, "list", prefix="nothing") == {"total": 0, "items": {}}


async def test_keys_are_exact_prefixes_whole(local: aiohttp.ClientSession) -> None:
    assert await get(local, "keys", keys="server.hostname, no.such.key,session.rcpt.relay-domains.0001") == {
        "server.hostname": "mx.example.org",
        "session.rcpt.relay-domains.0001": "example.net",
    }
    assert await get(local, "keys", keys="server.host", prefixes="server.listener.smtp") == {
        "server.listener.smtp.bind.0000": "127.0.0.1:2525",
        "server.listener.smtp.protocol": "smtp",
    }
    assert set(await get(local, "keys", keys="session.rcpt.relay-domains", prefixes="session.ehlo.")) == {
        "session.rcpt.relay-domains.0000",
        "session.rcpt.relay-domains.0001",
        "session.ehlo.reject-non-fqdn",
    }
    assert await get(local, "keys") == {}


async def test_sources_and_defaults_are_shown_when_asked(local: aiohttp.ClientSession, tmp_path: Path) -> None:
    await written(local, ("server.hostname", "new.example.org"))
    asked = {"keys": "server.hostname,server.postmaster,server.node,server.data-dir"}
    assert set(await get(local, "keys", **asked)) == {"server.hostname", "server.postmaster", "server.data-dir"}
    assert await get(local, "keys", **asked, defaults="1", source="1") == {
        "items": {
            "server.hostname": "new.example.org",
            "server.postmaster": "ops@example.org",
            "server.node": "1",
            "server.data-dir": f"{tmp_path}/settings",
        },
        "sources": {
            "server.hostname": "database",
            "server.postmaster": "file",
            "server.node": "default",
            "server.data-dir": "file",
        },
    }
    listed = await get(local, "list", prefix="server.listener.smtp", defaults="1", source="1")
    assert listed["items"]["max-connections"] == "1000"
    assert listed["sources"]["server.listener.smtp.max-connections"] == "default"
    assert listed["sources"]["server.listener.smtp.protocol"] == "file"
    assert listed["items"]["xclient"] == ""  # an empty list
    everything = await get(local, "list", defaults="1")
    assert everything["items"]["tracer.stdout.type"] == "stdout"  # a record that is there by default


async def test_groups_are_records_marked_by_a_key(local: aiohttp.ClientSession) -> None:
    await written(
        local,
        ("server.listener.a.bind", "127.0.0.1:26"),
        ("server.listener.a.b.bind", "127.0.0.1:27"),
        ("server.listener.a.b.protocol", "smtp"),
        ("server.listener.a.b.tls.implicit", "false"),
    )
    http = {"_id": "http", "bind.0000": "127.0.0.1:8080", "protocol": "http"}
    dotted = {"_id": "a.b", "bind.0000": "127.0.0.1:27", "protocol": "smtp", "tls.implicit": "false"}
    smtp = {"_id": "smtp", "bind.0000": "127.0.0.1:2525", "protocol": "smtp"}
    marked = {"prefix": "server.listener", "suffix": "protocol"}
    assert await get(local, "group", **marked) == {"total": 3, "items": [dotted, http, smtp]}
    assert await get(local, "group", **marked, limit="1", page="2") == {"total": 3, "items": [http]}
    assert await get(local, "group", **marked, filter="HTTP") == {"total": 1, "items": [http]}
    assert await get(local, "group", **marked, filter="2525") == {"total": 1, "items": [smtp]}
    by_bind = await get(local, "group", prefix="server.listener.", suffix=".bind", field="bind")
    assert [each["_id"] for each in by_bind["items"]] == ["a", "a.b", "http", "smtp"]
    assert by_bind["items"][0] == {"_id": "a", "bind.0000": "127.0.0.1:26"}
    with_source = await get(local, "group", **marked, limit="1", source="1")
    assert with_source["sources"]["server.listener.a.b.protocol"] == "database"


async def test_groups_without_a_mark_are_keys_and_values(local: aiohttp.ClientSession) -> None:
    assert await get(local, "group", prefix="session", filter="NET") == {
        "total": 1,
        "items": [{"_id": "rcpt.relay-domains.0001", "_value": "example.net"}],
    }
    assert await get(local, "group", prefix="session.ehlo") == {
        "total": 1,
        "items": [{"_id": "reject-non-fqdn", "_value": "true"}],
    }


async def test_the_example_of_the_documentation(local: aiohttp.ClientSession) -> None:
    assert await post(local, {"type": "clear", "prefix": "spam-filter.rule.stwt_arc_signed."}) == DONE


async def test_operations_are_applied_in_order(local: aiohttp.ClientSession) -> None:
    answer = await post(
        local,
        insert(("loop", "asyncio"), ("stop-timeout", "10s"), prefix="server"),
        insert(("server.origin", "example.org")),
        {"type": "delete", "keys": ["server.loop", "server.never-set"]},
        {"type": "clear", "prefix": "server.", "filter": "EXAMPLE"},
    )
    assert answer == DONE
    listed = await get(local, "list", prefix="server", source="1")
    database = {key for key, source in listed["sources"].items() if source == "database"}
    assert database == {"server.stop-timeout"}


async def test_a_list_of_the_database_replaces_that_of_the_file(local: aiohttp.ClientSession) -> None:
    domains = "session.rcpt.relay-domains"

    async def now() -> dict[str, str]:
        items: dict[str, str] = (await get(local, "list", prefix="session.rcpt"))["items"]
        return {key.removeprefix("relay-domains"): value for key, value in items.items()}

    await written(local, (f"{domains}.0000", "a.example"), (f"{domains}.0001", "b.example"))
    assert await now() == {".0000": "a.example", ".0001": "b.example"}
    await written(local, (domains, "c.example"))  # the bare key: a list of one
    assert await now() == {".0000": "c.example"}
    await written(local, (domains, ""))  # and with nothing, of none
    assert await now() == {"": ""}
    assert (await control_config(local))["session.rcpt.relay-domains"] == ""
    await post(local, {"type": "delete", "keys": [domains]})
    assert await now() == {".0000": "example.org", ".0001": "example.net"}


async def control_config(client: aiohttp.ClientSession) -> dict[str, str]:
    found: dict[str, str] = (await get(client, "list"))["items"]
    return found


async def test_a_record_is_saved_the_way_the_interface_does(local: aiohttp.ClientSession) -> None:
    record = "queue.route.smart.host"
    values = insert(("address", "smtp.example.net"), ("port", "587"), prefix=record, new=True)
    clear = {"type": "clear", "prefix": f"{record}."}
    assert await post(local, clear, values) == DONE
    assert await post(local, values) == {"error": "assertFailed"}
    assert await post(local, clear, values) == DONE  # edited: cleared and written again
    assert await post(local, insert(("bind", "127.0.0.1:1"), prefix="server.listener.smtp", new=True)) == {
        "error": "assertFailed"  # the file has it
    }
    assert await post(local, insert(("server.hostname", "x.example"), new=True)) == {"error": "assertFailed"}
    assert await post(local, insert(("session.rcpt.relay-domains", "x.example"), new=True)) == {"error": "assertFailed"}
    assert await post(local, insert(("server.loop", "auto"), new=True)) == DONE


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("server.hostnam", "a.b", 'server.hostnam: unknown key, did you mean "server.hostname"?'),
        ("server.listener.x.protcol", "smtp", 'unknown key, did you mean "server.listener.x.protocol"?'),
        ("server.hostname.0000", "a.b", '"server.hostname" is a value, not a list'),
        ("queue.schedule.retry.1", "5m", 'elements of a list are "queue.schedule.retry.0000"'),
        ("server.node", "x", 'server.node: expected a whole number from 0 to 511, not "x"'),
        ("server.node", "9" * 5000, "server.node: expected a whole number from 0 to 511"),
        ("queue.schedule.expire", "5 minutes", 'queue.schedule.expire: expected a duration such as "90s"'),
        ("queue.schedule.expire", "9" * 30 + "w", "queue.schedule.expire: expected a duration of at most 36500d"),
        ("queue.min-free", "9" * 39 + "B", "queue.min-free: expected a size"),
        ("session.rcpt.relay-networks.0001", "x/33", "session.rcpt.relay-networks.0001: expected an address"),
        ("session.ehlo.reject-non-fqdn", "yes", 'expected true or false, not "yes"'),
        ("server.listener.smtp.protocol", "pop3", "server.listener.smtp.protocol: expected one of"),
        ("server.data-dir", "/tmp", "server.data-dir: is taken from the file alone"),
        ("database.url", "x", "database.url: is taken from the file alone"),
        ("authentication.fallback-admin.secret", "x", "fallback-admin.secret: is taken from the file alone"),
        ("queue.outbound.next-hop", "nowhere", 'queue.outbound.next-hop: there is no route "nowhere"'),
        ("queue.route.x.port", "25", "queue.route.x.address: is missing"),
        ("server.hostname", "not a name", "server.hostname: expected a domain name"),
        ("server.hostname", "unbuildable.example.org", "server.hostname: is refused"),
        ("server.hostname", "a\0b", "'server.hostname': expected a value without control characters"),
        ("server.\0", "x", "expected a key without control characters"),
        ("x" * 256, "x", "expected a key of at most 255 characters"),
        ("server.postmaster", "x" * 65537, "expected a value of at most 65536 octets"),
        ("account.app.secret", "%{env:NO_SUCH_VARIABLE}%", "expected the environment variable NO_SUCH_VARIABLE"),
        ("", "x", "unknown key"),
    ],
)
async def test_what_is_wrong_is_refused_and_nothing_stored(
    local: aiohttp.ClientSession, control: Control, key: str, value: str, expected: str
) -> None:
    refused = await reason(local, insert(("server.origin", "fine.example.org"), (key, value)))
    assert expected in refused
    assert not control.settings.store.values
    assert not control.named("manage.action")


async def test_a_removal_that_breaks_the_rest_is_refused(local: aiohttp.ClientSession, control: Control) -> None:
    route = insert(("address", "smtp.example.net"), prefix="queue.route.smart")
    assert await post(local, route, insert(("queue.outbound.next-hop", "smart"))) == DONE
    before = dict(control.settings.store.values)
    refused = await reason(local, {"type": "clear", "prefix": "queue.route."})
    assert refused == 'queue.outbound.next-hop: there is no route "smart"; expected one of "mx"'
    async with local.delete("/api/settings/queue.route.smart.address") as answer:
        assert (await answer.json())["error"] == "other"
    assert control.settings.store.values == before
    assert await post(local, {"type": "clear", "prefix": ""}) == DONE
    assert not control.settings.store.values


async def test_what_is_wrong_already_can_be_removed_bit_by_bit(local: aiohttp.ClientSession, control: Control) -> None:
    await written(local, ("server.node", "5"), ("server.loop", "asyncio"))
    await control.settings.store.replace({"server.node": "5", "server.loop": "x", "no.more": "y"})  # a downgrade
    assert "no.more" in await reason(local, insert(("server.node", "6")))
    for left in (2, 1, 0):
        key = sorted(control.settings.store.values)[0]
        async with local.delete(f"/api/settings/{key}") as answer:
            assert await answer.json() == DONE
        assert len(control.settings.store.values) == left


async def test_one_key_is_deleted(local: aiohttp.ClientSession, control: Control) -> None:
    await written(local, ("queue.outbound.domain.example.com", "mx"))
    async with local.delete("/api/settings/queue.outbound.domain.example%2Ecom") as answer:
        assert await answer.json() == DONE
    assert not control.settings.store.values
    async with local.delete("/api/settings/queue.outbound.domain.example.com") as answer:
        assert await answer.json() == DONE  # nothing to do
    async with local.delete("/api/settings/") as answer:
        assert answer.status == 404
    (added, removed) = control.named("manage.action")
    assert added.fields["type_"] == "settings-update"
    assert removed.fields["type_"] == "settings-delete"
    assert removed.fields["details"] == "queue.outbound.domain.example.com"


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[{}]", b'[{"type":"replace","keys":[]}]',
        b'[{"type":"insert","values":[["a"]],"assert_empty":true}]',
        b'[{"type":"insert","values":[["server.node",5]],"assert_empty":false}]', b'[{"type":"insert","values":[]}]',
        b'[{"type":"delete"}]', b'[{"type":"clear"}]', b'[{"type":"delete","keys":["\\udfff"]}]', b"\xff",
    ],
)  # fmt: skip
async def test_a_body_that_is_none_is_400(local: aiohttp.ClientSession, body: bytes) -> None:
    async with local.post("/api/settings", data=body) as answer:
        assert answer.status == 400
        assert await answer.json() == {
            "type": "about:blank",
            "status": 400,
            "title": "Invalid parameters",
            "detail": "JSON deserialization failed",
        }


async def test_secrets_are_masked_and_the_mask_keeps_them(local: aiohttp.ClientSession, control: Control) -> None:
    route = "queue.route.smart"
    await written(
        local, (f"{route}.address", "a.example"), (f"{route}.auth.username", "u"), (f"{route}.auth.secret", "hunter2")
    )
    await written(local, ("account.new.secret", "hunter3"), ("account.ptr.secret", "%{file:relayd.toml}%"))
    stored = dict(control.settings.store.values)
    assert stored[f"{route}.auth.secret"] == "hunter2"  # it must be said to the next hop
    assert stored["account.new.secret"].startswith("$argon2id$")
    assert stored["account.ptr.secret"] == "%{file:relayd.toml}%"
    shown = await control_config(local)
    secrets = {key: value for key, value in shown.items() if key.endswith("secret")}
    assert set(secrets) == {f"{route}.auth.secret", "account.new.secret", "account.ptr.secret", "account.app.secret"}
    assert set(secrets.values()) == {"********"}
    for needle in ("hunter", "argon", "of the file"):
        assert (await get(local, "group", filter=needle))["total"] == 0
        assert await post(local, {"type": "clear", "prefix": "queue.", "filter": needle}) == DONE
    assert control.settings.store.values == stored

    everything = [(key, value) for key, value in shown.items() if key.startswith(("queue.route", "account"))]
    clear = [{"type": "clear", "prefix": prefix} for prefix in ("queue.route.", "account.")]
    assert await post(local, *clear, insert(*everything)) == DONE
    kept = control.settings.store.values
    assert {key: kept[key] for key in stored} == stored
    assert "account.app.secret" not in kept  # the file's shows
    assert "none that the mask could keep" in await reason(local, insert(("account.z.secret", "********")))
    assert "hunter" not in repr(control.settings.config)
    assert "hunter" not in "".join(str(event.fields) for event in control.events)


async def test_a_hash_is_stored_as_it_is_and_too_many_plain_secrets_are_refused(
    local: aiohttp.ClientSession, control: Control
) -> None:
    hashed = "$6$salt$" + "x" * 86
    await written(local, ("account.h.secret", hashed))
    assert control.settings.store.values["account.h.secret"] == hashed
    await written(local, ("account.p.secret", "{PLAIN}$x$y"))
    assert matches("$x$y", control.settings.store.values["account.p.secret"])
    many = [(f"account.n{number}.secret", "s3cret") for number in range(101)]
    assert "at most 100 plain secrets" in await reason(local, insert(*many))
    assert "at most 1024 octets" in await reason(local, insert(("account.l.secret", "x" * 1025)))


async def test_there_is_a_limit_to_keys_and_operations(local: aiohttp.ClientSession, control: Control) -> None:
    many = [(f"queue.outbound.domain.d{number}.example", "mx") for number in range(10_001)]
    assert "at most 10000 settings" in await reason(local, insert(*many))
    clear = {"type": "clear", "prefix": "z"}
    assert "at most 1000 operations" in await reason(local, *[clear] * 1001)
    assert "and 5 more" not in await reason(local, insert(*[(f"x{number}", "") for number in range(5000)]))


async def test_changes_at_once_do_not_lose_each_other(local: aiohttp.ClientSession, control: Control) -> None:
    domains = [f"queue.outbound.domain.d{number}.example" for number in range(4)]
    await asyncio.gather(*(written(local, (key, "mx")) for key in domains))
    assert sorted(control.settings.store.values) == domains


async def test_a_database_that_cannot_be_written_is_503(
    local: aiohttp.ClientSession, control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(values: object) -> None:
        raise DatabaseError("disk I/O error")

    monkeypatch.setattr(control.settings.store, "replace", fail)
    async with local.post("/api/settings", json=[insert(("server.node", "2"))]) as answer:
        assert answer.status == 503
    assert control.named("manage.error")[-1].fields["reason"] == "disk I/O error"


async def test_nobody_changes_settings_without_permission(tcp: aiohttp.ClientSession) -> None:
    async with tcp.post("/api/settings", json=[]) as answer:
        assert answer.status == 401
    async with tcp.get("/api/settings/list") as answer:
        assert answer.status == 401


def test_what_is_written_is_not_shown_by_repr() -> None:
    written = Insert(values=[("account.a.secret", "hunter2")], assert_empty=False)
    assert repr(written) == "<Insert ['account.a.secret']>"
