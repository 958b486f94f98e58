"""Which TLS a host must give, who said so, and what each defect leads to."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.resolver.answer import Tlsa
from relayd.routing.mta_sts import Mode, Policy
from relayd.routing.next_hop import DaneUse, MessageTls, TlsMode
from relayd.routing.tls_defect import Defect, certificate_defect, result_type
from relayd.routing.tls_policy import (
    CONSEQUENCES,
    Circumstances,
    Consequence,
    Level,
    Lookup,
    Source,
    consequence,
    decide,
)
from relayd.routing.tls_report import PolicyType, ResultType

USABLE = Tlsa(3, 1, 1, bytes(32))
UNUSABLE = Tlsa(1, 1, 1, bytes(32))
ENFORCE = Policy(mode=Mode.ENFORCE, mx=("mx.example",), max_age=1000)
TESTING = Policy(mode=Mode.TESTING, mx=("mx.example",), max_age=1000)
NO_POLICY = Policy(mode=Mode.NONE, mx=(), max_age=1000)
DANE: dict[str, Any] = {"proven": True, "lookup": Lookup.FOUND, "tlsa": (USABLE,)}
UNCHECKABLE: dict[str, Any] = {"proven": True, "lookup": Lookup.FOUND, "tlsa": (UNUSABLE,)}
BROKEN_DNS: dict[str, Any] = {"proven": True, "lookup": Lookup.FAILED}
REQUIRETLS: dict[str, Any] = {"message": MessageTls.REQUIRED}
REPORT: dict[str, Any] = {"message": MessageTls.REPORT}
OPTIONAL: dict[str, Any] = {"message": MessageTls.OPTIONAL}


def given(host: str = "mx.example", **changes: Any) -> Circumstances:
    return Circumstances(host=host, **changes)


@pytest.mark.parametrize(
    ("circumstances", "level", "source"),
    [
        (given(), Level.MAY, Source.CONFIGURATION),
        (given(mode=TlsMode.NONE), Level.PLAIN, Source.CONFIGURATION),
        (given(mode=TlsMode.REQUIRED), Level.MUST, Source.CONFIGURATION),
        (given(mode=TlsMode.VERIFIED), Level.VERIFIED, Source.CONFIGURATION),
        (given(**DANE), Level.DANE, Source.DANE),
        (given(**UNCHECKABLE), Level.MUST, Source.DANE),
        (given(mode=TlsMode.VERIFIED, **UNCHECKABLE), Level.VERIFIED, Source.DANE),
        (given(sts=ENFORCE), Level.VERIFIED, Source.MTA_STS),
        (given(sts=TESTING), Level.TESTING, Source.MTA_STS),
        (given(sts=NO_POLICY), Level.MAY, Source.CONFIGURATION),
        (given(mode=TlsMode.REQUIRED, sts=TESTING), Level.MUST, Source.MTA_STS),
        (given(mode=TlsMode.VERIFIED, sts=TESTING), Level.VERIFIED, Source.MTA_STS),
        (given(sts=ENFORCE, **DANE), Level.DANE, Source.DANE),
        (given(sts=ENFORCE, **UNCHECKABLE), Level.VERIFIED, Source.MTA_STS),
        (given(sts=TESTING, **UNCHECKABLE), Level.MUST, Source.DANE),
        (given(mode=TlsMode.NONE, sts=ENFORCE, **DANE), Level.PLAIN, Source.CONFIGURATION),
        (given(by_mx=False, sts=ENFORCE), Level.MAY, Source.CONFIGURATION),
        (given(dane=DaneUse.OFF, **DANE), Level.MAY, Source.CONFIGURATION),
        (given(dane=DaneUse.REQUIRE, **DANE), Level.DANE, Source.DANE),
        (given(sts=ENFORCE, **OPTIONAL, **DANE), Level.MAY, Source.MESSAGE),
        (given(mode=TlsMode.REQUIRED, sts=ENFORCE, **OPTIONAL), Level.MUST, Source.MESSAGE),
        (given(mode=TlsMode.VERIFIED, **OPTIONAL), Level.VERIFIED, Source.MESSAGE),
        (given(**REQUIRETLS, **DANE), Level.REQUIRETLS, Source.MESSAGE),
        (given(**REQUIRETLS, sts=ENFORCE), Level.REQUIRETLS, Source.MESSAGE),
        (given(mode=TlsMode.NONE, **REQUIRETLS, sts=ENFORCE), Level.REQUIRETLS, Source.MESSAGE),
        (given(**REPORT, **DANE), Level.REQUIRETLS, Source.MESSAGE),
        (given(by_mx=False, on_this_machine=True, **REQUIRETLS), Level.MAY, Source.MESSAGE),
        (given(by_mx=False, on_this_machine=True, mode=TlsMode.VERIFIED, **REPORT), Level.VERIFIED, Source.MESSAGE),
    ],
)
def test_who_decides(circumstances: Circumstances, level: Level, source: Source) -> None:
    policy = decide(circumstances)
    assert (policy.level, policy.source) == (level, source)
    assert policy.refused is None
    assert policy.noted is None
    assert policy.reasons


@pytest.mark.parametrize(
    ("circumstances", "refused"),
    [
        (given(**BROKEN_DNS), Defect.TLSA_LOOKUP),
        (given(sts=ENFORCE, **BROKEN_DNS), Defect.TLSA_LOOKUP),
        (given(mode=TlsMode.VERIFIED, **BROKEN_DNS), Defect.TLSA_LOOKUP),
        (given(**REQUIRETLS, **BROKEN_DNS), Defect.TLSA_LOOKUP),
        (given(**OPTIONAL, **BROKEN_DNS), None),
        (given(dane=DaneUse.OFF, **BROKEN_DNS), None),
        (given(dane=DaneUse.REQUIRE), Defect.NO_TLSA),
        (given(dane=DaneUse.REQUIRE, lookup=Lookup.NONE), Defect.NO_TLSA),
        (given(dane=DaneUse.REQUIRE, **UNCHECKABLE), Defect.NO_TLSA),
        (given(dane=DaneUse.REQUIRE, by_mx=False), None),
        (given("mx2.example", sts=ENFORCE), Defect.NOT_IN_POLICY),
        (given("mx2.example", mode=TlsMode.VERIFIED, sts=ENFORCE), Defect.NOT_IN_POLICY),
        (given("mx2.example", sts=ENFORCE, **DANE), None),
        (given("mx2.example", sts=ENFORCE, **OPTIONAL), None),
        (given("mx2.example", sts=ENFORCE, **REQUIRETLS), Defect.NOT_IN_POLICY),
        (given("mx2.example", sts=TESTING, **REQUIRETLS), Defect.MX_UNPROVEN),
        (given(sts=TESTING, **REQUIRETLS), None),
        (given(**REQUIRETLS), Defect.MX_UNPROVEN),
        (given(**REQUIRETLS, proven=True), None),
        (given(**REQUIRETLS, by_mx=False), None),
    ],
)
def test_hosts_that_are_not_even_connected_to(circumstances: Circumstances, refused: Defect | None) -> None:
    assert decide(circumstances).refused is refused


@pytest.mark.parametrize(
    ("circumstances", "pkix", "tlsa"),
    [
        (given(), False, ()),
        (given(mode=TlsMode.VERIFIED), True, ()),
        (given(**DANE), False, (USABLE,)),
        (given(mode=TlsMode.VERIFIED, **DANE), True, (USABLE,)),
        (given(sts=ENFORCE), True, ()),
        (given(sts=TESTING), True, ()),
        (given(sts=ENFORCE, **UNCHECKABLE), True, ()),
        (given(**REQUIRETLS, sts=ENFORCE), True, ()),
        (given(**REQUIRETLS, **DANE), False, (USABLE,)),
        (given(mode=TlsMode.VERIFIED, **REQUIRETLS, **DANE), True, (USABLE,)),
        (given(mode=TlsMode.VERIFIED, **OPTIONAL), True, ()),
    ],
)
def test_what_a_certificate_is_held_against(circumstances: Circumstances, pkix: bool, tlsa: tuple[Tlsa, ...]) -> None:
    policy = decide(circumstances)
    assert (policy.pkix, policy.tlsa) == (pkix, tlsa)


def test_a_host_outside_a_testing_policy_is_used_and_reported() -> None:
    policy = decide(given("mx2.example", sts=TESTING))
    assert (policy.level, policy.refused, policy.noted) == (Level.TESTING, None, Defect.NOT_IN_POLICY)
    assert not policy.pkix  # reported already, once is enough
    assert policy.report_type is PolicyType.STS


def test_what_reports_hold_a_session_against() -> None:
    assert decide(given(**DANE)).report_type is PolicyType.TLSA
    assert decide(given(**REQUIRETLS, **DANE)).report_type is PolicyType.TLSA
    assert decide(given(**BROKEN_DNS)).report_type is PolicyType.TLSA
    assert decide(given(sts=ENFORCE)).report_type is PolicyType.STS
    assert decide(given()).report_type is PolicyType.NONE


def test_requiretls_must_be_offered_in_turn_but_for_notifications() -> None:
    assert decide(given(**REQUIRETLS, **DANE)).requiretls
    assert not decide(given(**REPORT, **DANE)).requiretls
    assert not decide(given(on_this_machine=True, by_mx=False, **REQUIRETLS)).requiretls


PLAIN, ANYWAY, SKIP, BOUNCE = (
    Consequence.PLAIN,
    Consequence.UNAUTHENTICATED,
    Consequence.NEXT_HOST,
    Consequence.BOUNCE,
)


@pytest.mark.parametrize(
    ("circumstances", "no_starttls", "handshake", "expired", "wrong_name", "self_signed", "untrusted", "mismatch"),
    [
        (given(), PLAIN, PLAIN, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(mode=TlsMode.REQUIRED), SKIP, SKIP, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(mode=TlsMode.VERIFIED), SKIP, SKIP, SKIP, SKIP, SKIP, SKIP, SKIP),
        (given(**DANE), SKIP, SKIP, SKIP, SKIP, SKIP, SKIP, SKIP),
        (given(**UNCHECKABLE), SKIP, SKIP, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(sts=ENFORCE), SKIP, SKIP, SKIP, SKIP, SKIP, SKIP, SKIP),
        (given(sts=TESTING), PLAIN, PLAIN, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(sts=TESTING, mode=TlsMode.REQUIRED), SKIP, SKIP, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(sts=ENFORCE, **OPTIONAL), PLAIN, PLAIN, ANYWAY, ANYWAY, ANYWAY, ANYWAY, ANYWAY),
        (given(**REQUIRETLS, **DANE), BOUNCE, BOUNCE, BOUNCE, BOUNCE, BOUNCE, BOUNCE, BOUNCE),
    ],
)
def test_what_each_defect_leads_to(
    circumstances: Circumstances,
    no_starttls: Consequence,
    handshake: Consequence,
    expired: Consequence,
    wrong_name: Consequence,
    self_signed: Consequence,
    untrusted: Consequence,
    mismatch: Consequence,
) -> None:
    policy = decide(circumstances)
    found = {
        Defect.NO_STARTTLS: no_starttls,
        Defect.HANDSHAKE: handshake,
        Defect.TOO_OLD: handshake,
        Defect.EXPIRED: expired,
        Defect.WRONG_NAME: wrong_name,
        Defect.SELF_SIGNED: self_signed,
        Defect.UNTRUSTED: untrusted,
        Defect.TLSA_MISMATCH: mismatch,
    }
    assert {defect: consequence(policy, defect) for defect in found} == found


def test_every_defect_has_a_consequence_at_every_level() -> None:
    assert {level: set(row) for level, row in CONSEQUENCES.items()} == {level: set(Defect) for level in Level}


def test_refused_hosts_are_passed_over_or_bounce() -> None:
    for circumstances, follows in (
        (given(**BROKEN_DNS), SKIP),
        (given("mx2.example", sts=ENFORCE), SKIP),
        (given(dane=DaneUse.REQUIRE), SKIP),
        (given(**REQUIRETLS), BOUNCE),
        (given(**REQUIRETLS, **BROKEN_DNS), SKIP),
    ):
        policy = decide(circumstances)
        assert policy.refused is not None
        assert consequence(policy, policy.refused) is follows


@pytest.mark.parametrize(
    ("code", "defect"),
    [
        (9, Defect.EXPIRED),
        (10, Defect.EXPIRED),
        (62, Defect.WRONG_NAME),
        (64, Defect.WRONG_NAME),
        (18, Defect.SELF_SIGNED),
        (19, Defect.UNTRUSTED),
        (20, Defect.UNTRUSTED),
    ],
)
def test_what_openssl_found(code: int, defect: Defect) -> None:
    assert certificate_defect(code) is defect


@pytest.mark.parametrize(
    ("defect", "against", "result"),
    [
        (Defect.NO_STARTTLS, PolicyType.STS, ResultType.STARTTLS_NOT_SUPPORTED),
        (Defect.EXPIRED, PolicyType.STS, ResultType.CERTIFICATE_EXPIRED),
        (Defect.WRONG_NAME, PolicyType.TLSA, ResultType.CERTIFICATE_HOST_MISMATCH),
        (Defect.SELF_SIGNED, PolicyType.STS, ResultType.CERTIFICATE_NOT_TRUSTED),
        (Defect.TLSA_MISMATCH, PolicyType.TLSA, ResultType.VALIDATION_FAILURE),
        (Defect.TLSA_LOOKUP, PolicyType.TLSA, ResultType.DNSSEC_INVALID),
        (Defect.NO_TLSA, PolicyType.TLSA, ResultType.DANE_REQUIRED),
        (Defect.NOT_IN_POLICY, PolicyType.STS, ResultType.VALIDATION_FAILURE),
        (Defect.HANDSHAKE, PolicyType.NONE, ResultType.VALIDATION_FAILURE),
        (Defect.NO_REQUIRETLS, PolicyType.STS, None),
        (Defect.MX_UNPROVEN, PolicyType.NONE, None),
    ],
)
def test_what_reports_call_it(defect: Defect, against: PolicyType, result: ResultType | None) -> None:
    assert result_type(defect, against) is result
