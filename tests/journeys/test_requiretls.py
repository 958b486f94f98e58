"""REQUIRETLS end to end: promised under TLS, kept over a crash, passed on, and reported under REQUIRETLS (RFC 8689)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.journeys.conftest import StartRelay, message, send, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.dns import serving_in_thread
from tests.rig.peer import ALL, Peer, Script, running_in_thread
from tests.rig.postfix import free_port
from tests.routing.authority import made

OFFERED = (*ALL, "REQUIRETLS")
ZONE = {
    "receiver.test": {"MX": ["10 mx.receiver.test."]},
    "mx.receiver.test": {"A": ["127.0.0.1"]},
    "sender.test": {"MX": ["10 mx.sender.test."]},
    "mx.sender.test": {"A": ["127.0.0.2"]},
}


@contextmanager
def world(folder: Path, port: int) -> Iterator[tuple[dict[str, Any], ssl.SSLContext]]:
    """Settings of a relay that believes a signed zone and an authority, and the peers' context."""
    root = made(authority=True, moment=datetime.now(UTC))
    (folder / "ca.pem").write_bytes(root.pem)
    (folder / "mx.pem").write_bytes(made("mx.receiver.test", "mx.sender.test", by=root, moment=datetime.now(UTC)).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mx.pem")
    with serving_in_thread(ZONE) as dns:
        dns.secure = True
        yield (
            {
                "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
                "queue.outbound.port": port,
                "queue.outbound.tls.ca-files": [str(folder / "ca.pem")],
                "queue.schedule.retry": ["1h"],
            },
            context,
        )


def send_under_tls(relay: Daemon) -> str:
    """A message under REQUIRETLS whose return is asked for whole; its queue id."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", relay.smtp_port, "client.test", timeout=60) as client:
        client.ehlo()
        assert not client.has_extn("requiretls")
        assert client.mail("a@sender.test", ["REQUIRETLS"])[0] == 555
        client.starttls(context=context)
        client.ehlo()
        assert client.has_extn("requiretls")
        assert client.mail("a@sender.test", ["REQUIRETLS", "RET=FULL"])[0] == 250
        assert client.rcpt("b@receiver.test")[0] == 250
        code, text = client.data(message(body="secret words\r\n"))
        assert code == 250, text
        return text.decode().rpartition(" ")[2]


def taken_by(peer: Peer) -> Any:
    wait_until(lambda: peer.taken, "a message at the peer")
    return peer.taken[0]


def test_the_promise_of_tls_outlives_a_crash(relay: StartRelay, tmp_path: Path) -> None:
    port = free_port()
    with world(tmp_path, port) as (settings, context):
        daemon = relay(None, settings)
        queue_id = send_under_tls(daemon)
        wait_status(daemon, queue_id, "temp_fail")
        daemon.kill()
        daemon.start()
        assert daemon.data_of("GET", f"/api/queue/messages/{queue_id}")["tls"] == "requiretls"
        with running_in_thread(Script(offers=OFFERED), tls=context, port=port) as peer:
            daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
            taken = taken_by(peer)
            assert " REQUIRETLS" in taken.mail
            assert taken.tls


def test_a_host_that_does_not_offer_it_gets_nothing_and_the_report_goes_under_tls(
    relay: StartRelay, tmp_path: Path
) -> None:
    port = free_port()
    with world(tmp_path, port) as (settings, context), ExitStack() as stack:
        receiver = stack.enter_context(running_in_thread(tls=context, port=port))
        sender = stack.enter_context(
            running_in_thread(Script(offers=OFFERED), tls=context, port=port, address="127.0.0.2")
        )
        daemon = relay(None, settings)
        send_under_tls(daemon)
        report = taken_by(sender)
        assert report.mail.startswith("MAIL FROM:<> ")
        assert " REQUIRETLS" in report.mail
        assert report.tls
        assert b"5.7.30" in report.content
        assert b"Subject: hello" in report.content
        assert b"secret words" not in report.content
        assert not receiver.taken


def test_tls_required_no_asks_for_less(relay: StartRelay, tmp_path: Path) -> None:
    port = free_port()
    with world(tmp_path, port) as (settings, _):
        daemon = relay(None, settings | {"queue.outbound.tls.dane": "require"})
        with running_in_thread(port=port) as peer:
            assert "no usable TLSA" in wait_status(daemon, send(daemon), "temp_fail")
            send(daemon, message(**{"TLS-Required": "No"}))
            assert not taken_by(peer).tls
