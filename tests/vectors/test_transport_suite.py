"""The public MTA-STS and TLS-RPT cases."""

from __future__ import annotations

import json

import pytest

from relayd.routing import mta_sts, tls_report
from relayd.routing.tls_records import BadRecord
from tests.rig.peers import require_suite


def test_mta_sts() -> None:
    cases = json.loads((require_suite("transport") / "mta-sts-policies.json").read_text(encoding="utf-8"))
    assert len(cases) >= 17
    for case in cases:
        assert _is_valid(case) is case["valid"], case


def _is_valid(case: dict[str, str]) -> bool:
    """checkdmarc checks what domains publish, so that a field which the RFC does not know is a mistake to it; a sender
    ignores the field (RFC 8461 §3.2 lets policies be extended) and knows its name.
    """
    text = case["policy"].encode()
    try:
        if case.get("kind") == "record":
            return mta_sts.record_id([text]) is not None
        policy = mta_sts.parse_policy(text)
    except (BadRecord, mta_sts.BadPolicy):
        return False
    return case["source"] != "checkdmarc" or not policy.unknown


def test_tls_rpt() -> None:
    suite = json.loads((require_suite("transport") / "tlsrpt-records.json").read_text(encoding="utf-8"))
    good = [(text, rua) for text, rua in (*suite["tlsrpt_reporter"]["good"], *suite["mail_auth"])]
    bad = [*suite["tlsrpt_reporter"]["bad"], *(case["record"] for case in suite["mox"]["bad"])]
    assert len(good) + len(bad) + len(suite["mox"]["good"]) >= 29
    for text, rua in good:
        assert list(tls_report.parse_record(text.encode()).rua) == rua, text
    for case in suite["mox"]["good"]:
        record = tls_report.parse_record(case["record"].encode())
        shown = [f'"{uri}"' for uri in record.rua] + [f'{{"{n}", "{v}"}}' for n, v in record.extensions]
        assert record.rua
        assert all(each in case["expect"] for each in shown), case
        assert case["expect"].count("://") + case["expect"].count("mailto:") == len(record.rua), case
    for text in bad:
        with pytest.raises(BadRecord):
            tls_report.parse_record(text.encode())
