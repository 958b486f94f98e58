"""The example of the API's page about classifying, as it stands, against a live daemon: operation 24, and 20 to 23.

The page has lost the addresses; those here give the tags that it shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.conftest import StartRelay
from tests.rig.client import Client
from tests.rig.dns import serving_in_thread
from tests.rig.shapes import check

HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
NAMES: dict[str, dict[str, list[str] | str]] = {
    "8.8.8.8.in-addr.arpa": {"PTR": ["dns.google."]},
    "dns.google": {"A": ["8.8.8.8", "8.8.4.4"]},
    "8.8.8.8.score.senderscore.com": {"A": ["127.0.4.255"]},
    "8.8.8.8.origin.asn.test": {"TXT": ['"15169 | 8.8.8.0/24 | US | arin | 2023-12-28"']},
}
REQUEST: dict[str, Any] = {
    "message": "From: john@example.com\nTo: jane@example.com\nSubject: Testing, please ignore\n"
    'Content-Type: text/plain; charset="utf-8"\nContent-Transfer-Encoding: 8bit\n\nTesting 1, 2, 3\n',
    "remoteIp": "8.8.8.8",
    "ehloDomain": "foo.org",
    "authenticatedAs": None,
    "isTls": True,
    "envFrom": "bill@nowhere.example",
    "envFromFlags": 0,
    "envRcptTo": ["other@example.org"],
}
SCORES = {
    "FROM_NO_DN": 0, "SOURCE_ASN_15169": 0, "SOURCE_COUNTRY_US": 0, "MISSING_DATE": 1, "FROMHOST_NORES_A_OR_MX": 1.5,
    "MISSING_MIME_VERSION": 2, "FORGED_SENDER": 0.3, "SPF_NA": 0, "X_HDR_TO": 0, "HELO_IPREV_MISMATCH": 1,
    "X_HDR_CONTENT_TYPE": 0, "AUTH_NA": 1, "FORGED_RECIPIENTS": 2, "RBL_SENDERSCORE_REPUT_BLOCKED": 0,
    "RCVD_COUNT_ZERO": 0.1, "X_HDR_SUBJECT": 0, "X_HDR_FROM": 0, "RCPT_COUNT_ONE": 0, "MISSING_MID": 2.5,
    "TO_DOM_EQ_FROM_DOM": 0, "ARC_NA": 0, "RCVD_TLS_LAST": 0, "X_HDR_CONTENT_TRANSFER_ENCODING": 0,
    "HELO_NORES_A_OR_MX": 0.3, "TO_DN_NONE": 0, "FROM_NEQ_ENV_FROM": 0, "DMARC_NA": 1, "SINGLE_SHORT_PART": 0,
    "DKIM_NA": 0,
}  # fmt: skip
FIELDS = (
    "X-Spam-Result: ARC_NA (0.00),\r\n\tDKIM_NA (0.00),\r\n\tFROM_NEQ_ENV_FROM (0.00),\r\n\tFROM_NO_DN (0.00),\r\n\t"
    "RBL_SENDERSCORE_REPUT_BLOCKED (0.00),\r\n\tRCPT_COUNT_ONE (0.00),\r\n\tRCVD_TLS_LAST (0.00),\r\n\t"
    "SINGLE_SHORT_PART (0.00),\r\n\tSPF_NA (0.00),\r\n\tTO_DN_NONE (0.00),\r\n\tTO_DOM_EQ_FROM_DOM (0.00),\r\n\t"
    "RCVD_COUNT_ZERO (0.10),\r\n\tFORGED_SENDER (0.30),\r\n\tHELO_NORES_A_OR_MX (0.30),\r\n\tAUTH_NA (1.00),\r\n\t"
    "DMARC_NA (1.00),\r\n\tHELO_IPREV_MISMATCH (1.00),\r\n\tMISSING_DATE (1.00),\r\n\t"
    "FROMHOST_NORES_A_OR_MX (1.50),\r\n\tFORGED_RECIPIENTS (2.00),\r\n\tMISSING_MIME_VERSION (2.00),\r\n\t"
    "MISSING_MID (2.50)\r\nX-Spam-Status: Yes, score=12.70\r\n"
)


@pytest.fixture(scope="module")
def client(module_relay: StartRelay) -> Iterator[Client]:
    with serving_in_thread(NAMES) as dns:
        settings = {
            "resolver.custom": [f"udp://127.0.0.1:{dns.port}"],
            "dnsbl.senderscore.enabled": True,
            "geo.dns-zone": "origin.asn.test",
            "account.jane.type": "individual",
            "account.jane.secret": "plain",
        }
        yield Client(module_relay(settings=settings).http_port)


def test_24_the_example(client: Client) -> None:
    found = client.ask("POST", "/api/spam-filter/classify", body=json.dumps(REQUEST), headers=HEADERS)
    assert (found.status, found.headers["content-type"]) == (200, "application/json; charset=utf-8")
    tags = {tag: {"action": "allow", "value": float(score)} for tag, score in SCORES.items()}
    check(found.json, {"data": {"score": 12.7, "tags": tags, "disposition": {"action": "allow", "value": FIELDS}}})


@pytest.mark.parametrize("path", ["spam", "ham", "spam/jane", "ham/jane"])
def test_20_to_23_learn_a_raw_message_whatever_it_is_called(client: Client, path: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    raw = "From: a@b.example\r\nSubject: offer\r\n\r\nBuy & sell=now, 100 % cheap + good\r\n"
    found = client.ask("POST", f"/api/spam-filter/train/{path}", body=raw, headers=form)
    assert (found.status, found.json) == (200, {"data": None})
