"""The verdict: what refuses, what defers, what is only marked."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
import pytest

from relayd.mail.header import HeaderBlock
from relayd.mailauth.findings import (
    ArcFinding,
    ArcSet,
    DkimFinding,
    DmarcFinding,
    Findings,
    IprevFinding,
    Policy,
    Result,
    SpfFinding,
)
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.verdict import Action, Message, Override, Verdict, decide, is_list_traffic
from relayd.options import OptionError, parse_network, section_of

STRICT = AuthOptions(
    spf_ehlo="strict", spf_mail_from="strict", dkim="strict", arc="strict", dmarc="strict", iprev="strict"
)
ADDRESS = ipaddress.ip_address("198.51.100.7")


def spf(result: Result, scope: Any = "mfrom", explanation: str = "") -> SpfFinding:
    return SpfFinding(scope=scope, result=result, domain="b.example", sender="x@b.example", explanation=explanation)


def dmarc(result: Result = Result.FAIL, policy: Policy = Policy.REJECT) -> DmarcFinding:
    return DmarcFinding(
        result=result, domain="m.b.example", policy_domain="b.example", requested=policy, policy=policy, problem="why"
    )


def arc(*sets: tuple[str, Result | None], result: Result = Result.PASS) -> ArcFinding:
    found = (ArcSet(instance=place, domain=domain, dmarc=claim) for place, (domain, claim) in enumerate(sets, 1))
    return ArcFinding(result=result, sets=tuple(found))


def options(**more: Any) -> AuthOptions:
    return AuthOptions(dmarc="strict", **more)


def judge(findings: Findings, by: AuthOptions, *, is_list: bool = False) -> Verdict:
    return decide(findings, by, Message(address=ADDRESS, is_list=is_list))


EVERYTHING_WRONG = Findings(
    spf_ehlo=spf(Result.FAIL, "helo"),
    spf_mail_from=spf(Result.FAIL),
    iprev=IprevFinding(result=Result.FAIL, address="198.51.100.7"),
    dkim=(DkimFinding(result=Result.FAIL, domain="b.example"),),
    arc=ArcFinding(result=Result.FAIL),
    dmarc=dmarc(),
)


def test_by_default_nothing_is_refused() -> None:
    found = judge(EVERYTHING_WRONG, AuthOptions())
    assert (found.action, found.reply, found.is_suspicious) == (Action.TAG, None, True)
    assert found.override is Override.LOCAL_POLICY
    assert len(found.reasons) == 5


def test_nothing_found_is_nothing_wrong() -> None:
    assert judge(Findings(), STRICT) == Verdict(action=Action.TAG)


@pytest.mark.parametrize("scope", ["helo", "mfrom"])
@pytest.mark.parametrize("result", list(Result))
def test_strict_spf_refuses_a_fail_only(result: Result, scope: str) -> None:
    finding = spf(result, scope)
    findings = Findings(spf_ehlo=finding) if scope == "helo" else Findings(spf_mail_from=finding)
    found = judge(findings, STRICT)
    assert found.action is (Action.REJECT if result is Result.FAIL else Action.TAG)
    if found.reply is not None:
        assert (found.reply.code, found.reply.enhanced) == (550, "5.7.23")


def test_each_identity_has_its_own_strictness() -> None:
    both = Findings(spf_ehlo=spf(Result.FAIL, "helo"), spf_mail_from=spf(Result.FAIL))
    found = judge(both, AuthOptions(spf_ehlo="strict"))
    assert found.reply is not None
    assert "EHLO" in found.reply.text
    found = judge(both, AuthOptions(spf_mail_from="strict"))
    assert found.reply is not None
    assert "return path" in found.reply.text


def test_the_domains_own_words_are_told_as_its_own() -> None:
    found = judge(Findings(spf_mail_from=spf(Result.FAIL, explanation="See our page")), STRICT)
    assert found.reply is not None
    assert found.reply.text.endswith("\nb.example explained: See our page")
    assert found.reply.encode().count(b"\r\n") == 2


@pytest.mark.parametrize("result", list(Result))
def test_dkim_refuses_nothing(result: Result) -> None:
    findings = Findings(dkim=(DkimFinding(result=result, domain="b.example"),))
    assert judge(findings, STRICT).action is Action.TAG
    assert judge(Findings(dkim=()), STRICT).action is Action.TAG


@pytest.mark.parametrize("result", list(Result))
def test_strict_arc_refuses_a_broken_chain_only(result: Result) -> None:
    found = judge(Findings(arc=ArcFinding(result=result)), STRICT)
    assert found.action is (Action.REJECT if result is Result.FAIL else Action.TAG)
    if found.reply is not None:
        assert (found.reply.code, found.reply.enhanced) == (550, "5.7.29")


@pytest.mark.parametrize("result", list(Result))
def test_strict_iprev_refuses_clients_without_a_name_of_their_own(result: Result) -> None:
    found = judge(Findings(iprev=IprevFinding(result=result, address="198.51.100.7", problem="why")), STRICT)
    assert found.action is (Action.REJECT if result in (Result.FAIL, Result.PERMERROR) else Action.TAG)
    if found.reply is not None:
        assert str(found.reply) == "550 5.7.25 Reverse DNS of 198.51.100.7: why"


@pytest.mark.parametrize(
    ("setting", "is_list", "action"),
    [
        ("unless-indirect", False, Action.REJECT),
        ("unless-indirect", True, Action.TAG),
        ("always", True, Action.REJECT),
        ("never", False, Action.TAG),
    ],
)
def test_a_policy_of_reject(setting: str, is_list: bool, action: Action) -> None:
    found = judge(Findings(dmarc=dmarc()), options(dmarc_reject=setting), is_list=is_list)
    assert (found.action, found.is_suspicious) == (action, True)
    if action is Action.REJECT:
        assert found.reply is not None
        assert str(found.reply) == "550 5.7.1 Email rejected per DMARC policy for b.example"
        assert found.override is None
    else:
        assert found.override is (Override.MAILING_LIST if is_list else Override.LOCAL_POLICY)


@pytest.mark.parametrize("result", [each for each in Result if each is not Result.FAIL])
def test_only_a_fail_is_worth_a_policy(result: Result) -> None:
    found = judge(Findings(dmarc=dmarc(result, Policy.QUARANTINE)), STRICT)
    assert (found.action, found.is_suspicious) == (Action.TAG, False)


def test_a_policy_of_none_changes_nothing() -> None:
    found = judge(Findings(dmarc=dmarc(policy=Policy.NONE)), STRICT)
    assert (found.action, found.is_suspicious, found.override) == (Action.TAG, False, None)


def test_a_policy_of_quarantine() -> None:
    findings = Findings(dmarc=dmarc(policy=Policy.QUARANTINE))
    found = judge(findings, options(dmarc_reject="always"))
    assert (found.action, found.is_suspicious, found.override) == (Action.TAG, True, None)
    assert judge(findings, options(dmarc_quarantine="hold")).action is Action.HOLD
    assert judge(findings, options(dmarc_quarantine="hold"), is_list=True).action is Action.TAG
    assert judge(findings, AuthOptions(dmarc_quarantine="hold")).action is Action.TAG


def test_the_dns_refuses_nothing_for_good() -> None:
    unknown = Findings(
        spf_ehlo=spf(Result.TEMPERROR, "helo"),
        spf_mail_from=spf(Result.TEMPERROR),
        iprev=IprevFinding(result=Result.TEMPERROR, address="198.51.100.7"),
        arc=ArcFinding(result=Result.TEMPERROR),
        dmarc=dmarc(Result.TEMPERROR),
    )
    found = judge(unknown, STRICT)
    assert found.action is Action.DEFER
    assert found.reply is not None
    assert (found.reply.code, found.reply.enhanced) == (451, "4.7.1")
    assert judge(unknown, AuthOptions()).action is Action.TAG
    assert judge(unknown, options(dmarc_reject="never")).action is Action.TAG
    assert judge(Findings(dmarc=dmarc(Result.TEMPERROR, Policy.NONE)), STRICT).action is Action.TAG


def test_a_refusal_comes_before_a_deferral() -> None:
    found = judge(Findings(spf_mail_from=spf(Result.FAIL), dmarc=dmarc(Result.TEMPERROR)), STRICT)
    assert found.action is Action.REJECT
    assert found.reasons[0].startswith("SPF")
    assert len(found.reasons) == 2


@pytest.mark.parametrize(
    ("chain", "speaks"),
    [
        (arc(("lists.example", Result.PASS)), True),
        (arc(("lists.example", None)), False),
        (arc(("a.lists.example", Result.PASS)), True),
        (arc(("lists.example", Result.FAIL)), False),
        (arc(("lists.example", Result.NONE)), False),
        (arc(("other.example", Result.PASS)), False),
        (arc(("other.example", Result.PASS), ("lists.example", Result.FAIL)), False),
        (arc(("lists.example", Result.PASS), ("second.example", Result.FAIL)), True),
        (arc(("lists.example", Result.PASS), ("other.example", Result.PASS)), False),
        (arc(("lists.example", Result.PASS), result=Result.FAIL), False),
        (arc(("lists.example", Result.PASS), result=Result.TEMPERROR), False),
        (arc(), False),
        (None, False),
    ],
)
def test_a_trusted_chain_speaks_for_a_message(chain: ArcFinding | None, speaks: bool) -> None:
    by = options(trusted_sealers=("lists.example", "second.example"))
    found = judge(Findings(dmarc=dmarc(), arc=chain), by)
    assert found.action is (Action.TAG if speaks else Action.REJECT)
    assert found.override is (Override.TRUSTED_FORWARDER if speaks else None)


@pytest.mark.parametrize(
    ("findings", "speaks"),
    [
        (Findings(spf_mail_from=spf(Result.PASS)), True),
        (Findings(spf_ehlo=spf(Result.PASS, "helo")), True),
        (Findings(dkim=(DkimFinding(result=Result.PASS, domain="x.b.example"),)), True),
        (Findings(iprev=IprevFinding(result=Result.PASS, address="", confirmed=("mx.b.example",))), True),
        (Findings(spf_mail_from=spf(Result.SOFTFAIL)), False),
        (Findings(dkim=(DkimFinding(result=Result.FAIL, domain="b.example"),)), False),
        (Findings(dkim=(DkimFinding(result=Result.PASS, domain="bb.example"),)), False),
        (Findings(), False),
    ],
)
def test_a_listed_forwarder_is_one_that_proves_its_domain(findings: Findings, speaks: bool) -> None:
    found = judge(msgspec.structs.replace(findings, dmarc=dmarc()), options(forwarders=("b.example",)))
    assert found.action is (Action.TAG if speaks else Action.REJECT)


def test_a_listed_forwarder_by_its_network() -> None:
    for network, action in (("198.51.100.0/24", Action.TAG), ("203.0.113.0/24", Action.REJECT)):
        found = judge(Findings(dmarc=dmarc()), options(forwarders=(parse_network(network),)))
        assert found.action is action


@pytest.mark.parametrize(
    ("header", "is_list"),
    [
        (b"List-Id: <l.example>\r\n", True),
        (b"List-Post: <mailto:l@l.example>\r\n", True),
        (b"Precedence: LIST\r\n", True),
        (b"Precedence: bulk\r\n", False),
        (b"List-Unsubscribe: <https://shop.example>\r\n", False),
        (b"Subject: List-Id: x\r\n", False),
    ],
)
def test_what_a_mailing_list_is_known_by(header: bytes, is_list: bool) -> None:
    assert is_list_traffic(HeaderBlock.parse(header).get) is is_list


def test_forwarders_are_networks_or_domains() -> None:
    by = section_of(AuthOptions).build({"dmarc.forwarders": ["192.0.2.1", "Alumni.Example.EDU."]})
    assert by.forwarders == (parse_network("192.0.2.1/32"), "alumni.example.edu")
    for wrong in ("", "x", "192.0.2.256", "a b.example", "bücher.example"):
        with pytest.raises(OptionError, match="network"):
            section_of(AuthOptions).build({"dmarc.forwarders": [wrong]})
