"""Routes by more than the recipient's domain, several smarthosts, sources: what the peers see of them."""

from __future__ import annotations

import base64
import http.server
import json
import os
import signal
import smtplib
import ssl
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import pytest
import trustme

from tests.journeys.conftest import StartPostfix, StartRelay, message, send, wait_logged, wait_until
from tests.rig.daemon import Daemon, free_port, wait_for_port
from tests.rig.dovecot import Dovecot
from tests.rig.peer import PLAIN, Script, running_in_thread
from tests.rig.peers import require_program
from tests.rig.sink import Sink


@dataclass
class House:
    """A relay with rules; `usual` is where mail goes that none matches, `chosen` where the others go."""

    relay: Daemon
    submission: int
    usual: Sink
    chosen: Sink


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[House]:
    submission = free_port()
    with Sink() as usual, Sink() as chosen:
        settings: dict[str, object] = {
            "server.listener.submission.bind": [f"127.0.0.1:{submission}"],
            "server.listener.submission.protocol": "smtp",
            "server.listener.submission.role": "submission",
            "account.app.type": "individual",
            "account.app.secret": "$argon2id$v=19$m=8,t=1,p=1$Td1xjnUCpnYaeUMRc2naqw"
            "$qf7ermvJdy30iC2ywc9tCRFPVScAad5lFwEdSc8yrjA",
            "account.app.emails": ["@sender.test"],
            "queue.route.chosen.address": "127.0.0.1",
            "queue.route.chosen.port": chosen.port,
            "queue.source.one.address": "127.0.0.2",
            "queue.source.one.ehlo": "one.relay.test",
            "queue.source.two.address": "127.0.0.3",
            "queue.source.two.ehlo": "two.relay.test",
            "queue.source-pool.both.sources": ["one", "two weight=3"],
            "queue.route.chosen.source": "one",
            "queue.rule.sender.sender": ["news.test"],
            "queue.rule.sender.next-hop": "chosen",
            "queue.rule.header.header": ["X-Stream: bulk*"],
            "queue.rule.header.next-hop": "chosen",
            "queue.rule.header.source": "two",
            "queue.rule.account.account": ["app"],
            "queue.rule.account.next-hop": "chosen",
            "queue.rule.listener.listener": ["nobody", "smtp"],
            "queue.rule.listener.recipient": ["listener.test"],
            "queue.rule.listener.next-hop": "chosen",
            "queue.rule.pool.recipient": ["pool.test"],
            "queue.rule.pool.source": "both",
            "queue.rule.bounces.sender": ["<>"],
            "queue.rule.bounces.next-hop": "chosen",
        }
        yield House(module_relay(usual.port, settings), submission, usual, chosen)


def arrived(sink: Sink, subject: str) -> tuple[str, str]:
    """Whence a message came to the sink, and the name given in EHLO."""
    delivery = sink.wait_for_one(lambda each: f"Subject: {subject}\r\n".encode() in each.content)
    return delivery.came_from, delivery.helo


def test_mail_that_no_rule_matches_goes_where_its_domain_says(house: House) -> None:
    send(house.relay, message("usual"))
    assert arrived(house.usual, "usual") == ("127.0.0.1", "relay.test")


def test_by_sender(house: House) -> None:
    send(house.relay, message("by sender"), sender="a@news.test")
    assert arrived(house.chosen, "by sender") == ("127.0.0.2", "one.relay.test")


def test_by_header_with_a_source_of_its_own(house: House) -> None:
    send(house.relay, message("by header", **{"x-stream": "Bulk mail"}))
    assert arrived(house.chosen, "by header") == ("127.0.0.3", "two.relay.test")


def test_by_account(house: House) -> None:
    with smtplib.SMTP("127.0.0.1", house.submission, "client.test", timeout=60) as client:
        client.login("app", "for-tests-only")
        client.sendmail("a@sender.test", ["b@receiver.test"], message("by account"))
    assert arrived(house.chosen, "by account") == ("127.0.0.2", "one.relay.test")


def test_by_listener_and_recipient_each_recipient_on_its_own(house: House) -> None:
    send(house.relay, message("by listener"), to=["b@receiver.test", "c@listener.test"])
    arrived(house.usual, "by listener")
    arrived(house.chosen, "by listener")


def test_a_pool_of_sources_shares_the_mail(house: House) -> None:
    for number in range(24):
        send(house.relay, message(f"pool {number}"), to="b@pool.test")
    came = {arrived(house.usual, f"pool {number}") for number in range(24)}
    assert came == {("127.0.0.2", "one.relay.test"), ("127.0.0.3", "two.relay.test")}


def test_reports_of_ours_go_by_rules_too(house: House) -> None:
    refused = "550 5.1.1 Nobody"
    house.usual.answer = lambda verb, argument, delivery: refused if verb == "RCPT" and "gone@" in argument else None
    send(house.relay, message("refused"), to="gone@receiver.test")
    report = house.chosen.wait_for_one(lambda each: each.return_path == "")
    assert b"gone@receiver.test" in report.content


def test_the_choice_outlives_a_kill_and_follows_a_reload(relay: StartRelay) -> None:
    with Sink() as usual, Sink() as later:
        daemon = relay(
            usual.port,
            {
                "queue.route.chosen.address": "127.0.0.1",
                "queue.route.chosen.port": free_port(),
                "queue.schedule.retry": ["1h"],
                "queue.rule.r.header": ["X-Stream: *"],
                "queue.rule.r.next-hop": "chosen",
            },
        )
        queue_id = send(daemon, message("remembered", **{"X-Stream": "x"}))
        wait_until(lambda: daemon.queued()[0]["domains"][0]["status"] != "scheduled", "the first attempt failed")
        daemon.kill()
        daemon.start()
        daemon.settings |= {"queue.route.other.address": "127.0.0.1", "queue.route.other.port": later.port}
        daemon.settings["queue.rule.r.next-hop"] = "other"
        daemon.write_config()
        daemon.signal(signal.SIGHUP)
        wait_logged(daemon, "config.reloaded")
        daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
        assert arrived(later, "remembered") == ("127.0.0.1", "relay.test")
        assert not usual.deliveries


def test_a_suspended_source_gives_way_and_when_all_are_the_mail_waits(relay: StartRelay) -> None:
    with Sink() as sink:
        settings = {
            "queue.source.one.address": "127.0.0.2",
            "queue.source.two.address": "127.0.0.3",
            "queue.source-pool.both.sources": ["one", "two"],
            "queue.outbound.source": "both",
            "queue.outbound.reuse.idle": "0",
        }
        daemon = relay(sink.port, settings)
        daemon.data_of("POST", "/api/queue/suspensions", {"source": "one", "reason": "listed"})
        for number in range(10):
            send(daemon, message(f"number {number}"))
        assert {each.came_from for each in sink.wait_for(10)} == {"127.0.0.3"}
        daemon.data_of("POST", "/api/queue/suspensions", {"source": "two", "for": "1h"})
        queue_id = send(daemon, message("waits"))

        def waits() -> bool:
            [domain] = daemon.data_of("GET", f"/api/queue/messages/{queue_id}")["domains"]
            return domain["retry_num"] == 0 and _seconds(domain["next_retry"]) > time.time() + 20

        wait_until(waits, "the mail waits, uncounted")
        daemon.data_of("DELETE", "/api/queue/suspensions/source:one")
        daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
        assert arrived(sink, "waits")[0] == "127.0.0.2"


def test_a_smarthost_that_stops_costs_no_mail_and_its_share_goes_to_the_others(relay: StartRelay) -> None:
    program = require_program("smtp-sink")
    port = free_port()
    stalled = subprocess.Popen([program, "-u", "nobody", f"127.0.0.1:{port}", "100"])
    try:
        wait_for_port(port)
        with Sink() as other:
            daemon = relay(
                port,
                {
                    "queue.route.sink.hosts": [f"127.0.0.1:{other.port} weight=0"],
                    "queue.outbound.timeouts.greeting": "1s",
                    "queue.outbound.timeouts.mail": "1s",
                    "queue.outbound.reuse.idle": "0",
                    "queue.outbound.set-aside": ["1h"],
                },
            )
            send(daemon, message("to the first"))
            daemon.wait_empty()
            assert not other.deliveries
            stalled.send_signal(signal.SIGSTOP)
            for number in range(20):
                send(daemon, message(f"to the other {number}"))
            daemon.wait_empty()
            assert len(other.deliveries) == 20
            wait_logged(daemon, "delivery.smarthost-aside", str(port))
            assert daemon.audit()["delivered"] == 21
    finally:
        stalled.kill()
        stalled.wait()


def test_a_day_s_budget_outlives_a_kill(relay: StartRelay) -> None:
    with Sink() as sink:
        daemon = relay(sink.port, {"queue.route.sink.messages-per-day": 3})
        for _ in range(3):
            send(daemon)
        daemon.wait_empty()
        kept = daemon.data / "smarthosts.json"
        wait_until(kept.exists, "the budget is written", timeout=30)
        daemon.kill()
        daemon.start()
        queue_id = send(daemon)

        def waits() -> bool:
            domain = daemon.data_of("GET", f"/api/queue/messages/{queue_id}")["domains"][0]
            return domain["retry_num"] == 0 and _seconds(domain["next_retry"]) > time.time() + 3600

        wait_until(waits, "the mail waits for tomorrow, uncounted")
        assert len(sink.deliveries) == 3


def test_a_smarthost_s_tokens_are_got_used_and_got_anew(
    relay: StartRelay, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("tls")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    good = "t1"

    def takes(line: str) -> str:
        shown = base64.b64decode(line.split(" ")[2])
        welcome = f"user=relay\x01auth=Bearer {good}\x01\x01".encode() == shown
        return "235 2.7.0 Welcome" if welcome else "334 eyJzdGF0dXMiOiI0MDEifQ=="

    script = Script(offers=(*PLAIN, "AUTH PLAIN XOAUTH2"), auth=takes)
    with running_in_thread(script, tls=context) as smarthost, TokenServer() as tokens:
        settings = {
            "queue.route.sink.address": "localhost",
            "queue.route.sink.tls.ca-files": [str(directory / "ca.pem")],
            "queue.route.sink.auth.username": "relay",
            "queue.route.sink.auth.oauth.token-url": f"http://127.0.0.1:{tokens.port}/token",
            "queue.route.sink.auth.oauth.client-id": "relayd",
            "queue.route.sink.auth.oauth.refresh-token": "%{env:REFRESH}%",
            "queue.outbound.reuse.idle": "0",
            "resolver.custom": [],
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REFRESH", "r0secret")
            daemon = relay(smarthost.port, settings)
            for _ in range(2):
                send(daemon)
            daemon.wait_empty()
            assert tokens.asked == ["r0secret"]
            good = "t2"  # the first is void from now on
            send(daemon)
            daemon.wait_empty()
            assert tokens.asked == ["r0secret", "r1secret"]
            assert daemon.stop() == 0
            daemon.start()
            good = "t3"
            send(daemon)
            daemon.wait_empty()
        assert tokens.asked == ["r0secret", "r1secret", "r2secret"]  # the newest outlived the restart
        assert len(smarthost.taken) == 4
        told = daemon.output.read_text() + repr(daemon.data_of("GET", "/api/settings/list?prefix=queue.route"))
        assert "secret" not in told.replace("client-secret", "")
        assert stat.S_IMODE((daemon.data / "tokens.json").stat().st_mode) == 0o600


def test_every_mechanism_before_postfix_and_dovecot(relay: StartRelay, postfix: StartPostfix) -> None:
    require_program("dovecot")
    authority = trustme.CA()
    mechanisms = ("plain", "login", "cram-md5", "xoauth2", "oauthbearer")
    with tempfile.TemporaryDirectory(prefix="relayd-sasl-") as name, Sink() as sink, TokenServer() as tokens:
        directory = Path(name)
        directory.chmod(0o755)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        authority.cert_pem.write_to_path(directory / "ca.pem")
        with Dovecot(directory, {"relay": "s3cret"}, f"http://127.0.0.1:{tokens.port}/who") as dovecot:
            receiver = postfix(
                {
                    "relayhost": f"[127.0.0.1]:{sink.port}",
                    "smtpd_tls_security_level": "encrypt",
                    "smtpd_tls_chain_files": str(directory / "server.pem"),
                    "smtpd_sasl_auth_enable": "yes",
                    "smtpd_sasl_type": "dovecot",
                    "smtpd_sasl_path": f"inet:127.0.0.1:{dovecot.port}",
                    "smtpd_sasl_security_options": "noanonymous",
                    "mynetworks": "192.0.2.1",
                    "smtpd_relay_restrictions": "permit_sasl_authenticated, reject",
                }
            )
            settings: dict[str, object] = {"resolver.custom": []}
            for each in mechanisms:
                route = f"queue.route.{each}"
                settings |= {
                    f"{route}.address": "localhost",
                    f"{route}.port": receiver.port,
                    f"{route}.tls.ca-files": [str(directory / "ca.pem")],
                    f"{route}.auth.mechanisms": [each],
                    f"{route}.auth.username": "relay",
                    f"queue.outbound.domain.'{each}.test'": each,
                }
                if each in ("xoauth2", "oauthbearer"):
                    settings |= {
                        f"{route}.auth.oauth.token-url": f"http://127.0.0.1:{tokens.port}/token",
                        f"{route}.auth.oauth.client-id": "relayd",
                        f"{route}.auth.oauth.refresh-token": f"r0-{each}",
                    }
                else:
                    settings[f"{route}.auth.secret"] = "s3cret"
            daemon = relay(None, settings)
            for each in mechanisms:
                send(daemon, message(each), to=f"b@{each}.test")
            arrived = {each.recipients[0] for each in sink.wait_for(len(mechanisms))}
            assert arrived == {f"b@{each}.test" for each in mechanisms}
            log = receiver.log.read_text()
            assert all(f"sasl_method={each.upper()}, sasl_username=relay" in log for each in mechanisms), log


class TokenServer:
    """A token endpoint: each refresh token is good once, and comes with the next and a token."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __enter__(self) -> TokenServer:
        asked = self.asked

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                assert form["grant_type"] == ["refresh_token"]
                asked.append(form["refresh_token"][0])
                number = len(asked)
                answer = {"access_token": f"t{number}", "refresh_token": f"r{number}secret", "expires_in": 3600}
                body = json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                """Whose is the token?  Asked by the host that it is shown to."""
                known = self.headers["Authorization"].startswith("Bearer t")
                body = json.dumps({"username": "relay", "active": True} if known else {}).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def test_a_large_message_goes_to_postfix_in_chunks(relay: StartRelay, postfix: StartPostfix) -> None:
    with Sink() as sink:
        receiver = postfix({"relayhost": f"[127.0.0.1]:{sink.port}", "smtpd_tls_security_level": "none"})
        daemon = relay(receiver.port, {"queue.outbound.reuse.idle": "0"})
        line = "." + "x" * 76 + "\r\n"
        for subject, body in (("small", line), ("large", line * 4000), ("empty", "")):
            send(daemon, message(subject, body))
        for delivery in sink.wait_for(3):
            subject = delivery.content.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode()
            expected = {"small": line, "large": line * 4000, "empty": ""}[subject]
            assert delivery.content.partition(b"\r\n\r\n")[2].decode() == expected
        wait_until(lambda: receiver.log.read_text().count(" bdat=1 ") == 3, "Postfix has counted its commands")
        assert " data=" not in receiver.log.read_text()


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


def test_a_client_certificate_that_postfix_asks_for(relay: StartRelay, postfix: StartPostfix) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    with tempfile.TemporaryDirectory(prefix="relayd-cert-") as name, Sink() as sink:
        directory = Path(name)
        directory.chmod(0o755)
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(directory / "server.pem")
        authority.cert_pem.write_to_path(directory / "ca.pem")
        good = authority.issue_cert("relay.test").private_key_and_cert_chain_pem.bytes()
        bad = stranger.issue_cert("relay.test").private_key_and_cert_chain_pem.bytes()
        shown = directory / "client.pem"
        shown.write_bytes(bad)
        receiver = postfix(
            {
                "relayhost": f"[127.0.0.1]:{sink.port}",
                "smtpd_tls_security_level": "encrypt",
                "smtpd_tls_chain_files": str(directory / "server.pem"),
                "smtpd_tls_CAfile": str(directory / "ca.pem"),
                "smtpd_tls_req_ccert": "yes",
            }
        )
        daemon = relay(
            receiver.port,
            {
                "queue.route.sink.address": "localhost",
                "queue.route.sink.tls.mode": "verified",
                "queue.route.sink.tls.ca-files": [str(directory / "ca.pem")],
                "queue.route.sink.tls.cert": str(shown),
                "resolver.custom": [],
                "queue.schedule.retry": ["1h"],
            },
        )
        queue_id = send(daemon)
        wait_until(lambda: daemon.queued()[0]["domains"][0]["status"] != "scheduled", "a stranger's is not taken")
        beside = directory / "client.new"
        beside.write_bytes(good)
        os.replace(beside, shown)  # renewed: no reload is needed
        daemon.data_of("PATCH", f"/api/queue/messages/{queue_id}")
        sink.wait_for(1)
