"""DANE and MTA-STS against a real Postfix, whose certificate is good, expired, for another name or self-signed.

Postfix shows the certificate of the name that it is asked for (SNI).  The DNS server says AD, and is believed as it is
on loopback.
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
from tests.rig.dns import SERVFAIL, serving_in_thread
from tests.rig.peers import absent, require_program
from tests.rig.postfix import Postfix, free_port
from tests.rig.sink import Sink
from tests.routing.authority import Made, made

TODAY = datetime.now(UTC)
ROOT = made(authority=True, moment=TODAY)
CERTIFICATES: dict[str, Made] = {
    "good": made("good.mx.test", "good.ta.test", by=ROOT, moment=TODAY),
    "expired": made("expired.mx.test", "expired.ta.test", by=ROOT, moment=TODAY, days=(-20, -2)),
    "wrong": made("other.test", by=ROOT, moment=TODAY),
    "self": made("self.mx.test", "self.ta.test", moment=TODAY),
}
MODES = ("enforce", "testing")


def tlsa(usage: int, of: Made) -> str:
    return f"{usage} 1 1 {hashlib.sha256(of.spki).hexdigest()}"


def names(port: int) -> dict[str, dict[str, list[str] | str]]:
    """Domains by demand and certificate: "enforce-expired.test" has an enforced policy and an expired certificate.

    DANE has host names of its own, as TLSA records are the host's: "ee-good" fits, "ta-good" names the authority,
    "bad-good" names another key, "broken-good" cannot be looked up.
    """
    zone: dict[str, dict[str, list[str] | str]] = {}
    for kind, certificate in CERTIFICATES.items():
        zone[f"{kind}.mx.test"] = {"A": ["127.0.0.1"]}
        zone[f"plain-{kind}.test"] = {"MX": [f"10 {kind}.mx.test."]}
        for mode in MODES:
            zone[f"{mode}-{kind}.test"] = {"MX": [f"10 {kind}.mx.test."]}
            zone[f"_mta-sts.{mode}-{kind}.test"] = {"TXT": ['"v=STSv1; id=1;"']}
            zone[f"mta-sts.{mode}-{kind}.test"] = {"A": ["127.0.0.1"]}
        records: dict[str, list[str] | str] = {
            "ee": [tlsa(3, certificate)],
            "ta": [tlsa(2, ROOT)],
            "bad": [tlsa(3, ROOT)],
            "broken": SERVFAIL,
        }
        for use, record in records.items():
            zone[f"{use}-{kind}.test"] = {"MX": [f"10 {kind}.{use}.test."]}
            zone[f"{kind}.{use}.test"] = {"A": ["127.0.0.1"]}
            zone[f"_{port}._tcp.{kind}.{use}.test"] = {"TLSA": record}
    zone["elsewhere.test"] = {"MX": ["10 good.mx.test."]}
    zone["_mta-sts.elsewhere.test"] = {"TXT": ['"v=STSv1; id=1;"']}
    zone["mta-sts.elsewhere.test"] = {"A": ["127.0.0.1"]}
    return zone


class PolicyHost(BaseHTTPRequestHandler):
    """Answers with the policy that the name it is asked for means."""

    def do_GET(self) -> None:
        domain = self.headers["Host"].partition(":")[0].removeprefix("mta-sts.")
        mode = domain.partition("-")[0] if "-" in domain else "enforce"
        mx = "nobody.test" if domain == "elsewhere.test" else "*.mx.test"
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
        lines += [f"{kind}.{place}.test {folder}/{kind}.pem" for place in ("mx", "ee", "ta", "bad", "broken")]
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
        dns = stack.enter_context(serving_in_thread(zone))
        dns.secure = True
        domains = [name.removeprefix("_mta-sts.") for name in zone if name.startswith("_mta-sts.")]
        settings = {
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "queue.outbound.port": port,
            "queue.outbound.tls.ca-files": [str(folder / "ca.pem")],
            "queue.outbound.tls.mta-sts-port": policy_host(stack, folder, domains),
            "queue.schedule.retry": ["1h"],
        }
        yield module_relay(None, settings), sink


DELIVERED, DANE, STS = "", "DANE failed to authenticate", "MTA-STS auth failed"


@pytest.mark.parametrize(
    ("domain", "status"),
    [
        *((f"plain-{kind}.test", DELIVERED) for kind in CERTIFICATES),
        *((f"testing-{kind}.test", DELIVERED) for kind in CERTIFICATES),
        *((f"ee-{kind}.test", DELIVERED) for kind in CERTIFICATES),
        *((f"bad-{kind}.test", DANE) for kind in CERTIFICATES),
        *((f"broken-{kind}.test", DANE) for kind in CERTIFICATES),
        ("ta-good.test", DELIVERED),
        ("ta-expired.test", DANE),
        ("ta-wrong.test", DANE),
        ("ta-self.test", DANE),
        ("enforce-good.test", DELIVERED),
        ("enforce-expired.test", STS),
        ("enforce-wrong.test", STS),
        ("enforce-self.test", STS),
        ("elsewhere.test", STS),
    ],
)
def test_what_becomes_of_mail(house: tuple[Daemon, Sink], domain: str, status: str) -> None:
    relay, sink = house
    queue_id = send(relay, to=f"b@{domain}")
    if status:
        assert status in wait_status(relay, queue_id, "temp_fail")
    else:
        sink.wait_for_one(lambda delivery: f"b@{domain}" in delivery.recipients)


def test_what_was_decided_is_logged(house: tuple[Daemon, Sink]) -> None:
    relay, _ = house
    for event in ("mta-sts.policy-fetch", "mta-sts.not-authorized", "dane.authentication-success"):
        wait_logged(relay, event)
