"""Strangers' mail through a daemon that checks who sent it, with a DNS server of its own."""

from __future__ import annotations

import smtplib
import statistics
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from relayd.mailauth.arc_seal import Sealable, Sealer, seal
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import want_signed
from relayd.mailauth.findings import ArcFinding, Result
from relayd.mailauth.results import MethodResult
from relayd.mailauth.signing_key import record_name
from tests.journeys.conftest import Proxied, StartRelay, wait_logged, wait_until
from tests.mailauth.signing import key, parts, rule, signed
from tests.rig.daemon import Daemon
from tests.rig.dns import TIMEOUT, DnsServer, Names, serving_in_thread
from tests.rig.postfix import free_port
from tests.rig.sink import Sink

GOOD, BAD, FILTER = "198.51.100.7", "198.51.100.66", "198.51.100.200"
STRICT = {
    "auth.spf.verify.ehlo": "relaxed",
    "auth.spf.verify.mail-from": "strict",
    "auth.dkim.verify": "strict",
    "auth.arc.verify": "relaxed",
    "auth.dmarc.verify": "strict",
    "auth.iprev.verify": "relaxed",
}


def txt(text: str) -> str:
    """A TXT record as a zone file has it."""
    return " ".join(f'"{text[at : at + 200]}"' for at in range(0, len(text), 200))


NAMES: Names = {
    "strict.test": {"TXT": [txt(f"v=spf1 ip4:{GOOD} -all")]},
    "_dmarc.strict.test": {"TXT": [txt("v=DMARC1; p=reject")]},
    "_dmarc.example.org": {"TXT": [txt("v=DMARC1; p=reject")]},
    "_dmarc.soft.test": {"TXT": [txt("v=DMARC1; p=quarantine")]},
    "_dmarc.watch.test": {"TXT": [txt("v=DMARC1; p=none")]},
    "client.test": {"A": [GOOD]},
    "7.100.51.198.in-addr.arpa": {"PTR": ["client.test."]},
    record_name("rsa", "example.org"): {"TXT": [txt(key("rsa").record())]},
    record_name("rsa", "lists.test"): {"TXT": [txt(key("rsa").record())]},
    "dead.test": {"*": TIMEOUT},
    "_dmarc.dead.test": {"*": TIMEOUT},
}


@dataclass
class House:
    """A relay for receiver.test before a sink; its strangers come through a load balancer."""

    relay: Daemon
    sink: Sink
    dns: DnsServer
    port: int
    lmtp: int

    def client(self, address: str) -> Proxied:
        """A client at that address, greeted."""
        client = Proxied(self.port, f"PROXY TCP4 {address} 192.0.2.1 4711 25\r\n".encode())
        client.ehlo("client.test")
        return client

    def offer(self, content: bytes, address: str = GOOD, sender: str = "a@strict.test") -> tuple[int, str]:
        """The answer to the end of data."""
        with self.client(address) as client:
            assert client.mail(sender)[0] == 250
            assert client.rcpt("b@receiver.test")[0] == 250
            code, text = client.data(content)
            return code, text.decode()

    def taken(self, content: bytes, address: str = GOOD, sender: str = "a@strict.test") -> bytes:
        """What the next hop gets of a message that is taken."""
        before = len(self.sink.deliveries)
        code, text = self.offer(content, address, sender)
        assert code == 250, text
        wait_until(lambda: len(self.sink.deliveries) > before, "the message is delivered")
        return self.sink.deliveries[-1].content


def start(module_relay: StartRelay, dns: DnsServer, sink: Sink, **settings: Any) -> House:
    port, lmtp = free_port(), free_port()
    relay = module_relay(
        sink.port,
        {
            "server.listener.outside.bind": [f"127.0.0.1:{port}"],
            "server.listener.outside.proxy-protocol": ["127.0.0.0/8"],
            "server.listener.lmtp.bind": [f"127.0.0.1:{lmtp}"],
            "server.listener.lmtp.protocol": "lmtp",
            "server.listener.lmtp.proxy-protocol": ["127.0.0.0/8"],
            "session.rcpt.relay-domains": ["receiver.test"],
            "session.rcpt.known.a.domains": ["receiver.test"],
            "session.rcpt.known.a.check": "any",
            "session.trusted-relays": [FILTER],
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            **STRICT,
            **settings,
        },
    )
    return House(relay, sink, dns, port, lmtp)


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    with serving_in_thread(NAMES) as dns, Sink() as sink:
        yield start(module_relay, dns, sink, **{"auth.arc.trusted-sealers": ["lists.test"]})


def mail(author: str, more: str = "", body: str = "a line\r\n") -> bytes:
    return f"From: {author}\r\nTo: b@receiver.test\r\n{more}Subject: hello\r\n\r\n{body}".encode()


def results(content: bytes) -> str:
    """Our Authentication-Results, which stands on top, in one line."""
    field = parts(content)[0].fields[0]
    assert field.name == "Authentication-Results"
    return field.value.decode().replace("\t", " ")


def test_good_mail_is_taken_and_not_changed_below_our_fields(house: House) -> None:
    content = signed(mail("a@example.org"), rule())
    message = house.taken(content)
    text = results(message)
    assert text.startswith("relay.test; spf=none")
    for each in ("spf=pass smtp.mailfrom=a@strict.test", "iprev=pass", "dkim=pass", "arc=none", "dmarc=pass"):
        assert each in text
    assert message.endswith(b"\r\n" + content)
    assert [field.name for field in parts(message)[0].fields[:3]] == [
        "Authentication-Results",
        "Received",
        "DKIM-Signature",
    ]


def test_spf_fail_is_refused_after_data(house: House) -> None:
    code, text = house.offer(mail("a@elsewhere.test"), BAD)
    assert code == 550
    assert text.startswith("5.7.23 ")


def test_lmtp_refuses_each_recipient(house: House) -> None:
    header = f"PROXY TCP4 {BAD} 192.0.2.1 4711 24\r\n".encode()
    with Proxied(house.lmtp, header) as client:
        client.putcmd("lhlo", "client.test")
        client.getreply()
        client.docmd("MAIL", "FROM:<a@strict.test>")
        for name in ("b", "c"):
            assert client.docmd("RCPT", f"TO:<{name}@receiver.test>")[0] == 250
        assert client.docmd("DATA")[0] == 354
        client.send(mail("a@elsewhere.test") + b".\r\n")
        assert [client.getreply()[0] for _ in range(2)] == [550, 550]


def test_dmarc_reject(house: House) -> None:
    code, text = house.offer(mail("a@strict.test"), BAD, "x@elsewhere.test")
    assert (code, text[:6]) == (550, "5.7.1 ")
    assert "strict.test" in text
    line = wait_logged(house.relay, "smtp.dmarc-fail", 'domain = "strict.test"')
    assert (
        'strict = true, domain = "strict.test", policy = "reject", result = DMARC check failed (dmarc.fail) {' in line
    )


def test_dmarc_quarantine_is_tagged_and_none_only_recorded(house: House) -> None:
    text = results(house.taken(mail("a@soft.test"), BAD, "x@elsewhere.test"))
    assert "dmarc=fail reason=suspicious header.from=soft.test policy.dmarc=quarantine" in text
    text = results(house.taken(mail("a@watch.test"), BAD, "x@elsewhere.test"))
    assert "dmarc=fail header.from=watch.test policy.dmarc=none" in text


def test_list_traffic_is_not_refused(house: House) -> None:
    message = mail("a@strict.test", "List-Id: <people.lists.test>\r\n")
    text = results(house.taken(message, BAD, "x@elsewhere.test"))
    assert 'dmarc=fail reason="suspicious, policy not applied: mailing_list"' in text


def test_a_trusted_sealer_speaks_for_a_message(house: House) -> None:
    content = mail("a@strict.test")
    header, octets = parts(content)
    body = BodyDigests()
    want_signed(body)
    body.feed(octets)
    body.finish()
    passed = MethodResult(method="dmarc", result="pass", properties=(("header", "from", "strict.test"),))
    sealable = Sealable(header=header, body=body, chain=ArcFinding(result=Result.NONE), results=(passed,))
    fields = seal(sealable, Sealer(authserv_id="lists.test", domain="lists.test", selector="rsa"), key(), 1_700_000_000)
    assert fields is not None
    text = results(house.taken(fields + content, BAD, "x@elsewhere.test"))
    assert "arc=pass" in text
    assert 'reason="suspicious, policy not applied: trusted_forwarder"' in text
    tampered = fields + content.replace(b"a line", b"another line")
    assert house.offer(tampered, BAD, "x@elsewhere.test")[0] == 550


def test_the_client_before_a_relay_of_ours(house: House) -> None:
    inside = b"Authentication-Results: relay.test; x-filter=pass\r\n"
    hop = f"Received: from client.test ([{GOOD}]) by filter.test; Sat, 21 Nov 2026 08:00:00 +0000\r\n".encode()
    forged = b"Authentication-Results: relay.test; x-filter=forged\r\n"
    content = mail("a@strict.test")
    message = house.taken(inside + hop + forged + content, FILTER)
    assert f"policy.iprev={GOOD}" in results(message)
    assert "spf=pass smtp.mailfrom=a@strict.test" in results(message)
    assert "dmarc=pass" in results(message)
    assert message.endswith(b"\r\n" + inside + hop + content)
    hop = hop.replace(GOOD.encode(), BAD.encode())
    assert house.offer(hop + content, FILTER)[0] == 550


def test_a_relay_of_ours_that_hides_the_client(house: House) -> None:
    text = results(house.taken(mail("a@strict.test"), FILTER))
    reason = "(client before our relay not known: our relay wrote no Received field)"
    assert f"spf=none {reason}" in text
    assert f"iprev=none {reason}" in text


def test_forged_results_are_taken_out(house: House) -> None:
    forged = (
        b"Authentication-Results: relay.test; dkim=forged\r\n"
        b"Authentication-Results:\r\n\tRELAY.test (not us)\r\n\t1; dkim=forged\r\n"
        b"Authentication-Results: " + "ｒelay.test".encode() + b"; dkim=forged\r\n"
    )
    content = mail("a@elsewhere.test", "X-Odd:   kept   as is \r\n")
    message = house.taken(forged + b"Authentication-Results: other.test; x=kept\r\n" + content)
    assert b"forged" not in message
    assert message.endswith(b"\r\nAuthentication-Results: other.test; x=kept\r\n" + content)


def test_trusted_mail_is_not_looked_at(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.relay.smtp_port, "client.test", timeout=60) as client:
        before = len(house.sink.deliveries)
        client.sendmail("a@strict.test", ["b@receiver.test"], mail("a@strict.test"))
    wait_until(lambda: len(house.sink.deliveries) > before, "the message is delivered")
    assert house.sink.deliveries[-1].content.startswith(b"Received:")


def test_the_log_has_the_events_in_their_order(house: House) -> None:
    house.taken(signed(mail("order@example.org"), rule()), sender="order@strict.test")
    wait_logged(house.relay, "queue.queue-message", "order@strict.test")
    lines = house.relay.output.read_text().splitlines()
    end = next(at for at, line in enumerate(lines) if "order@strict.test" in line and "smtp.spf-from" not in line)
    begin = max(at for at in range(end) if "smtp.ehlo" in lines[at])
    ids = [line.partition(" (")[2].partition(")")[0] for line in lines[begin:]]
    wanted = "ehlo spf-ehlo-fail iprev-pass spf-from-pass mail-from rcpt-to dkim-pass arc-pass dmarc-pass"
    assert [id for id in ids if id.startswith("smtp.")][:9] == [f"smtp.{name}" for name in wanted.split()]
    line = next(line for line in lines[begin:] if "smtp.iprev-pass" in line)
    assert 'domain = "client.test", result = IPREV check passed (iprev.pass) { details = ["client.test."] }' in line


def test_a_dead_dns_server_costs_the_checks_only(module_relay: StartRelay) -> None:
    names = {"*": {"*": TIMEOUT}}
    with serving_in_thread(names) as dns, Sink() as sink:
        dns.answer = lambda wire, tcp: None  # type: ignore[method-assign]
        house = start(module_relay, dns, sink, **{"auth.timeout": "2s"})
        began = time.monotonic()
        text = results(house.taken(signed(mail("a@example.org"), rule())))
        assert time.monotonic() - began < 6
        for method in ("spf", "iprev", "dkim", "dmarc"):
            assert f"{method}=temperror" in text


def test_another_resolver_after_a_reload(module_relay: StartRelay) -> None:
    with serving_in_thread({"a.test": {"A": ["192.0.2.1"]}}) as empty, serving_in_thread(NAMES) as dns, Sink() as sink:
        house = start(module_relay, empty, sink)
        assert "spf=none" in results(house.taken(mail("a@elsewhere.test"), GOOD))
        house.relay.settings["resolver.custom"] = [f"udp://127.0.0.1:{dns.port}"]
        house.relay.write_config()
        house.relay.data_of("GET", "/api/reload/")
        assert "spf=pass smtp.mailfrom=a@strict.test" in results(house.taken(mail("a@elsewhere.test"), GOOD))


def test_a_large_message_is_checked_while_others_are_served(house: House) -> None:
    content = signed(mail("a@example.org", body="0123456789  abcdef \t 0123456789\r\n" * (20 << 15)), rule())
    assert len(content) > 20 << 20
    replies: list[tuple[int, str]] = []
    sender = threading.Thread(target=lambda: replies.append(house.offer(content)))
    waits = []
    with house.client(GOOD) as other:
        sender.start()
        while sender.is_alive():
            began = time.monotonic()
            assert other.noop()[0] == 250
            waits.append(time.monotonic() - began)
            time.sleep(0.002)
    sender.join()
    assert replies[0][0] == 250, replies
    wait_until(lambda: any(len(each.content) > 20 << 20 for each in house.sink.deliveries), "it is delivered", 60)
    message = next(each.content for each in house.sink.deliveries if len(each.content) > 20 << 20)
    assert "dkim=pass" in results(message)
    assert message.endswith(content)
    assert statistics.median(waits) < 0.05
    assert max(waits) < 0.5, "the loop was held up"
