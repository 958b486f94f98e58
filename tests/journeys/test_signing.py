"""Signatures on the way through: who gets them, what becomes of mail without its key, and new keys for old.

What is signed is verified at the far end by others: Debian's opendkim, and dkimpy.
"""

from __future__ import annotations

import json
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dkim
import pytest

from relayd.mailauth.signing_key import record_name
from tests.journeys.conftest import Proxied, StartRelay, message, send, wait_logged, wait_until
from tests.mailauth.signing import DOMAIN, key, pem, signed
from tests.mailauth.test_dkim_peers import opendkim, torture, well_formed
from tests.rig.daemon import Daemon, free_port
from tests.rig.dns import serving_in_thread
from tests.rig.sink import Delivery, Sink

OURS = message(From=f"Ann <ann@{DOMAIN}>", Date="Fri, 20 Nov 2026 10:00:00 +0000")
ANN = f"ann@{DOMAIN}"


def keys(directory: Path, **given: Any) -> dict[str, Any]:
    """Settings of an RSA and an Ed25519 key of example.org, each in a file."""
    settings: dict[str, Any] = {}
    for type in ("rsa", "ed25519"):
        path = directory / f"{type}.pem"
        path.write_text(pem("rsa" if type == "rsa" else "ed25519"))
        settings |= {
            f"signature.{type}.private-key": f"%{{file:{path}}}%",
            f"signature.{type}.domain": DOMAIN,
            f"signature.{type}.selector": type,
            **{f"signature.{type}.{name}": value for name, value in given.items()},
        }
    return settings


def strangers(port: int) -> dict[str, Any]:
    """Settings of a listener where everybody is a stranger, and may send to receiver.test."""
    return {
        "server.listener.outside.bind": [f"127.0.0.1:{port}"],
        "server.listener.outside.proxy-protocol": ["127.0.0.1"],
        "session.rcpt.relay-domains": ["receiver.test"],
        "session.rcpt.known.all.domains": ["receiver.test"],
        "session.rcpt.known.all.check": "any",
    }


def arrived(sink: Sink, count: int = 1) -> list[Delivery]:
    wait_until(lambda: len(sink.deliveries) >= count, f"{count} messages arrived", timeout=60)
    return sink.deliveries


def passed(content: bytes, records: Mapping[str, bytes] | None = None) -> list[str]:
    """The selectors of the signatures that dkimpy finds good."""
    known = {record_name(type, DOMAIN): key(type).record().encode() for type in ("rsa", "ed25519")}
    known |= records or {}
    message = dkim.DKIM(content)  # type: ignore[no-untyped-call]
    found = []
    for place in range(content.count(b"DKIM-Signature:")):
        try:
            good = message.verify(place, dnsfunc=lambda name, timeout=5: known.get(name.decode().rstrip("."), b""))  # type: ignore[no-untyped-call]
        except dkim.DKIMException:
            good = False
        if good:
            selector: Any = message.selector
            found.append(selector.decode())
    return found


def test_trusted_mail_is_signed_and_a_strangers_is_not(relay: StartRelay, tmp_path: Path) -> None:
    port = free_port()
    with Sink() as sink:
        daemon = relay(sink.port, keys(tmp_path) | strangers(port))
        send(daemon, OURS, sender=ANN)
        (first,) = arrived(sink)
        assert passed(first.content) == ["rsa", "ed25519"]
        with Proxied(port) as client:
            client.ehlo()
            client.sendmail(ANN, ["b@receiver.test"], OURS)
        second = arrived(sink, 2)[1]
        assert second.content.startswith(b"Received:")
        assert b"DKIM-Signature" not in second.content
        send(daemon, OURS.replace(DOMAIN.encode(), b"other.test"))
        assert b"DKIM-Signature" not in arrived(sink, 3)[2].content


def test_an_account_signs_for_its_own_domains_alone(relay: StartRelay, tmp_path: Path) -> None:
    """The submit socket and trusted networks may use any domain; somebody who signed in may not."""
    port = free_port()
    settings = keys(tmp_path) | {
        "server.listener.outside.bind": [f"127.0.0.1:{port}"],
        "server.listener.outside.xclient": ["127.0.0.1"],
        "session.submission.match-author": False,
        "account.ann.secret": "for-tests-only",
        "account.ann.emails": [ANN],
        "account.bob.secret": "for-tests-only",
        "account.bob.emails": ["bob@other.test"],
    }
    with Sink() as sink:
        daemon = relay(sink.port, settings)
        for name, sender in (("ann", ANN), ("bob", "bob@other.test")):
            with smtplib.SMTP("127.0.0.1", port, "client.test", timeout=60) as client:
                client.ehlo()
                assert client.docmd("XCLIENT", f"ADDR=203.0.113.9 LOGIN={name}")[0] == 220
                client.ehlo()
                client.sendmail(sender, ["b@receiver.test"], OURS)
        by_sender = {each.return_path: each.content for each in arrived(sink, 2)}
        assert passed(by_sender[ANN]) == ["rsa", "ed25519"]
        assert b"DKIM-Signature" not in by_sender["bob@other.test"]
        daemon.wait_empty()


def test_a_bounce_is_signed(relay: StartRelay, tmp_path: Path) -> None:
    def refuses(verb: str, argument: str, delivery: Delivery) -> str | None:
        return "550 5.1.1 no such user" if verb == "RCPT" and "gone@" in argument else None

    with Sink(answer=refuses) as sink:
        daemon = relay(sink.port, keys(tmp_path) | {"server.hostname": "relay.example.org"})
        send(daemon, to="gone@receiver.test")
        (report,) = arrived(sink)
        assert report.return_path == ""
        assert b"multipart/report" in report.content
        assert passed(report.content) == ["rsa", "ed25519"]
        said = opendkim(tmp_path, "Mode v\n", [report.content])
        assert len(re.findall(r"dkim=pass", said)) == 2, said


def offered(client: smtplib.SMTP) -> tuple[int, bytes]:
    client.ehlo_or_helo_if_needed()
    client.mail(ANN)
    client.rcpt("b@receiver.test")
    return client.data(OURS)


def test_without_its_key_mail_waits_at_the_sender(relay: StartRelay, tmp_path: Path) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, keys(tmp_path))
        send(daemon, OURS, sender=ANN)
        (tmp_path / "rsa.pem").rename(tmp_path / "away.pem")
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            text = wait_until(lambda: (found := offered(client))[0] == 451 and found[1], "the file is missed")
            assert text.startswith(b"4.3.0 The key that signs this mail cannot be read")
            wait_logged(daemon, "signing.key-unreadable", "rsa.pem")
            assert client.mail("a@other.test")[0] == 250  # mail of others goes on
            client.rcpt("b@receiver.test")
            assert client.data(OURS.replace(DOMAIN.encode(), b"other.test"))[0] == 250
        daemon.stop()
        daemon.start()  # it is no reason not to start
        (tmp_path / "away.pem").rename(tmp_path / "rsa.pem")
        count = len(sink.deliveries)
        with smtplib.SMTP("127.0.0.1", daemon.smtp_port, "client.test", timeout=60) as client:
            wait_until(lambda: offered(client)[0] == 250, "the file is seen again")
        daemon.wait_empty()
        ours = [each for each in arrived(sink, count + 1) if each.return_path == ANN]
        assert [passed(each.content) for each in ours] == [["rsa", "ed25519"]] * len(ours)


def test_a_key_that_is_created_signs_after_a_reload(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port)
        body = {"id": None, "algorithm": "Rsa", "domain": DOMAIN, "selector": "new"}
        assert daemon.data_of("POST", "/api/dkim", body) is None
        send(daemon, OURS, sender=ANN)
        assert b"DKIM-Signature" not in arrived(sink)[0].content
        assert daemon.data_of("GET", "/api/reload/")["errors"] == {}
        send(daemon, OURS, sender=ANN)
        records = daemon.data_of("GET", f"/api/dns/records/{DOMAIN}")
        (published,) = [each["content"] for each in records if each["name"] == f"new._domainkey.{DOMAIN}."]
        content = arrived(sink, 2)[1].content
        assert passed(content, {f"new._domainkey.{DOMAIN}": published.encode()}) == ["new"]


def relayd(daemon: Daemon, *arguments: str) -> tuple[int, Any]:
    """Run a command with --json; its exit code and what it printed."""
    command = [sys.executable, "-m", "relayd", *arguments, "--json", "--config", str(daemon.config)]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout or b"null")


def test_a_new_key_signs_once_the_dns_shows_it(relay: StartRelay, tmp_path: Path) -> None:
    names: dict[str, dict[str, list[str] | str]] = {
        record_name(type, DOMAIN): {"TXT": [quoted(key(type).record())]} for type in ("rsa", "ed25519")
    }
    with serving_in_thread(names) as dns, Sink() as sink:
        dns.minimum = dns.ttl = 1
        daemon = relay(sink.port, keys(tmp_path) | {"resolver.custom": [f"udp://127.0.0.1:{dns.port}"]})
        assert relayd(daemon, "dkim", "check", DOMAIN)[0] == 0
        code, new = relayd(daemon, "dkim", "rotate", DOMAIN)
        assert (code, [each["state"] for each in new]) == (0, ["waiting", "waiting"])
        send(daemon, OURS, sender=ANN)
        assert passed(arrived(sink)[0].content) == ["rsa", "ed25519"]
        assert relayd(daemon, "dkim", "check", DOMAIN)[0] == 69
        records = {each["name"]: each["content"].encode() for each in new}
        dns.names |= {name: {"TXT": [quoted(text.decode())]} for name, text in records.items()}

        def rotated() -> bool:
            daemon.data_of("GET", "/api/reload/")  # looks at once
            return all(each["state"] != "waiting" for each in daemon.data_of("GET", "/api/dkim"))

        wait_until(rotated, "the new keys are seen")
        selectors = sorted(each["selector"] for each in new)
        for count in (2, 3):  # and after a restart, whatever the DNS says
            send(daemon, OURS, sender=ANN)
            assert sorted(passed(arrived(sink, count)[count - 1].content, records)) == selectors
            if count == 2:
                wait_until(lambda: stored(daemon, new), "what was seen is written down")
                daemon.stop()
                dns.names.clear()
                daemon.start()
        states = {each["id"]: each for each in daemon.data_of("GET", "/api/dkim")}
        assert {id: states[id]["state"] for id in ("rsa", "ed25519")} == {"rsa": "retired", "ed25519": "retired"}
        assert states["rsa"]["keepUntil"] > "2026"
        shown = daemon.data_of("GET", f"/api/dns/records/{DOMAIN}")
        assert sum("._domainkey." in each["name"] for each in shown) == 4
        daemon.wait_empty()


def stored(daemon: Daemon, new: list[dict[str, Any]]) -> bool:
    wanted = ",".join(f"signature.{each['id']}.published" for each in new)
    return len(daemon.data_of("GET", f"/api/settings/keys?keys={wanted}")) == len(new)


def quoted(text: str) -> str:
    """A TXT record as the rig's server takes it."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


# Byte for byte


class Chunking(smtplib.SMTP):
    """Sends content by BDAT in pieces."""

    def content(self, octets: bytes) -> tuple[int, bytes]:
        middle = len(octets) // 2
        for piece, last in ((octets[:middle], ""), (octets[middle:], " LAST")):
            self.send(f"BDAT {len(piece)}{last}\r\n".encode() + piece)
            reply = self.getreply()
        return reply


def offer(client: smtplib.SMTP, number: int, octets: bytes) -> None:
    header = octets.partition(b"\r\n\r\n")[0]
    options = ["BODY=8BITMIME", *([] if header.isascii() else ["SMTPUTF8"])]
    assert client.mail(f"n{number}@sender.test", options)[0] == 250
    assert client.rcpt("b@receiver.test")[0] == 250
    code, text = client.content(octets) if isinstance(client, Chunking) else client.data(octets)
    assert code == 250, (number, text)


@pytest.fixture(scope="module")
def messages() -> list[bytes]:
    """The torture set, without lines that are too long for SMTP (they are re-encoded, which is shown elsewhere)."""
    found = [octets for _, octets in torture() if max(map(len, octets.split(b"\r\n"))) <= 998]
    assert len(found) > 50
    return found


def delivered(sink: Sink, count: int) -> Iterator[tuple[int, bytes]]:
    for each in arrived(sink, count):
        yield int(each.return_path.partition("@")[0][1:]), each.content


def sent_twice(daemon: Daemon, messages: list[bytes], make: type[smtplib.SMTP] | None = None, port: int = 0) -> None:
    """By DATA those with even numbers, by BDAT the others: each message once by each."""
    for kind in (make or smtplib.SMTP, Chunking):
        first = 0 if kind is not Chunking else len(messages)
        with kind("127.0.0.1", port or daemon.smtp_port, "client.test", timeout=60) as client:
            client.ehlo()
            for number, octets in enumerate(messages, first):
                offer(client, number, octets)


def test_what_trusted_clients_send_is_unchanged_below_what_is_added(
    relay: StartRelay, tmp_path: Path, messages: list[bytes]
) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, keys(tmp_path, authors=["*"]))
        sent_twice(daemon, messages)
        whole, good = 0, []
        for number, content in delivered(sink, 2 * len(messages)):
            octets = messages[number % len(messages)]
            blind = re.search(rb"(?im)^(resent-)?bcc[ \t]*:", octets.partition(b"\r\n\r\n")[0])
            assert blind or content.endswith(octets), octets
            whole += not blind
            if well_formed(octets) and content.startswith(b"DKIM-Signature"):
                good.append(content)
        assert whole > 1.9 * len(messages)
        assert len(good) > len(messages)
        for content in good:
            assert passed(content)[:2] == ["rsa", "ed25519"], content
        said = opendkim(tmp_path, "Mode v\n", good)
        results = re.findall(rf"dkim=(\w+)[^;]*header\.d={DOMAIN}[^;]*header\.s=(?:rsa|ed25519)", said)
        assert len(results) == 2 * len(good), said[-2000:]
        assert set(results) == {"pass"}


def test_what_strangers_signed_is_as_good_at_the_far_end(
    relay: StartRelay, tmp_path: Path, messages: list[bytes]
) -> None:
    before = [signed(octets) for octets in messages if well_formed(octets)]
    port = free_port()
    settings = {"session.rcpt.relay-networks": [], "session.rcpt.relay-domains": ["receiver.test"]}
    with Sink() as sink:
        daemon = relay(sink.port, strangers(port) | settings)
        sent_twice(daemon, before)
        good = []
        for number, content in delivered(sink, 2 * len(before)):
            assert content.endswith(before[number % len(before)])
            good.append(content)
        said = opendkim(tmp_path, "Mode v\n", good)
        assert len(re.findall(rf"dkim=pass[^;]*header\.d={DOMAIN}", said)) == len(good), said[-2000:]
