"""The public ARC cases: ValiMail's validation suite, and chains of mail-auth, one of them sealed with Ed25519."""

from __future__ import annotations

import json

from relayd.mailauth.findings import Result
from relayd.resolver.zone import Zone
from tests.mailauth.signing import chain
from tests.rig.peers import require_suite
from tests.vectors.test_dkim_suite import CLOCK, crlf, stored

RESULTS = {
    "None": Result.NONE,
    "Pass": Result.PASS,
    "Fail": Result.FAIL,
    "": Result.FAIL,  # a chain that says itself that it has failed
}

ERRATA: dict[str, Result] = {
    # Cases that need not be in the part given: RFC 8301 forbids both
    "as_fields_b_512": Result.FAIL,
    "ams_fields_a_sha1": Result.FAIL,
    "as_fields_a_sha1": Result.FAIL,
}


def test_validation() -> None:
    scenarios = json.loads((require_suite("arc") / "validate.json").read_text(encoding="utf-8"))
    count = 0
    for scenario in scenarios:
        zone = Zone({name: {"TXT": [text]} for name, text in scenario["txt-records"].items()})
        for name, case in scenario["tests"].items():
            finding = chain(crlf(case["message"].encode()), zone, CLOCK)
            assert finding.result is ERRATA.get(name, RESULTS[case["cv"]]), (name, finding)
            count += 1
    assert count >= 94


def test_chains_of_mail_auth() -> None:
    cases = sorted((require_suite("arc") / "mail-auth" / "arc").glob("*.txt"))
    assert len(cases) >= 2
    for path in cases:
        zone, message = stored(path)
        finding = chain(message, zone, CLOCK)
        assert (finding.result, finding.oldest_pass) == (Result.PASS, 0), path
