"""Where the control socket listens: TLS with certificates that change, PROXY, Unix sockets, limits, reload."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import aiohttp
import pytest
import trustme

from relayd.control.app import ControlApp, Setting
from relayd.control.options import HttpOptions
from relayd.events.event import Span
from relayd.listener.certificates import Certificates
from relayd.listener.options import Bind, CertificateOptions, ListenerOptions
from relayd.options import OptionError
from tests.control.conftest import Control

LOOPBACK = Bind(host="127.0.0.1")
HTTP = ListenerOptions(bind=(LOOPBACK,), protocol="http")
ADMIN = aiohttp.encode_basic_auth("admin", "s3:cret")


@pytest.fixture
async def apps(control: Control) -> AsyncIterator[list[ControlApp]]:
    """Further applications, stopped at the end."""
    opened: list[ControlApp] = []
    yield opened
    for each in opened:
        await each.stop()


async def listen(control: Control, apps: list[ControlApp], **listeners: ListenerOptions) -> ControlApp:
    app = ControlApp(control.parts, Span(control.app._span.stream), Setting(listeners=listeners, hostname="relay.test"))
    apps.append(app)
    await app.start()
    return app


async def raw(port: int, text: bytes) -> bytes:
    """What one request, written as it is, is answered; a connection that is reset is no answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


def request(path: str = "/api/nonsense", *headers: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()


class TestTls:
    @pytest.fixture
    def authority(self) -> trustme.CA:
        return trustme.CA()

    @pytest.fixture
    def files(self, tmp_path: Path, authority: trustme.CA) -> CertificateOptions:
        options = CertificateOptions(cert=str(tmp_path / "cert.pem"), private_key=str(tmp_path / "key.pem"))
        write(authority, options, "first.test")
        return options

    async def test_credentials_are_taken_and_a_new_certificate_is_used_at_once(
        self, control: Control, apps: list[ControlApp], authority: trustme.CA, files: CertificateOptions
    ) -> None:
        certificates = Certificates({"x": files}, "relay.test", Span(control.app._span.stream))
        control.parts = replace(control.parts, certificates=certificates)
        app = await listen(control, apps, https=replace(HTTP, tls_implicit=True))
        port = app.addresses[0][1]
        client = ssl.create_default_context()
        authority.configure_trust(client)
        for name in ("first.test", "second.test"):
            write(authority, files, name)
            certificates.refresh()
            connector = aiohttp.TCPConnector(ssl=client)
            async with aiohttp.ClientSession(f"https://127.0.0.1:{port}", connector=connector) as session:
                headers = {"Authorization": ADMIN, "Host": "relay.test"}
                async with session.get("/api/nonsense", headers=headers, server_hostname=name) as answer:
                    assert answer.status == 404

    async def test_without_a_certificate_the_handshake_fails_and_says_so(
        self, control: Control, apps: list[ControlApp]
    ) -> None:
        app = await listen(control, apps, https=replace(HTTP, tls_implicit=True))
        assert await raw(app.addresses[0][1], b"") == b""
        assert "no certificate" in control.named("tls.handshake-error")[0].fields["reason"]

    async def test_plain_http_to_a_tls_listener_gets_nothing(
        self, control: Control, apps: list[ControlApp], files: CertificateOptions
    ) -> None:
        certificates = Certificates({"x": files}, "relay.test", Span(control.app._span.stream))
        control.parts = replace(control.parts, certificates=certificates)
        app = await listen(control, apps, https=replace(HTTP, tls_implicit=True))
        assert b"HTTP" not in await raw(app.addresses[0][1], request())


def write(authority: trustme.CA, options: CertificateOptions, name: str) -> None:
    issued = authority.issue_cert(name)
    Path(options.private_key).write_bytes(issued.private_key_pem.bytes())
    Path(options.cert).write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))


class TestProxyProtocol:
    @pytest.fixture
    def listener(self) -> ListenerOptions:
        return replace(HTTP, proxy_protocol=(ip_network("127.0.0.1"),))

    async def test_the_client_is_the_one_of_the_header(
        self, control: Control, apps: list[ControlApp], listener: ListenerOptions
    ) -> None:
        port = (await listen(control, apps, http=listener)).addresses[0][1]
        header = b"PROXY TCP4 192.0.2.1 198.51.100.1 1 80\r\n"
        assert b" 401 " in await raw(port, header + request().replace(b"localhost", b"198.51.100.1:80"))
        [event] = control.named("http.request-url")
        assert event.span is not None
        assert event.span.keys["remoteIp"] == "192.0.2.1"
        assert b" 403 " in await raw(port, header + request("/api/x", f"Authorization: {ADMIN}"))

    @pytest.mark.parametrize("header", [b"PROXY TCP4 127.0.0.1 127.0.0.1 1 80\r\n", b"PROXY UNKNOWN\r\n"])
    async def test_no_header_makes_a_client_one_of_this_machine(
        self, control: Control, apps: list[ControlApp], listener: ListenerOptions, header: bytes
    ) -> None:
        port = (await listen(control, apps, http=listener)).addresses[0][1]
        assert b" 401 " in await raw(port, header + request("/metrics"))

    async def test_without_the_header_there_is_no_answer(
        self, control: Control, apps: list[ControlApp], listener: ListenerOptions
    ) -> None:
        port = (await listen(control, apps, http=listener)).addresses[0][1]
        assert await raw(port, request("/healthz/live")) == b""
        assert control.named("network.proxy-error")


async def test_a_listener_on_a_unix_socket(control: Control, apps: list[ControlApp], tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    listener = replace(HTTP, bind=(Bind(path=str(path)),), socket_mode=0o600)
    await listen(control, apps, http=listener)
    assert path.stat().st_mode & 0o777 == 0o600
    async with aiohttp.ClientSession("http://anything", connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("/api/nonsense") as answer:
            assert answer.status == 404


async def test_a_reload_opens_and_closes_and_drops_no_connection(
    control: Control, apps: list[ControlApp], tmp_path: Path
) -> None:
    app = await listen(control, apps, one=HTTP, two=HTTP)
    first, second = (port for _, port in app.addresses)
    staying = replace(HTTP, bind=(Bind(host="127.0.0.1", port=first),))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{second}") as session:
        async with session.get("/healthz/live") as answer:
            assert answer.status == 200
        path = tmp_path / "new.sock"
        await app.reload(Setting(listeners={"one": staying, "new": replace(HTTP, bind=(Bind(path=str(path)),))}))
        assert path.exists()
        async with session.get("/healthz/live") as answer:  # on the connection that was open
            assert answer.status == 200
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", second)
    await app.reload(Setting(listeners={"one": staying}))
    assert not path.exists()


async def test_an_address_that_is_taken_at_a_reload_is_an_event(control: Control, apps: list[ControlApp]) -> None:
    app = await listen(control, apps, one=HTTP)
    before = app.addresses
    taken = replace(HTTP, bind=(Bind(host="127.0.0.1", port=control.port),))
    await app.reload(Setting(listeners={"one": HTTP, "two": taken}))
    assert control.named("network.bind-error")
    assert app.addresses == before


async def test_a_reload_that_turns_tls_on_listens_anew(control: Control, apps: list[ControlApp]) -> None:
    app = await listen(control, apps, one=HTTP)
    port = app.addresses[0][1]
    bound = replace(HTTP, bind=(Bind(host="127.0.0.1", port=port),), tls_implicit=True)
    await app.reload(Setting(listeners={"one": bound}))
    assert app.addresses == [("127.0.0.1", port)]
    assert b"HTTP" not in await raw(port, request("/healthz/live"))


async def test_sockets_of_the_supervisor_are_used_and_kept(control: Control, apps: list[ControlApp]) -> None:
    given = socket.create_server(("127.0.0.1", 0))
    port = given.getsockname()[1]
    app = ControlApp(control.parts, Span(control.app._span.stream), Setting(listeners={"http": HTTP}))
    apps.append(app)
    await app.start(inherited={"http": [given]})
    assert app.addresses == [("127.0.0.1", port)]
    await app.reload(Setting(listeners={"http": replace(HTTP, bind=(Bind(host="127.0.0.1", port=1),))}))
    assert b" 200 " in await raw(port, request("/healthz/live"))


async def test_so_many_connections_of_one_address(control: Control, apps: list[ControlApp]) -> None:
    app = await listen(control, apps, http=replace(HTTP, max_connections_per_address=2))
    port = app.addresses[0][1]
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    assert await closed(opened) == 1
    [event] = control.named("limit.concurrent-connection")
    assert (event.fields["limit"], event.fields["remote_ip"]) == (2, "127.0.0.1")
    assert b" 200 " not in await raw(port, request("/healthz/live"))
    for _, writer in opened:
        writer.close()
    async with asyncio.timeout(5):
        while app._runner is not None and app._runner.server is not None and app._runner.server.connections:
            await asyncio.sleep(0)
    assert b" 200 " in await raw(port, request("/healthz/live"))


async def test_listed_networks_are_not_counted_by_address(control: Control, apps: list[ControlApp]) -> None:
    setting = Setting(
        listeners={"http": replace(HTTP, max_connections_per_address=1)},
        http=HttpOptions(exempt_networks=(ip_network("127.0.0.0/8"),)),
    )
    app = ControlApp(control.parts, Span(control.app._span.stream), setting)
    apps.append(app)
    await app.start()
    opened = [await asyncio.open_connection("127.0.0.1", app.addresses[0][1]) for _ in range(3)]
    assert b" 200 " in await raw(app.addresses[0][1], request("/healthz/live"))
    for _, writer in opened:
        writer.close()


async def closed(opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]]) -> int:
    """How many of these connections are closed, once one is."""
    readings = [asyncio.ensure_future(reader.read()) for reader, _ in opened]
    done, waiting = await asyncio.wait(readings, timeout=5, return_when=asyncio.FIRST_COMPLETED)
    for each in waiting:
        each.cancel()
    await asyncio.gather(*readings, return_exceptions=True)
    return len(done)


@pytest.mark.parametrize("given", [{"trusted_proxies": (ip_network("192.0.2.1"),)}, {"plain_credentials": True}])
def test_what_only_http_has_is_refused_elsewhere(given: dict[str, object]) -> None:
    with pytest.raises(OptionError, match="protocol is http"):
        ListenerOptions(bind=(LOOPBACK,), protocol="smtp", **given)  # type: ignore[arg-type]
    ListenerOptions(bind=(LOOPBACK,), protocol="http", **given)  # type: ignore[arg-type]


async def test_the_unsafe_parser_is_not_served_with(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "AIOHTTP_NO_EXTENSIONS", "1")
    with pytest.raises(OSError, match="AIOHTTP_NO_EXTENSIONS"):
        await ControlApp(control.parts, Span(control.app._span.stream)).start()


async def test_the_event_says_address_and_port_or_the_path_of_a_unix_socket(
    control: Control, apps: list[ControlApp], tmp_path: Path
) -> None:
    path = str(tmp_path / "http.sock")
    app = await listen(control, apps, l=replace(HTTP, bind=(LOOPBACK, Bind(path=path))))
    (_, port), *_ = app.addresses
    tcp, unix = control.named("network.listen-start")[-2:]
    assert tcp.fields == {"listener_id": "l", "local_ip": "127.0.0.1", "local_port": port}
    assert unix.fields == {"listener_id": "l", "path": path}


async def test_each_connection_that_is_taken_begins_and_ends_with_an_event(
    control: Control, apps: list[ControlApp], tmp_path: Path
) -> None:
    path = str(tmp_path / "http.sock")
    bind = (LOOPBACK, Bind(path=path))
    app = await listen(control, apps, l=replace(HTTP, bind=bind, max_connections_per_address=1))
    kept = await asyncio.open_connection("127.0.0.1", app.addresses[0][1])
    assert await raw(app.addresses[0][1], request("/healthz/live")) == b""  # one too many
    local = await asyncio.open_unix_connection(path)
    for _, writer in (kept, local):
        writer.close()
    async with asyncio.timeout(5):
        while len(ended := control.named("http.connection-end")) < 2:
            await asyncio.sleep(0)
    begun = control.named("http.connection-start")
    assert [each.fields for each in begun] == [
        {"listener_id": "l", "remote_ip": "127.0.0.1"},
        {"listener_id": "l", "remote_ip": "unix"},
    ]
    assert {each.span for each in ended} == {each.span for each in begun}
    assert ended[0].data()["remoteIp"] == "127.0.0.1"
