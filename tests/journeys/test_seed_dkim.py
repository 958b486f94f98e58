"""Every example of the API about keys and DNS records, as it stands: operations 7 and 49, and GET /dkim/{id}."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client
from tests.rig.daemon import free_port

ACCEPT = {"Accept": "application/json"}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
DONE = {"data": None}
SEED = '{ "id": null, "algorithm": "Ed25519", "domain": "example.org", "selector": null}'


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def client(relay: StartRelay, port: int) -> Client:
    settings = {
        "server.hostname": "mx.fr.email",
        "server.postmaster": "p@relay.test",
        "server.listener.submissions.bind": [f"127.0.0.1:{port}", f"[::1]:{port}"],
        "server.listener.submissions.role": "submission",
        "server.listener.submissions.tls.implicit": True,
    }
    return Client(relay(settings=settings).http_port)


def ask(client: Client, method: str, path: str, body: str | None = None) -> Any:
    found = client.ask(method, "/api" + path, body=body, headers=ACCEPT if body is None else JSON)
    assert found.status == 200, found
    assert found.headers["content-type"] == "application/json; charset=utf-8"
    return found.json


def test_7_create_a_key(client: Client) -> None:
    month = datetime.now(UTC).strftime("%Y%m")
    assert ask(client, "POST", "/dkim", SEED) == DONE
    found = ask(client, "GET", "/settings/list?prefix=signature.ed25519-example.org")
    assert found["data"]["items"] == {
        "private-key": "********",
        "domain": "example.org",
        "selector": month + "e",
        "algorithm": "ed25519-sha256",
        "canonicalization": "relaxed/relaxed",
        "headers.0000": "From",
        "headers.0001": "To",
        "headers.0002": "Date",
        "headers.0003": "Subject",
        "headers.0004": "Message-ID",
        "report": "false",
    }
    again = ask(client, "POST", "/dkim", SEED)
    assert again == {
        "error": "fieldAlreadyExists",
        "field": "signature.ed25519-example.org.private-key",
        "value": "ed25519-example.org",
    }
    own = {"id": "mine", "algorithm": "Rsa", "domain": "Example.ORG", "selector": "s1"}
    assert ask(client, "POST", "/dkim", json.dumps(own)) == DONE
    refused = ask(client, "POST", "/dkim", json.dumps({"algorithm": "Rsa", "domain": "no domain"}))
    assert (refused["error"], "expected a domain" in refused["reason"]) == ("other", True)
    for body in ("{", "{}", '{"algorithm": "Dsa", "domain": "example.org"}'):
        problem = client.ask("POST", "/api/dkim", body=body, headers=JSON)
        assert (problem.status, problem.json["title"]) == (400, "Invalid parameters")
        assert problem.json["detail"] != "JSON deserialization failed"


def test_public_keys_are_those_of_the_records(client: Client) -> None:
    for algorithm in ("Ed25519", "Rsa"):
        ask(client, "POST", "/dkim", json.dumps({"algorithm": algorithm, "domain": "example.org"}))
    raw = base64.b64decode(ask(client, "GET", "/dkim/ed25519-example.org")["data"])
    der = base64.b64decode(ask(client, "GET", "/dkim/rsa-example.org")["data"])
    assert len(raw) == 32
    assert load_der_public_key(der).key_size == 2048  # type: ignore[union-attr]
    unknown = client.ask("GET", "/api/dkim/none")
    assert (unknown.status, unknown.json["status"]) == (404, 404)


def test_49_dns_records(client: Client, port: int) -> None:
    for algorithm in ("Rsa", "Ed25519"):
        ask(client, "POST", "/dkim", json.dumps({"algorithm": algorithm, "domain": "example.org"}))
    month = datetime.now(UTC).strftime("%Y%m")
    ed25519 = ask(client, "GET", "/dkim/ed25519-example.org")["data"]
    rsa = ask(client, "GET", "/dkim/rsa-example.org")["data"]
    records = ask(client, "GET", "/dns/records/example.org")["data"]
    services = [each for each in records if each["type"] == "SRV"]
    rest = [each for each in records if each["type"] != "SRV"]
    dmarc = "v=DMARC1; p=reject; rua=mailto:postmaster@example.org; ruf=mailto:postmaster@example.org"
    assert [(each["type"], each["name"], each["content"]) for each in rest] == [
        ("MX", "example.org.", "10 mx.fr.email."),
        ("CNAME", "mail.example.org.", "mx.fr.email."),
        ("TXT", f"{month}e._domainkey.example.org.", f"v=DKIM1; k=ed25519; h=sha256; p={ed25519}"),
        ("TXT", f"{month}r._domainkey.example.org.", f"v=DKIM1; k=rsa; h=sha256; p={rsa}"),
        ("TXT", "example.org.", "v=spf1 mx ra=postmaster -all"),
        ("TXT", "_dmarc.example.org.", dmarc),
        ("TXT", "_smtp._tls.example.org.", "v=TLSRPTv1; rua=mailto:postmaster@example.org"),
    ]
    assert services[0] == {
        "type": "SRV",
        "name": "_submissions._tcp.example.org.",
        "content": f"0 1 {port} mx.fr.email.",
    }
    assert [each["name"] for each in services[1:]] == ["_submission._tcp.example.org."]
    assert records.index(services[0]) == 5
    here = ask(client, "GET", "/dns/records/fr.email")["data"]
    assert {"type": "TXT", "name": "mx.fr.email.", "content": "v=spf1 a ra=postmaster -all"} in here


def test_no_answer_and_no_log_holds_a_private_key(relay: StartRelay) -> None:
    daemon = relay(settings={"tracer.log.type": "log", "tracer.log.level": "trace"})
    client = Client(daemon.http_port)
    ask(client, "POST", "/dkim", SEED)
    seen = "".join(
        json.dumps(ask(client, "GET", path))
        for path in (
            "/settings/list",
            "/settings/list?defaults=1&source=1",
            "/dkim?check=1",
            "/dkim/ed25519-example.org",
            "/dns/records/example.org",
            "/reload/",
        )
    ) + json.dumps(ask(client, "POST", "/dkim", SEED))
    assert daemon.stop() == 0
    logs = list((daemon.data / "logs").iterdir())
    assert logs
    seen += "".join(path.read_text() for path in (*logs, daemon.output))
    assert "signature.ed25519-example.org" in seen
    assert "PRIVATE" not in seen
    assert not re.search("MC4CAQ", seen)  # how the PKCS#8 form of Ed25519 begins
