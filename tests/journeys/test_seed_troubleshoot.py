"""The example of the API's page about troubleshooting DMARC, as it stands, against a live daemon: operation 27.

The page has lost the addresses ("[email protected]") and with them `mailFrom`: they are of google.com here, as the
answer shows.  One value is another than the page's: that mail softly fails SPF, is not signed, and its domain asks for
"reject" is a fail of DMARC (RFC 9989), not "none".
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client, basic
from tests.rig.dns import DnsServer, serving_in_thread
from tests.rig.shapes import check

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

NAMES: dict[str, dict[str, list[str] | str]] = {
    "google.com": {"TXT": ['"v=spf1 include:_spf.google.com ~all"']},
    "_spf.google.com": {"TXT": ['"v=spf1 ip4:74.125.0.0/16 ~all"']},
    "_dmarc.google.com": {"TXT": ['"v=DMARC1; p=reject; rua=mailto:mailauth-reports@google.com"']},
    "mx.google.com": {"A": ["74.125.1.1"]},
    "8.8.8.8.in-addr.arpa": {"PTR": ["dns.google."]},
    "dns.google": {"A": ["8.8.8.8", "8.8.4.4"]},
}

REQUEST: dict[str, Any] = {
    "remoteIp": "8.8.8.8",
    "ehloDomain": "mx.google.com",
    "mailFrom": "john@google.com",
    "body": "From: john@google.com\nTo: jane@example.org\nSubject: Testing, please ignore\n"
    'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\nTesting 1, 2, 3\n',
}

ANSWER = {
    "data": {
        "spfEhloDomain": "mx.google.com",
        "spfEhloResult": {"type": "none"},
        "spfMailFromDomain": "google.com",
        "spfMailFromResult": {"type": "softFail", "details": None},
        "ipRevResult": {"type": "pass"},
        "ipRevPtr": ["dns.google."],
        "dkimResults": [],
        "dkimPass": False,
        "arcResult": {"type": "none"},
        "dmarcResult": {"type": "fail", "details": None},
        "dmarcPass": False,
        "dmarcPolicy": "reject",
        "elapsed": int,
    }
}


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with serving_in_thread(NAMES) as server:
        yield server


@pytest.fixture(scope="module")
def client(module_relay: StartRelay, dns: DnsServer) -> Client:
    settings = {
        "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
        "account.user.type": "individual",
        "account.user.secret": "plain",
    }
    return Client(module_relay(settings=settings).http_port)


def ask(client: Client, request: Any) -> Any:
    found = client.ask("POST", "/api/troubleshoot/dmarc", body=json.dumps(request), headers=HEADERS)
    assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")
    return found.json


def test_27_the_example(client: Client) -> None:
    check(ask(client, REQUEST), ANSWER)


def test_27_with_crlf_and_without_a_body(client: Client) -> None:
    for body in (REQUEST["body"].replace("\n", "\r\n"), None):
        check(ask(client, {**REQUEST, "body": body}), ANSWER)
    check(ask(client, {name: REQUEST[name] for name in ("remoteIp", "ehloDomain", "mailFrom")}), ANSWER)


def test_27_a_host_that_may(client: Client) -> None:
    found = ask(client, {**REQUEST, "remoteIp": "74.125.1.1"})["data"]
    assert found["spfMailFromResult"] == found["dmarcResult"] == {"type": "pass"}
    assert found["dmarcPass"] is True
    assert found["ipRevResult"] == {"type": "permError", "details": "the address has no name"}
    assert found["ipRevPtr"] == []


def test_27_the_dns_fails_for_now(client: Client, dns: DnsServer) -> None:
    dns.names["broken.example"] = {"*": "SERVFAIL"}
    found = ask(client, {**REQUEST, "mailFrom": "a@broken.example"})["data"]
    assert found["spfMailFromResult"]["type"] == "tempError"
    assert found["spfMailFromDomain"] == "broken.example"


def test_27_errors(client: Client) -> None:
    assert ask(client, {**REQUEST, "body": "this is no message"}) == {
        "error": "other",
        "details": "Invalid message body",
        "reason": "Failed to parse message body",
    }
    for request in ({**REQUEST, "remoteIp": "nowhere"}, {"remoteIp": "8.8.8.8"}):
        found = client.ask("POST", "/api/troubleshoot/dmarc", body=json.dumps(request), headers=HEADERS)
        assert (found.status, found.json["detail"]) == (400, "JSON deserialization failed")
    user = Client(client.port, basic("user", "plain"))
    for path in ("/api/troubleshoot/dmarc", "/api/troubleshoot/nothing"):
        assert user.ask("POST", path, body="{}", headers=HEADERS).status == 403
