"""Each TLS policy with each defect, against real peers: a zone that Knot signs and unbound validates, a web server with
MTA-STS policies, and a Postfix whose certificate is good, expired, for another name or self-signed.

Postfix shows the certificate of the name that it is asked for (SNI).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.journeys.conftest import StartRelay, send, wait_logged, wait_status
from tests.rig.daemon import Daemon
from tests.rig.knot import SignedDns
from tests.rig.peers import absent, require_program
from tests.rig.postfix import Postfix, free_port
from tests.rig.sink import Sink
from tests.routing.authority import Made, made

TODAY = datetime.now(UTC)
ROOT = made(authority=True, moment=TODAY)
CERTIFICATES: dict[str, Made] = {
    "good": made("good.mx.signed.test", "good.ta.signed.test", by=ROOT, moment=TODAY),
    "expired": made("expired.mx.signed.test", "expired.ta.signed.test", by=ROOT, moment=TODAY, days=(-20, -2)),
    "wrong": made("other.test", by=ROOT, moment=TODAY),
    "self": made("self.mx.signed.test", "self.ta.signed.test", moment=TODAY),
}
MODES = ("enforce", "testing")
OWN_MODES = ("none", "required", "verified")


def tlsa(usage: int, of: Made) -> str:
    return f"{usage} 1 1 {hashlib.sha256(of.spki).hexdigest()}"


def names(port: int) -> dict[str, dict[str, list[str]]]:
    """Domains by demand and certificate: "enforce-expired" has an enforced policy and an expired certificate.

    TLSA records are the host's, so each use of them has hosts of its own: "ee-good" fits, "ta-good" names the
    authority, "bad-good" names another key, "broken-good" cannot be looked up, "open-good" is of no signed zone.
    """
    zone: dict[str, dict[str, list[str]]] = {"bogus.test": {"MX": ["10 good.mx.signed.test."]}}
    for kind, certificate in CERTIFICATES.items():
        zone[f"{kind}.mx.signed.test"] = {"A": ["127.0.0.1"]}
        for mode in ("plain", *OWN_MODES, *MODES):
            zone[f"{mode}-{kind}.signed.test"] = {"MX": [f"10 {kind}.mx.signed.test."]}
        for mode in MODES:
            zone[f"_mta-sts.{mode}-{kind}.signed.test"] = {"TXT": ['"v=STSv1; id=1;"']}
            zone[f"mta-sts.{mode}-{kind}.signed.test"] = {"A": ["127.0.0.1"]}
        for use, of in {
            "ee": {"TLSA": [tlsa(3, certificate)]},
            "ta": {"TLSA": [tlsa(2, ROOT)]},
            "bad": {"TLSA": [tlsa(3, ROOT)]},
            "broken": {"CNAME": ["nowhere.bogus.test."]},
        }.items():
            zone[f"{use}-{kind}.signed.test"] = {"MX": [f"10 {kind}.{use}.signed.test."]}
            zone[f"{kind}.{use}.signed.test"] = {"A": ["127.0.0.1"]}
            zone[f"_{port}._tcp.{kind}.{use}.signed.test"] = of
        zone[f"open-{kind}.unsigned.test"] = {"MX": [f"10 {kind}.open.unsigned.test."]}
        zone[f"{kind}.open.unsigned.test"] = {"A": ["127.0.0.1"]}
        zone[f"_{port}._tcp.{kind}.open.unsigned.test"] = {"TLSA": [tlsa(3, ROOT)]}
    zone["elsewhere.signed.test"] = {"MX": ["10 good.mx.signed.test."]}
    zone["_mta-sts.elsewhere.signed.test"] = {"TXT": ['"v=STSv1; id=1;"']}
    zone["mta-sts.elsewhere.signed.test"] = {"A": ["127.0.0.1"]}
    return zone


class PolicyHost(BaseHTTPRequestHandler):
    """Answers with the policy that the name it is asked for means."""

    def do_GET(self) -> None:
        domain = self.headers["Host"].partition(":")[0].removeprefix("mta-sts.")
        mode = domain.partition("-")[0] if "-" in domain else "enforce"
        mx = "nobody.test" if domain == "elsewhere.signed.test" else "*.mx.signed.test"
        body = f"version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def policy_host(stack: ExitStack, folder: Path, domains: list[str]) -> int:
    """An HTTPS server for the policies of `domains`; its port."""
    (folder / "web.pem").write_bytes(made(*(f"mta-sts.{each}" for each in domains), by=ROOT, moment=TODAY).pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "web.pem")
    server = ThreadingHTTPServer(("127.0.0.1", 0), PolicyHost)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    stack.callback(thread.join, 10)
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return int(server.server_address[1])


def postfix_with_certificates(folder: Path, port: int, relay_to: int) -> Postfix:
    """A Postfix that shows a certificate by SNI, the good one where the name says nothing."""
    own = ROOT.pem.partition(b"-----BEGIN PRIVATE")[0]
    lines = []
    for kind, each in CERTIFICATES.items():
        certificate, private, key = each.pem.partition(b"-----BEGIN PRIVATE")
        (folder / f"{kind}.pem").write_bytes(private + key + certificate + own)
        places = [f"{place}.signed.test" for place in ("mx", "ee", "ta", "bad", "broken")]
        lines += [f"{kind}.{place} {folder}/{kind}.pem" for place in (*places, "open.unsigned.test")]
    (folder / "sni").write_text("\n".join(lines) + "\n")
    (folder / "main.cf").write_text("compatibility_level = 3.6\n")  # postmap wants one
    subprocess.run([require_program("postmap"), "-c", folder, "-F", f"hash:{folder}/sni"], check=True, timeout=60)
    settings = {
        "relayhost": f"[127.0.0.1]:{relay_to}",
        "smtpd_tls_security_level": "may",
        "smtpd_tls_chain_files": f"{folder}/good.pem",
        "tls_server_sni_maps": f"hash:{folder}/sni",
    }
    return Postfix(folder / "postfix", settings, port)


@pytest.fixture(scope="module")
def house(module_relay: StartRelay) -> Iterator[tuple[Daemon, Sink]]:
    require_program("postfix")
    if os.geteuid() != 0:
        absent("Postfix's master needs root")
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="relayd-tls-"))
    folder.chmod(0o755)
    (folder / "ca.pem").write_bytes(ROOT.pem)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        sink = stack.enter_context(Sink())
        stack.enter_context(postfix_with_certificates(folder, port, sink.port))
        zone = names(port)
        dns = stack.enter_context(SignedDns(zone))
        domains = [name.removeprefix("_mta-sts.") for name in zone if name.startswith("_mta-sts.")]
        settings = {
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "queue.outbound.port": port,
            "queue.outbound.tls.ca-files": [str(folder / "ca.pem")],
            "queue.outbound.tls.mta-sts-port": policy_host(stack, folder, domains),
            "queue.schedule.retry": ["1h"],
            **{
                f'queue.outbound.tls.domain."{mode}-{kind}.signed.test".mode': mode
                for mode in OWN_MODES
                for kind in CERTIFICATES
            },
        }
        yield module_relay(None, settings), sink


TLS, CLEAR = "with TLS", "in the clear"
DANE, STS, CERTIFICATE, LOOKUP = (
    "DANE failed to authenticate",
    "MTA-STS auth failed",
    "TLS error from",
    "DNS lookup failed",
)

TABLE = [
    *((f"none-{kind}.signed.test", CLEAR) for kind in CERTIFICATES),
    *((f"plain-{kind}.signed.test", TLS) for kind in CERTIFICATES),
    *((f"required-{kind}.signed.test", TLS) for kind in CERTIFICATES),
    ("verified-good.signed.test", TLS),
    *((f"verified-{kind}.signed.test", CERTIFICATE) for kind in ("expired", "wrong", "self")),
    *((f"testing-{kind}.signed.test", TLS) for kind in CERTIFICATES),
    ("enforce-good.signed.test", TLS),
    *((f"enforce-{kind}.signed.test", STS) for kind in ("expired", "wrong", "self")),
    ("elsewhere.signed.test", STS),
    *((f"ee-{kind}.signed.test", TLS) for kind in CERTIFICATES),
    *((f"bad-{kind}.signed.test", DANE) for kind in CERTIFICATES),
    *((f"broken-{kind}.signed.test", DANE) for kind in CERTIFICATES),
    ("ta-good.signed.test", TLS),
    *((f"ta-{kind}.signed.test", DANE) for kind in ("expired", "wrong", "self")),
    *((f"open-{kind}.unsigned.test", TLS) for kind in CERTIFICATES),
    ("bogus.test", LOOKUP),
]


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 40


@pytest.mark.parametrize(("domain", "expected"), TABLE, ids=[domain for domain, _ in TABLE])
def test_what_becomes_of_mail(house: tuple[Daemon, Sink], domain: str, expected: str) -> None:
    relay, sink = house
    queue_id = send(relay, to=f"b@{domain}")
    if expected not in (TLS, CLEAR):
        assert expected in wait_status(relay, queue_id, "temp_fail")
        return
    delivery = sink.wait_for_one(lambda each: f"b@{domain}" in each.recipients)
    received = delivery.content.partition(b"\r\n\r\n")[0].decode()  # Postfix says how the message came
    assert ("with ESMTPS" in received) is (expected == TLS)


def test_what_was_decided_is_logged(house: tuple[Daemon, Sink]) -> None:
    relay, _ = house
    for event in (
        "mta-sts.policy-fetch",
        "mta-sts.not-authorized",
        "dane.authentication-success",
        "dane.authentication-failure",
        "dane.tlsa-record-fetch-error",
    ):
        wait_logged(relay, event)
