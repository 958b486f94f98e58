"""STARTTLS, implicit TLS, and which certificate is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from relayd.listener.options import Bind, CertificateOptions
from tests.rig.listener import listening, live, trusting
from tests.rig.reception_stub import StubReception


class Files:
    """A certificate in files."""

    def __init__(self, authority: trustme.CA, directory: Path, *names: str) -> None:
        self.cert, self.key = directory / f"{names[0]}.pem", directory / f"{names[0]}.key"
        self.options = CertificateOptions(cert=str(self.cert), private_key=str(self.key))
        self.write(authority, *names)

    def write(self, authority: trustme.CA, *names: str) -> None:
        issued = authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(str(self.key))
        self.cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))


@pytest.fixture(name="authority")
def make_authority() -> trustme.CA:
    """Who signs the certificates of a test."""
    return trustme.CA()


def checking(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that believes `authority` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


async def test_starttls_with_a_self_signed_certificate() -> None:
    reception = StubReception()
    async with live(reception) as server:
        client = await server.dial()
        assert "STARTTLS" in await client.greet()
        assert (await client.ask("STARTTLS")).startswith("220 2.0.0 ")
        await client.start_tls(trusting())
        assert (await client.ask("MAIL FROM:<a@example.com>")).startswith("503 5.5.1 ")
        hello = await client.ask("EHLO again.example")
        assert "STARTTLS" not in hello
        assert "REQUIRETLS" in hello
        assert (await client.ask("STARTTLS")).startswith("503 5.5.1 ")
        assert (await client.ask("MAIL FROM:<a@example.com> REQUIRETLS")).startswith("250 2.1.0 ")
        assert reception.clients[0].tls in ("TLSv1.2", "TLSv1.3")
        assert reception.clients[0].tls_cipher
        await client.close()


async def test_requiretls_is_not_for_sessions_without_tls() -> None:
    async with live(StubReception()) as server:
        client = await server.dial()
        assert "REQUIRETLS" not in await client.greet()
        assert (await client.ask("MAIL FROM:<a@example.com> REQUIRETLS")).startswith("555 5.5.4 ")
        assert "smtp.require-tls-disabled" in server.ids()
        await client.close()


async def test_sni_chooses_the_certificate(authority: trustme.CA, tmp_path: Path) -> None:
    certificates = {
        "one": Files(authority, tmp_path, "mx.example.org").options,
        "two": Files(authority, tmp_path, "mail.example.net", "*.example.net").options,
    }
    options = listening(tls_implicit=True)
    async with live(StubReception(), options, certificates=certificates) as server:
        for name in ("mx.example.org", "mail.example.net", "other.example.net"):
            client = await server.dial(tls=checking(authority), name=name)
            assert (await client.reply()).startswith("220 ")
            await client.close()
        assert "tls.certificate-not-found" not in server.ids()
        with pytest.raises(ssl.SSLCertVerificationError):
            await server.dial(tls=checking(authority), name="unknown.example")
        assert "tls.certificate-not-found" in server.ids()
        assert server.ids().count("tls.multiple-certificates-available") == 1


async def test_changed_files_are_loaded_and_broken_ones_are_not(authority: trustme.CA, tmp_path: Path) -> None:
    files = Files(authority, tmp_path, "mx.example.org")
    options = listening(tls_implicit=True)
    async with live(StubReception(), options, certificates={"one": files.options}) as server:
        later = trustme.CA()
        files.write(later, "mx.example.org")
        server.move(61)
        client = await server.dial(tls=checking(later))
        assert (await client.reply()).startswith("220 ")
        await client.close()
        files.cert.write_text("nonsense, and of another length")
        server.move(61)
        server.move(61)
        client = await server.dial(tls=checking(later))
        assert (await client.reply()).startswith("220 ")
        await client.close()
        assert server.ids().count("tls.certificate-loaded") == 2
        assert server.ids().count("tls.certificate-error") == 1


async def test_implicit_tls_without_a_certificate_is_said_at_the_start() -> None:
    async with live(StubReception(), listening(role="submission", tls_implicit=True)) as server:
        assert "tls.not-configured" in server.ids()


async def test_submission_without_certificate_offers_no_starttls() -> None:
    async with live(StubReception(), listening(role="submission")) as server:
        client = await server.dial()
        assert "STARTTLS" not in await client.greet()
        assert (await client.ask("STARTTLS")).startswith("502 5.5.1 ")
        assert "tls.no-certificates-available" in server.ids()


async def test_tls_1_2_is_taken_and_a_broken_handshake_is_not() -> None:
    context = trusting()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    options = listening(tls_implicit=True, bind=(Bind(host="127.0.0.1"),))
    async with live(StubReception(), options) as server:
        client = await server.dial(tls=context)
        assert (await client.reply()).startswith("220 ")
        await client.close()
        plain = await server.dial()
        plain.send(b"\x16\x03\x01\x00\x05hello")
        await plain.line()
        await plain.close()
        await server.until(lambda: "tls.handshake-error" in server.ids())
