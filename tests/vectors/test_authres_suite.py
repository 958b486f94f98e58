"""The public cases of Authentication-Results."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from relayd.mailauth.results_read import ResultsError, parse_results
from tests.rig.peers import require_suite

NOT_OURS = {
    "": "taken there as a field without results; RFC 8601 §2.2 asks for an authserv-id and a result",
}
"""Good cases that relayd refuses, with the reason."""

# The suite keeps the Go literals of the expected results: the words that must come back, in order
NAMES = {"DKIMResult": "dkim", "SPFResult": "spf", "AuthResult": "auth", "SenderIDResult": "sender-id"}


def load(name: str) -> Any:
    return json.loads((require_suite("authres") / name).read_text(encoding="utf-8"))


def test_what_must_fail() -> None:
    cases = load("parse-failures.json")
    assert len(cases) >= 29
    for case in cases:
        with pytest.raises(ResultsError):
            parse_results(case["input"].encode())
            pytest.fail(f"taken: {case['input']}")


def test_what_is_good() -> None:
    cases = load("go-msgauth.json")["cases"]
    assert len(cases) >= 13
    for case in cases:
        if case["value"] in NOT_OURS:
            with pytest.raises(ResultsError):
                parse_results(case["value"].encode())
            continue
        read = parse_results(case["value"].encode())
        assert read.authserv_id == case["identifier"]
        expected = re.findall(r"&(\w+)\{(.*?)\}", case["results"])
        assert [each.method for each in read.results] == [NAMES[name] for name, _ in expected], case
        for said, (_, text) in zip(read.results, expected, strict=True):
            values = [said.reason, *(value for _, _, value in said.properties)]
            assert all(f'"{value}"' in text for value in values if value), case
