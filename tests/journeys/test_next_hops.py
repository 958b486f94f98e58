"""Next hops of several kinds: LMTP, one that wants a sign-in, ones that lack an extension the mail needs."""

from __future__ import annotations

import base64
import email
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trustme

from tests.journeys.conftest import StartRelay, message, send, wait_gone, wait_logged, wait_status, wait_until
from tests.rig.daemon import Daemon
from tests.rig.peer import PLAIN, Peer, Script, Taken, running_in_thread

LATIN = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nMIME-Version: 1.0\r\n"


@dataclass
class House:
    """A relay with one route for each kind of next hop; reports to sender.test go to `reports`."""

    relay: Daemon
    reports: Peer
    lmtp: Peer
    sevenbit: Peer
    smarthost: Peer


@pytest.fixture(scope="module")
def house(module_relay: StartRelay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    def full_mailbox(line: str) -> str:
        return "552 5.2.2 full" if "full@" in line else "250 2.1.5 stored"

    def knows(line: str) -> str:
        password = base64.b64decode(line.split(" ")[2]).split(b"\0")[2] if line.count(" ") == 2 else b""
        return "235 2.7.0 welcome" if password == b"open sesame" else "535 5.7.8 who are you?"

    socket = str(directory / "lmtp.sock")
    with (
        running_in_thread() as reports,
        running_in_thread(Script(lmtp=True, dot=full_mailbox), address=f"unix:{socket}") as lmtp,
        running_in_thread(Script(offers=("PIPELINING",))) as sevenbit,
        running_in_thread(Script(offers=(*PLAIN, "AUTH PLAIN"), auth=knows), tls=context) as smarthost,
    ):
        routes: dict[str, object] = {
            "queue.outbound.next-hop": "reports",
            "queue.route.reports.address": "127.0.0.1",
            "queue.route.reports.port": reports.port,
            "queue.route.box.address": f"unix:{socket}",
            "queue.route.box.protocol": "lmtp",
            "queue.outbound.domain.'box.test'": "box",
            "queue.route.seven.address": "127.0.0.1",
            "queue.route.seven.port": sevenbit.port,
            "queue.outbound.domain.'seven.test'": "seven",
            "queue.schedule.retry": ["10m"],
        }
        for name in ("smart", "stale"):
            routes |= {
                f"queue.route.{name}.address": "localhost",
                f"queue.route.{name}.port": smarthost.port,
                f"queue.route.{name}.auth.username": "relay",
                f"queue.route.{name}.auth.secret": f"%{{env:SECRET_{name.upper()}}}%",
                f"queue.route.{name}.tls.ca-files": [str(directory / "ca.pem")],
                f"queue.outbound.domain.'{name}.test'": name,
            }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SECRET_SMART", "open sesame")
            patch.setenv("SECRET_STALE", "forgotten")
            daemon = module_relay(None, routes)
        yield House(daemon, reports, lmtp, sevenbit, smarthost)


def taken(peer: Peer, recipient: str) -> Taken:
    def found() -> Taken | None:
        return next((each for each in peer.taken if any(f"<{recipient}>" in line for line in each.rcpts)), None)

    answer: Taken = wait_until(found, f"{recipient} has mail")
    return answer


def report_about(house: House, recipient: str) -> bytes:
    def found() -> Taken | None:
        wanted = f";{recipient}".encode()
        return next(
            (each for each in house.reports.taken if b"Action: " in each.content and wanted in each.content), None
        )

    return bytes(wait_until(found, f"a report about {recipient}").content)


def test_over_lmtp_each_recipient_has_an_outcome_of_its_own(house: House) -> None:
    send(house.relay, to=["jane@box.test", "full@box.test"])
    report = report_about(house, "full@box.test")
    assert house.lmtp.verbs[0] == "LHLO"
    assert b"Status: 5.2.2" in report
    assert b"Final-Recipient: rfc822;jane@box.test" not in report


def test_a_smarthost_s_sign_in_goes_over_verified_tls(house: House) -> None:
    send(house.relay, to="b@smart.test")
    assert taken(house.smarthost, "b@smart.test").tls
    assert "open sesame" not in house.relay.output.read_text()


def test_a_smarthost_that_refuses_our_sign_in_defers_the_mail_and_alarms(house: House) -> None:
    queue_id = send(house.relay, to="b@stale.test")
    assert "535" in wait_status(house.relay, queue_id, "temp_fail")
    wait_logged(house.relay, "delivery.route-alarm", "stale")


def test_mail_that_needs_smtputf8_bounces_where_it_is_not_offered(house: House) -> None:
    queue_id = send(house.relay, message("grüße"), to="jürgen@seven.test", mail_options=("SMTPUTF8", "BODY=8BITMIME"))
    wait_gone(house.relay, queue_id)
    assert b"Status: 5.6.7" in report_about(house, "j=C3=BCrgen@seven.test")


def test_an_eight_bit_body_is_converted_for_a_host_without_8bitmime(house: House) -> None:
    content = LATIN.encode() + message("eight bit", "grün\r\n")
    send(house.relay, content, to="unsigned@seven.test", mail_options=("BODY=8BITMIME",))
    got = taken(house.sevenbit, "unsigned@seven.test").content
    assert got.isascii()
    text = email.message_from_bytes(got).get_payload(decode=True)
    assert text == "grün\r\n".encode()


def test_a_signed_eight_bit_body_bounces_instead(house: House) -> None:
    signature = b"DKIM-Signature: v=1; a=rsa-sha256; d=sender.test; s=s; h=from; bh=; b=\r\n"
    content = signature + LATIN.encode() + message("eight bit", "grün\r\n")
    send(house.relay, content, to="signed@seven.test", mail_options=("BODY=8BITMIME",))
    assert b"Status: 5.6.3" in report_about(house, "signed@seven.test")


def test_notify_success_is_answered_relayed_by_a_host_without_dsn(house: House) -> None:
    options = ("NOTIFY=SUCCESS", "ORCPT=rfc822;Friend@seven.test")
    send(house.relay, to="friend@seven.test", mail_options=("ENVID=abc+2B1",), rcpt_options=options)
    report = report_about(house, "friend@seven.test")
    assert b"Action: relayed" in report
    assert b"Original-Envelope-Id: abc+1" in report
    assert b"Original-Recipient: rfc822;Friend@seven.test" in report


def test_notify_is_handed_on_to_a_host_with_dsn(house: House) -> None:
    options = ("NOTIFY=SUCCESS,DELAY",)
    send(house.relay, to="onward@receiver.test", mail_options=("RET=HDRS", "ENVID=x1"), rcpt_options=options)
    got = taken(house.reports, "onward@receiver.test")
    assert "RET=HDRS" in got.mail
    assert "ENVID=x1" in got.mail
    assert "NOTIFY=SUCCESS,DELAY" in got.rcpts[0]
