"""Sockets: Unix and IPv6, PROXY headers, inherited ones, reload."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from pathlib import Path

import pytest

from relayd.listener.acceptor import bound_as, listening_socket
from relayd.listener.listeners import ListenerConfiguration
from relayd.listener.options import Bind, ListenerOptions, parse_bind
from relayd.options import OptionError, parse_network
from tests.rig.listener import Dialogue, Live, listening, live, trusting
from tests.rig.reception_stub import StubReception

LOOPBACK = (parse_network("127.0.0.0/8"),)
V2_LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00"


def test_binds() -> None:
    assert parse_bind("192.0.2.1:25") == Bind(host="192.0.2.1", port=25)
    assert parse_bind("[2001:db8::1]:25") == Bind(host="2001:db8::1", port=25)
    assert parse_bind("unix:/run/x.sock") == Bind(path="/run/x.sock")
    assert str(parse_bind("[::]:25")) == "[::]:25"
    for text in ("25", "localhost:25", "1.2.3:25", "192.0.2.1:65536", "unix:", ""):
        with pytest.raises(OptionError):
            parse_bind(text)


def test_lmtp_never_on_port_25() -> None:
    with pytest.raises(OptionError, match="port 25"):
        ListenerOptions(bind=(Bind(host="127.0.0.1", port=25),), protocol="lmtp")
    with pytest.raises(OptionError, match="unix"):
        ListenerOptions(bind=(Bind(host="127.0.0.1", port=2525),), role="submit")


async def test_unix_socket_knows_the_peer(tmp_path: Path) -> None:
    path = tmp_path / "submit.sock"
    reception = StubReception()
    async with live(reception, ListenerOptions(bind=(Bind(path=str(path)),), role="submit")) as server:
        assert path.stat().st_mode & 0o777 == 0o666
        client = await server.dial()
        assert "STARTTLS" not in await client.greet()
        assert (reception.clients[0].uid, reception.clients[0].address) == (os.getuid(), None)
    assert not path.exists()


async def test_socket_file_of_a_dead_daemon_is_replaced_and_of_a_living_one_is_not(tmp_path: Path) -> None:
    bind = Bind(path=str(tmp_path / "x.sock"))
    listening_socket(bind, 0o600).close()
    second = listening_socket(bind, 0o600)
    with pytest.raises(OSError):
        listening_socket(bind, 0o600)
    second.close()


async def test_ipv4_and_ipv6_of_one_listener() -> None:
    reception = StubReception()
    async with live(reception, listening(bind=(Bind(host="127.0.0.1"), Bind(host="::1")))) as server:
        for place in (0, 1):
            await (await server.dial(place=place)).greet()
        assert [str(client.address) for client in reception.clients] == ["127.0.0.1", "::1"]


async def test_inherited_socket() -> None:
    async with live(StubReception()) as server:
        await server.listeners.drain(0)
        sock = socket.create_server(("127.0.0.1", 0))
        bind = bound_as(sock)
        await server.listeners.start({"test": [sock]})
        assert server.listeners.addresses("test") == [bind]
        await (await server.dial()).greet()


async def test_proxy_header_gives_the_address() -> None:
    reception = StubReception()
    async with live(reception, listening(proxy_protocol=LOOPBACK)) as server:
        client = await server.dial()
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 25\r\n")
        await client.greet()
        assert str(reception.clients[0].address) == "192.0.2.7"
        assert (reception.clients[0].port, reception.clients[0].local_port) == (4711, 25)
        start = next(event for event in server.events if event.kind.id == "smtp.connection-start")
        assert start.data()["remoteIp"] == "192.0.2.7"


async def test_proxy_header_before_implicit_tls_in_one_packet() -> None:
    reception = StubReception()
    async with live(reception, listening(proxy_protocol=LOOPBACK, tls_implicit=True)) as server:
        client = await server.dial()
        # the handshake's first octets must not be lost although they come with the header
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = trusting().wrap_bio(incoming, outgoing, server_hostname="mx.example.org")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        client.send(b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 465\r\n" + outgoing.read())
        greeting = b""
        while not greeting:
            try:
                tls.do_handshake()
                greeting = tls.read()
            except ssl.SSLWantReadError:
                client.send(outgoing.read())
                incoming.write(await asyncio.wait_for(client.reader.read(65536), 10))
        assert greeting.startswith(b"220 ")
        assert str(reception.clients[0].address) == "192.0.2.7"


@pytest.mark.parametrize("sent", [b"EHLO client.example\r\n", b"PROXY TCP4 x y 1 2\r\n", b"PROXY \r"])
async def test_connection_without_good_proxy_header_is_closed(sent: bytes) -> None:
    reception = StubReception()
    async with live(reception, listening(proxy_protocol=LOOPBACK)) as server:
        client = await server.dial()
        client.send(sent)
        client.writer.write_eof()
        assert await client.at_end()
        assert "network.proxy-error" in server.ids()
    assert not reception.clients


async def test_proxy_must_be_listed() -> None:
    async with live(StubReception(), listening(proxy_protocol=(parse_network("192.0.2.0/24"),))) as server:
        client = await server.dial()
        assert await client.at_end()


async def test_health_check_of_the_proxy_may_not_send() -> None:
    reception = StubReception(trusted=True)
    async with live(reception, listening(proxy_protocol=LOOPBACK)) as server:
        client = await server.dial()
        client.send(V2_LOCAL)
        await client.greet()
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("550 5.7.1 ")
        assert not reception.clients[0].trusted


async def reloaded(server: Live, **listeners: ListenerOptions) -> None:
    """Change the listeners of a running server."""
    await server.listeners.reload(ListenerConfiguration(hostname="mx.example.org", listeners=listeners))


async def test_reload_keeps_sessions_and_unchanged_sockets() -> None:
    options = listening(max_connections=5)
    async with live(StubReception(), listeners={"stays": options, "goes": listening()}) as server:
        before = server.listeners.addresses("stays")
        old: Dialogue = await server.dial("goes")
        await old.greet()
        gone = server.listeners.addresses("goes")[0]
        await reloaded(server, stays=listening(max_connections=1), new=listening())
        assert server.listeners.addresses("stays") == before
        assert await old.ask("NOOP") == "250 2.0.0 OK"
        await (await server.dial("new")).greet()
        with pytest.raises(OSError):
            await asyncio.open_connection(gone.host, gone.port)
        await (await server.dial("stays")).greet()
        assert (await (await server.dial("stays")).reply()).startswith("421 ")


async def test_reload_turns_tls_on_at_the_same_address() -> None:
    async with live(StubReception()) as server:
        before = server.listeners.addresses("test")
        await reloaded(server, test=listening(bind=tuple(before), tls_implicit=True))
        assert server.listeners.addresses("test") == before
        client = await server.dial(tls=trusting())
        await client.greet()
        await reloaded(server, test=listening(bind=tuple(before)))
        await (await server.dial()).greet()
        assert await client.ask("NOOP") == "250 2.0.0 OK"
