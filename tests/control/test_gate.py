"""Who gets in: every way of signing in, the order of the checks, limits, bans, and what crosses the network in clear.

The client of the tests sits behind a trusted proxy on this machine wherever it must be somebody from elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from relayd.control.answers import Problem
from relayd.control.app import Setting
from relayd.control.options import HttpOptions
from relayd.control.signing_in import Identity
from relayd.directory.options import AccountOptions
from relayd.directory.tokens import Realm, TokenKind
from relayd.directory.totp import parse_totp
from relayd.listener.options import Bind, ListenerOptions
from relayd.reputation.options import BanOptions
from relayd.reputation.rate import Rate
from tests.control.conftest import ACCOUNTS, Control

LOCALHOST = (ip_network("127.0.0.1"),)
KEY = "Bearer api_" + base64.b64encode(b"robot:plain").decode()
LIVE = {
    TokenKind.LIVE_METRICS: "/api/telemetry/metrics/live",
    TokenKind.LIVE_TRACING: "/api/telemetry/traces/live",
    TokenKind.TROUBLESHOOT: "/api/troubleshoot/delivery/a%40example.org",
}


def basic(login: str, secret: str) -> str:
    return aiohttp.encode_basic_auth(login, secret)


@pytest.fixture
def setting(options: HttpOptions) -> Setting:
    listener = ListenerOptions(bind=(Bind(host="127.0.0.1"),), protocol="http", trusted_proxies=LOCALHOST)
    return Setting(listeners={"http": listener}, hostname="relay.test", http=options)


async def ask(
    control: Control, path: str = "/api/nonsense", *, method: str = "GET", client: str = "", **headers: str
) -> tuple[int, Any]:
    """Status and body of one request; client: from elsewhere, by TLS up to the proxy."""
    if client:
        headers = {"X-Forwarded-For": client, "X-Forwarded-Proto": "https", **headers}
    async with control.session(**headers) as session:
        async with session.request(method, path) as answer:
            if answer.content_type == "text/event-stream":
                return answer.status, None  # it goes on until we leave
            body = await answer.json(content_type=None) if "json" in answer.content_type else await answer.text()
            return answer.status, {**body, "headers": answer.headers} if isinstance(body, dict) else body


async def identity(control: Control, login: str) -> Identity:
    found = await control.signing_in.basic(login, "s3:cret" if login == "admin" else "plain")
    assert isinstance(found, Identity)
    return found


async def access_token(control: Control, login: str, lifetime: float = 3600.0) -> str:
    found = await identity(control, login)
    return control.signing_in.tokens.issue(
        TokenKind.ACCESS, found.realm, found.name, found.account.version, lifetime, "test"
    )


class TestWays:
    async def test_every_way_of_signing_in(self, control: Control, local: aiohttp.ClientSession) -> None:
        token = await access_token(control, "operator")
        for header in (basic("operator", "plain"), basic(" Operator ", "plain"), f"bearer {token}", KEY):
            assert (await ask(control, Authorization=header))[0] == 404
        async with local.get("/api/nonsense") as answer:
            assert answer.status == 404
        names = [event.fields["account_name"] for event in control.named("http.request-url")]
        assert names[:4] == ["operator", "operator", "operator", "robot"]
        assert names[4] in ("root", "local")

    async def test_expired_forged_and_foreign_tokens_are_401(self, control: Control) -> None:
        token = await access_token(control, "operator", 60.0)
        flipped = ("B" if token[20] == "A" else "A").join((token[:20], token[21:]))
        found = await identity(control, "operator")
        issue = control.signing_in.tokens.issue
        refresh = issue(TokenKind.REFRESH, found.realm, found.name, found.account.version, 3600.0)
        gone = issue(TokenKind.ACCESS, Realm.DIRECTORY, "gone", b"", 3600.0)
        other_secret = issue(TokenKind.ACCESS, found.realm, found.name, b"before", 3600.0)
        live = control.signing_in.stream_token(found, TokenKind.LIVE_METRICS)
        for bad in (flipped, refresh, gone, other_secret, live, "x", "api_x", "x" * 3000):
            status, body = await ask(control, Authorization=f"Bearer {bad}")
            assert (status, body["detail"]) == (401, "You have to authenticate first."), bad
        assert (await ask(control, Authorization=f"Bearer {token}"))[0] == 404
        control.rig.clock.now += 61
        assert (await ask(control, Authorization=f"Bearer {token}"))[0] == 401
        assert control.named("auth.token-expired")

    async def test_an_api_key_is_no_login_and_a_login_no_api_key(self, control: Control) -> None:
        assert (await ask(control, Authorization=basic("robot", "plain")))[0] == 401
        key = base64.b64encode(b"operator:plain").decode()
        assert (await ask(control, Authorization=f"Bearer api_{key}"))[0] == 401

    async def test_a_stored_secret_that_cannot_be_checked_is_our_fault(self, control: Control) -> None:
        control.accounts.reconfigure({"old": AccountOptions(secret="$P$9IQRaTwmfeRo7")})
        status, body = await ask(control, Authorization=basic("old", "plain"))
        assert (status, body["title"]) == (500, "Internal Server Error")
        (event,) = control.named("auth.error")
        assert event.fields["account_name"] == "old"
        assert "unknown kind" in event.fields["reason"]
        assert "9IQRaTwmfeRo7" not in repr(event.fields)
        assert not control.named("auth.failed")

    async def test_the_one_time_code_is_asked_for(self, control: Control) -> None:
        status, body = await ask(control, Authorization=basic("careful", "plain"))
        assert (status, body["title"]) == (402, "TOTP code required")
        assert (await ask(control, Authorization=basic("careful", "wrong")))[0] == 401
        code = parse_totp(str(ACCOUNTS["careful"].otp)).at(int(control.rig.clock()))
        assert (await ask(control, Authorization=basic("careful", f"plain${code}")))[0] == 404

    async def test_without_the_permission_authenticate_it_is_403(self, control: Control) -> None:
        assert (await ask(control, Authorization=basic("nobody", "plain")))[0] == 403
        token = await access_token(control, "nobody")
        assert (await ask(control, Authorization=f"Bearer {token}"))[0] == 403

    async def test_two_authorization_headers_are_none(self, control: Control) -> None:
        headers = [("Authorization", basic("admin", "s3:cret")), ("Authorization", basic("admin", "s3:cret"))]
        async with aiohttp.ClientSession(f"http://127.0.0.1:{control.port}", headers=headers) as session:
            async with session.get("/api/nonsense") as answer:
                assert answer.status == 401

    async def test_a_forwarded_request_on_the_unix_socket_is_not_the_peers_own(
        self, local: aiohttp.ClientSession
    ) -> None:
        async with local.get("/api/nonsense", headers={"X-Forwarded-For": "192.0.2.1"}) as answer:
            assert answer.status == 401

    async def test_secrets_are_in_no_event(self, control: Control) -> None:
        token = control.signing_in.stream_token(await identity(control, "admin"), TokenKind.LIVE_METRICS)
        await ask(control, f"/api/telemetry/metrics/live?token={quote(token)}")
        await ask(control, "/api/nonsense?password=hunter2", Authorization=basic("admin", "hunter2"))
        told = repr([(event.kind.id, event.data()) for event in control.events])
        assert "hunter2" not in told
        assert token not in told


class TestStreamTokens:
    @pytest.mark.parametrize("kind", LIVE)
    async def test_each_opens_its_own_kind_of_stream_for_a_minute(self, control: Control, kind: TokenKind) -> None:
        token = quote(control.signing_in.stream_token(await identity(control, "admin"), kind), safe="")
        for other, path in LIVE.items():
            status, _ = await ask(control, f"{path}?token={token}")
            assert status == (200 if other is kind else 401), path
        assert (await ask(control, f"{LIVE[kind]}?token={token}", Authorization=basic("admin", "wrong")))[0] == 200
        assert (await ask(control, f"{LIVE[kind]}?token={token}", Authorization="Bearer wrong"))[0] == 401
        assert (await ask(control, f"{LIVE[kind]}?token={token[:-4]}"))[0] == 401
        control.rig.clock.now += 61
        assert (await ask(control, f"{LIVE[kind]}?token={token}"))[0] == 401

    async def test_it_gives_nothing_else(self, control: Control) -> None:
        token = quote(control.signing_in.stream_token(await identity(control, "admin"), TokenKind.LIVE_METRICS))
        assert (await ask(control, f"/api/telemetry/metrics?token={token}"))[0] == 401
        assert (await ask(control, f"/api/queue/messages?token={token}"))[0] == 401
        assert (await ask(control, f"/api/telemetry/metrics/x?token={token}"))[0] == 404

    async def test_it_gives_no_more_than_the_account_has(self, control: Control) -> None:
        token = quote(control.signing_in.stream_token(await identity(control, "user"), TokenKind.LIVE_METRICS))
        assert (await ask(control, f"/api/telemetry/metrics/live?token={token}"))[0] == 403


class TestOrder:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(max_body=10)

    async def test_each_check_comes_before_the_next(self, control: Control) -> None:
        user = basic("user", "plain")
        big = "x" * 11
        for path, headers, body, expected in [
            ("/api/queue/messages", {"Host": "evil.example"}, b"", 421),
            ("/api/nonsense", {}, big, 401),
            ("/api/nonsense", {"Authorization": user}, big, 413),
            ("/api/nonsense", {"Authorization": user}, b"{", 404),
            ("/api/queue/hold", {"Authorization": user}, b"{", 403),
            ("/api/queue/hold", {"Authorization": basic("admin", "s3:cret")}, b"{", 400),
            ("/api/queue/hold", {"Authorization": basic("admin", "s3:cret")}, b"", 200),
        ]:
            async with control.session(**headers) as session:
                async with session.post(path, data=body) as answer:
                    assert answer.status == expected, (path, headers)
                    assert answer.headers["X-Request-Id"]
        async with control.session() as session:
            async with session.options("/api/queue/hold", data=big) as answer:
                assert (answer.status, await answer.read()) == (204, b"")

    async def test_a_chunked_body_is_measured_as_it_comes(self, control: Control) -> None:
        async def pieces() -> Any:
            for _ in range(3):
                yield b" " * 5

        async with control.session(Authorization=basic("admin", "s3:cret")) as session:
            async with session.post("/api/queue/hold", data=pieces()) as answer:
                assert answer.status == 413


class TestLimits:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(rate_limit_account=Rate(3, 60.0), rate_limit_anonymous=Rate(2, 60.0), max_concurrent=1)

    async def test_an_account_has_so_many_requests_in_a_time(self, control: Control) -> None:
        header = basic("operator", "plain")
        for number in range(3):
            assert (await ask(control, client=f"192.0.2.{number}", Authorization=header))[0] == 404
        status, body = await ask(control, client="192.0.2.9", Authorization=header)
        assert (status, body["title"], body["headers"]["Retry-After"]) == (429, "Too Many Requests", "20")
        for _ in range(5):
            assert (await ask(control, client="192.0.2.9", Authorization=header))[0] == 429
        assert len(control.named("limit.too-many-requests")) == 1  # the log is not for the one who asks to fill
        assert (await ask(control, client="192.0.2.9", Authorization=KEY))[0] == 404
        control.rig.clock.now += 20
        assert (await ask(control, client="192.0.2.9", Authorization=header))[0] == 404

    async def test_unlimited_requests_are_a_permission(self, control: Control) -> None:
        for _ in range(10):
            assert (await ask(control, client="192.0.2.1", Authorization=basic("admin", "s3:cret")))[0] == 404

    async def test_this_machine_and_listed_networks_are_not_counted(self, control: Control, setting: Setting) -> None:
        for _ in range(10):
            assert (await ask(control, Authorization=basic("operator", "plain")))[0] == 404
            assert (await ask(control))[0] == 401
        listed = replace(setting.http, exempt_networks=(ip_network("192.0.2.0/24"),))
        await control.app.reload(replace(setting, http=listed))
        for _ in range(10):
            assert (await ask(control, client="192.0.2.1"))[0] == 401

    async def test_a_stranger_has_fewer_by_address_and_ipv6_by_network(self, control: Control) -> None:
        statuses = [(await ask(control, client=f"2001:db8::{last}"))[0] for last in range(1, 4)]
        assert statuses == [401, 401, 429]
        assert (await ask(control, client="2001:db8:0:1::1"))[0] == 401
        for _ in range(5):  # health is asked for often, and by who is over any limit
            assert (await ask(control, "/healthz/live", client="2001:db8::1"))[0] == 200

    async def test_a_token_is_a_strangers_until_it_is_known(self, control: Control) -> None:
        token = await access_token(control, "admin")
        header = f"Bearer {token}"
        assert (await ask(control, client="192.0.2.1", Authorization=header))[0] == 404
        for wrong in ("one", "two"):
            found = await ask(control, client="192.0.2.1", Authorization=f"Bearer {wrong}")
        assert found[0] == 429
        assert (await ask(control, client="192.0.2.1", Authorization=header))[0] == 404
        new = await access_token(control, "admin")
        assert (await ask(control, client="192.0.2.1", Authorization=f"Bearer {new}"))[0] == 429

    async def test_what_needs_no_credentials_is_counted(self, control: Control) -> None:
        for path, method in (("/auth/token", "POST"), ("/docs", "GET")):
            statuses = [(await ask(control, path, method=method, client=f"192.0.2.{len(path)}"))[0] for _ in range(3)]
            assert statuses[2] == 429, path
            assert 429 not in statuses[:2]

    async def test_so_many_requests_at_once(self, control: Control) -> None:
        headers = {"Authorization": basic("operator", "plain"), "X-Forwarded-For": "192.0.2.1"}
        headers["X-Forwarded-Proto"] = "https"
        arrive = asyncio.Event()

        async def slow_body() -> Any:
            yield b"{"
            await arrive.wait()
            yield b"}"

        async with control.session(**headers) as session:
            first = asyncio.ensure_future(session.post("/api/queue/hold", data=slow_body()))
            async with asyncio.timeout(5):
                while not control.app._limits._running:
                    await asyncio.sleep(0)
            async with session.get("/api/nonsense") as answer:
                assert answer.status == 400
                assert await answer.json(content_type=None) == {
                    "type": "urn:ietf:params:jmap:error:limit",
                    "status": 400,
                    "title": "maxConcurrentRequests",
                    "detail": "The number of concurrent requests of this account is limited.",
                    "limit": "maxConcurrentRequests",
                }
            arrive.set()
            assert (await first).status == 200
            async with session.get("/api/nonsense") as answer:
                assert answer.status == 404


class TestBans:
    @pytest.fixture
    async def strict(self, control: Control) -> Control:
        control.parts.bans.reconfigure(BanOptions(auth_rate=Rate(2, 86400.0)))
        return control

    async def test_failed_sign_ins_ban_the_address_whatever_it_says_then(self, strict: Control) -> None:
        good = basic("admin", "s3:cret")
        for _ in range(2):
            assert (await ask(strict, client="192.0.2.1", Authorization=basic("admin", "guess")))[0] == 401
        status, body = await ask(strict, client="192.0.2.1", Authorization=good)
        assert (status, body["title"]) == (429, "Too Many Authentication Attempts")
        assert body["headers"]["Retry-After"] == "3600"
        for path in ("/api/nonsense", "/docs", "/metrics", "/auth/token"):
            assert (await ask(strict, path, client="192.0.2.1"))[0] == 429
        assert (await ask(strict, client="192.0.2.2", Authorization=good))[0] == 404
        [banned] = strict.named("security.authentication-ban")
        assert banned.fields["remote_ip"] == "192.0.2.1/32"
        assert len(strict.named("security.ip-blocked")) == 5
        strict.rig.clock.now += 3600
        assert (await ask(strict, client="192.0.2.1", Authorization=good))[0] == 404

    async def test_wrong_api_keys_and_one_time_codes_count_and_a_missing_code_does_not(self, strict: Control) -> None:
        bad_key = "Bearer api_" + base64.b64encode(b"robot:wrong").decode()
        await ask(strict, client="192.0.2.1", Authorization=bad_key)
        await ask(strict, client="192.0.2.1", Authorization=basic("careful", "plain$000000"))
        assert (await ask(strict, client="192.0.2.1"))[0] == 429
        for _ in range(5):
            assert (await ask(strict, client="192.0.2.2", Authorization=basic("careful", "plain")))[0] == 402

    async def test_this_machine_is_never_banned_unless_it_forwards(self, strict: Control) -> None:
        wrong = basic("operator", "guess")
        for _ in range(5):
            assert (await ask(strict, Authorization=wrong))[0] == 401
        for _ in range(2):
            await ask(strict, client="127.0.0.1", Authorization=wrong)
        assert (await ask(strict, client="127.0.0.1"))[0] == 429
        assert (await ask(strict, Authorization=basic("operator", "plain")))[0] == 404

    async def test_bans_are_listed_and_lifted(self, strict: Control, admin: aiohttp.ClientSession) -> None:
        for client in ("2001:db8::1", "192.0.2.1"):
            for _ in range(2):
                await ask(strict, client=client, Authorization=basic(client[:4], "guess"))
        async with admin.get("/api/bans") as answer:
            assert (await answer.json())["data"] == {
                "items": [
                    {
                        "address": address,
                        "since": "2027-01-15T08:00:00Z",
                        "until": "2027-01-15T09:00:00Z",
                        "reason": "repeated failed sign-ins",
                        "times": 1,
                        "evidence": evidence,
                    }
                    for address, evidence in (
                        ("2001:db8::/64", "sign-in as '2001'"),
                        ("192.0.2.1", "sign-in as '192.'"),
                    )
                ],
                "total": 2,
            }
        async with admin.get("/api/bans?limit=1&page=2") as answer:
            assert [each["address"] for each in (await answer.json())["data"]["items"]] == ["192.0.2.1"]
        for address, expected in (
            ("192.0.2.1", {"data": True}),
            ("192.0.2.1", {"error": "notFound", "item": "192.0.2.1"}),
            ("2001:db8::%2F64", {"data": True}),
        ):
            async with admin.delete(f"/api/bans/{address}") as answer:
                assert await answer.json() == expected
        async with admin.delete("/api/bans/nonsense") as answer:
            assert answer.status == 400
        assert (await ask(strict, client="192.0.2.1"))[0] == 401
        assert [event.fields["type_"] for event in strict.named("manage.action")] == ["lift-ban", "lift-ban"]


async def test_metrics_from_elsewhere_are_a_permission(control: Control) -> None:
    for login, expected in (("user", 403), ("operator", 200)):
        for path in ("/metrics", "/metrics/prometheus"):
            assert (await ask(control, path, client="192.0.2.1", Authorization=basic(login, "plain")))[0] == expected


async def test_an_unspecified_address_is_no_host_of_ours(setting: Setting) -> None:
    everywhere = ListenerOptions(bind=(Bind(host="0.0.0.0"), Bind(host="192.0.2.5")), protocol="http")
    hosts = replace(setting, listeners={"http": everywhere}).hosts
    hosts.check(["192.0.2.5"], None, False)
    with pytest.raises(Problem):
        hosts.check(["0.0.0.0"], None, False)


class TestInClear:
    async def test_credentials_from_elsewhere_need_tls_and_are_not_checked(self, control: Control) -> None:
        token = quote(control.signing_in.stream_token(await identity(control, "admin"), TokenKind.LIVE_METRICS))
        for path, headers in [
            ("/api/nonsense", {"Authorization": basic("admin", "s3:cret")}),
            ("/api/nonsense", {"Authorization": basic("admin", "wrong")}),
            ("/api/nonsense", {"Authorization": f"Bearer {await access_token(control, 'admin')}"}),
            (f"/api/telemetry/metrics/live?token={token}", {}),
        ]:
            status, body = await ask(control, path, **{"X-Forwarded-For": "192.0.2.1", **headers})
            assert status == 403
            assert "plain HTTP" in body["detail"]
        assert (await ask(control, "/auth/token", method="POST", **{"X-Forwarded-For": "192.0.2.1"}))[0] == 403
        assert not control.named("auth.failed")
        assert (await ask(control, **{"X-Forwarded-For": "192.0.2.1"}))[0] == 401

    async def test_a_listener_may_allow_it_by_name(self, control: Control, setting: Setting) -> None:
        listener = replace(setting.listeners["http"], plain_credentials=True)
        await control.app.reload(replace(setting, listeners={"http": listener}))
        headers = {"X-Forwarded-For": "192.0.2.1", "Authorization": basic("admin", "s3:cret")}
        assert (await ask(control, **headers))[0] == 404


class TestDialects:
    async def test_the_native_one_off_is_not_there_but_on_the_unix_socket(
        self, control: Control, setting: Setting, local: aiohttp.ClientSession
    ) -> None:
        await control.app.reload(replace(setting, http=HttpOptions(dialects=("brainycp",))))
        admin = basic("admin", "s3:cret")
        assert (await ask(control, "/api/queue/status", Authorization=admin))[0] == 404
        assert (await ask(control, "/api/queue/status"))[0] == 401
        assert (await ask(control, "/auth/token", method="POST"))[0] == 401
        assert (await ask(control, "/auth/token", method="POST", Authorization=admin))[0] == 404
        assert (await ask(control, "/healthz/live"))[0] == 200
        async with local.get("/api/queue/status") as answer:
            assert answer.status == 200


class TestHeaders:
    @pytest.fixture
    def options(self) -> HttpOptions:
        return HttpOptions(permissive_cors=True, hsts=True, headers=(("Referrer-Policy", "no-referrer"),))

    async def test_the_configured_ones_are_on_every_answer(self, control: Control) -> None:
        async with control.session(**{"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Proto": "https"}) as session:
            for method, path in (("GET", "/api/nonsense"), ("OPTIONS", "/api/x"), ("GET", "/healthz/live")):
                async with session.request(method, path) as answer:
                    headers = answer.headers
                    assert headers["Access-Control-Allow-Origin"] == "*"
                    assert "Authorization" in headers["Access-Control-Allow-Headers"]
                    assert "PATCH" in headers["Access-Control-Allow-Methods"]
                    assert headers["Strict-Transport-Security"] == "max-age=31536000"
                    assert headers["Referrer-Policy"] == "no-referrer"
                    assert headers["X-Request-Id"].isdigit()
        _, body = await ask(control)
        assert "Strict-Transport-Security" not in body["headers"]  # RFC 6797 section 7.2: not over plain HTTP

    async def test_by_default_there_are_none(self, control: Control, setting: Setting) -> None:
        await control.app.reload(replace(setting, http=HttpOptions()))
        _, body = await ask(control)
        assert not [name for name in body["headers"] if name.startswith(("Access-Control", "Strict", "Referrer"))]

    async def test_the_request_id_is_that_of_its_events(self, control: Control) -> None:
        _, body = await ask(control, client="192.0.2.1", Authorization=basic("admin", "wrong"))
        spans = [event.span for event in control.events if event.kind.id in ("auth.failed", "http.request-url")]
        assert [str(span.id) for span in spans if span is not None] == [body["headers"]["X-Request-Id"]] * 2
        assert all(span is not None and span.keys["remoteIp"] == "192.0.2.1" for span in spans)


async def test_who_looks_for_holes_is_banned(control: Control) -> None:
    control.parts.bans.reconfigure(BanOptions(scan_rate=Rate(3, 86400.0)))
    for path in ("/wp-login.php", "/cgi-bin/test", "/nothing", "/.env.php"):
        assert (await ask(control, path, client="198.51.100.7"))[0] == 401
    assert (await ask(control, "/nothing", client="198.51.100.7"))[0] == 429
    (banned,) = control.named("security.scan-ban")
    assert banned.fields["details"] == "asked for '/.env.php'"
    assert (await ask(control, "/nothing", client="198.51.100.8"))[0] == 401
    for _ in range(5):
        assert (await ask(control, "/wp-login.php"))[0] == 401
