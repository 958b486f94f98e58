"""Every tag that has a score: what sets it, or why nothing does."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from relayd.config.spam import delivered_file, delivered_rules
from relayd.mailauth.findings import (
    ArcFinding,
    DkimFinding,
    DmarcFinding,
    Findings,
    IprevFinding,
    Policy,
    Result,
    SpfFinding,
)
from relayd.scanning.building import build_scanner
from relayd.spam.bayes import Estimate
from relayd.spam.composites import add_composites
from relayd.spam.dnsbl_lists import KNOWN
from relayd.spam.facts import Facts, Scanned
from relayd.spam.ruleset import Lists
from relayd.spam.scoring import Limits, all_tags, bayes_tags
from relayd.spam.tag import Tag, Tags
from tests.spam.house import GOOD, names, scan, with_body, with_field
from tests.spam.test_rules import CASES, LONG, SESSIONS, mixed

TESTS = Path(__file__).resolve().parents[1]

CONTENT: dict[str, bytes] = {
    **{f"HAS_X_PRIO_{word}": with_field(b"X-Priority: %d" % number) for word, number in (
        ("ZERO", 0), ("TWO", 2), ("THREE", 4), ("FIVE", 5),
    )},
    **{f"RCVD_COUNT_{word}": GOOD + b"Received: from a.example by b.example\n" * number + b"\n" + LONG
       for word, number in (("ONE", 1), ("THREE", 3), ("FIVE", 4), ("SEVEN", 6), ("TWELVE", 12))},
    **{f"RCPT_COUNT_{word}": with_field(b"To: " + b", ".join(b"%d@b.example" % each for each in range(number)))
       for word, number in (("TWO", 2), ("THREE", 3), ("FIVE", 4), ("SEVEN", 7), ("TWELVE", 12))},
    "MID_RHS_MATCH_FROMTLD": GOOD + b"\n" + LONG,
    "RCVD_TLS_LAST": GOOD + b"\n" + LONG,
    "RCVD_TLS_ALL": with_field(b"Received: from a.example by b.example with ESMTPS id 1"),
    "REPLYTO_ADDR_EQ_FROM": with_field(b"Reply-To: Bea <ann@a.example>"),
    "REPLYTO_DOM_EQ_FROM_DOM": with_field(b"Reply-To: info@a.example"),
    "REPLYTO_EXCESS_BASE64": with_field(b"Reply-To: =?utf-8?b?QW5u?= <x@a.example>"),
    "REPLYTO_EXCESS_QP": with_field(b"Reply-To: =?utf-8?q?Ann?= <x@a.example>"),
    "TO_EXCESS_BASE64": with_field(b"To: =?utf-8?b?Qm9i?= <bob@b.example>"),
    "TO_EXCESS_QP": with_field(b"To: =?utf-8?q?Bob?= <bob@b.example>"),
    "TO_NEEDS_ENCODING": with_field("To: Bób <bob@b.example>".encode()),
    "TO_DN_EQ_ADDR_ALL": with_field(b'To: "bob@b.example" <bob@b.example>'),
    "TO_DN_EQ_ADDR_SOME": with_field(b'To: "bob@b.example" <bob@b.example>, Joe <joe@b.example>'),
    "FREEMAIL_DNT": with_field(b"Disposition-Notification-To: x@gmail.com"),
    "DISPOSABLE_DNT": with_field(b"Disposition-Notification-To: x@mailinator.com"),
    "DISPOSABLE_CC": with_field(b"Cc: x@mailinator.com"),
    "DISPOSABLE_REPLYTO": with_field(b"Reply-To: x@mailinator.com"),
    "UNPARSABLE_URL": with_body(b"see http://[nonsense/ for more of what we said yesterday\n"),
    "URI_COUNT_ODD": mixed(
        b"Content-Type: text/plain\n\n" + LONG + b"http://one.com/\n",
        b"Content-Type: text/html\n\n" + LONG + b'<a href="http://one.com/">a</a><a href="http://two.com/">b</a>',
        kind=b"alternative",
    ),
    "ENCRYPTED_SMIME": with_body(b"AAAA", content_type=b"application/pkcs7-mime; smime-type=enveloped-data"),
}  # fmt: skip

FACTS: dict[str, dict[str, Any]] = {
    "HELO_IP_A": {"helo": "[192.0.2.1]", "address": ipaddress.ip_address("192.0.2.2")},
    "RCPT_LOCAL_IN_SUBJECT": {"recipients": ("lunch@b.example",)},
    "DISPOSABLE_ENV_FROM": {"return_path": "x@mailinator.com"},
}

COMPOSITES: dict[str, str] = {
    "ABUSE_FROM_INJECTOR": "RCVD_VIA_SMTP_AUTH RECEIVED_SPAMHAUS_PBL HAS_LINK_TO_LARGE_IMG HTML_SHORT_1",
    "ARC_SIGNED": "X_HDR_ARC_SEAL",
    "AUTH_NA": "DKIM_NA SPF_NA DMARC_NA ARC_NA",
    "AUTH_NA_OR_FAIL": "DKIM_PERMFAIL SPF_DNSFAIL DMARC_NA ARC_NA",
    "AUTOGEN_PHP_SPAMMY": "HAS_PHPMAILER_SIG SUBJECT_ENDS_EXCLAIM",
    "BOUNCE": "FROM_BOUNCE IS_DSN",
    "BOUNCE_NO_AUTH": "FROM_BOUNCE IS_DSN DKIM_NA SPF_NA DMARC_NA ARC_NA",
    "COMPROMISED_ACCT_BULK": "RCVD_VIA_SMTP_AUTH DCC_BULK",
    "DIRECT_TO_MX": "RCVD_COUNT_ZERO X_HDR_USER_AGENT",
    "DKIM_SIGNED": "X_HDR_DKIM_SIGNATURE",
    "DMARC_POLICY_ALLOW_WITH_FAILURES": "DMARC_POLICY_ALLOW SPF_FAIL",
    "FORGED_RECIPIENTS_MAILLIST": "FORGED_RECIPIENTS MAILLIST",
    "FORGED_SENDER_MAILLIST": "FORGED_SENDER MAILLIST",
    "FREEMAIL_AFF": "FREEMAIL_REPLY_TO REPLYTO_DOM_NEQ_FROM_DOM UNDISC_RCPT",
    "FREEMAIL_REPLY_TO_NEQ_FROM_DOM": "FREEMAIL_REPLY_TO REPLYTO_DOM_NEQ_FROM_DOM",
    "HACKED_WP_PHISHING": "HAS_PHPMAILER_SIG WP_COMPROMISED PHISHING",
    "HAS_ANON_DOMAIN": "HAS_ONION_URI",
    "HTML_SHORT_LINK_IMG_1": "HAS_LINK_TO_LARGE_IMG HTML_SHORT_1",
    "HTML_SHORT_LINK_IMG_2": "HAS_LINK_TO_LARGE_IMG HTML_SHORT_2",
    "HTML_SHORT_LINK_IMG_3": "HAS_LINK_TO_LARGE_IMG HTML_SHORT_3",
    "MIME_BAD_EXT_WITH_BAD_UNICODE": "MIME_BAD_EXTENSION MIME_BAD_UNICODE",
    "PHISH_EMOTION": "PHISHING SUBJECT_ENDS_QUESTION",
    "RCPT_DOMAIN_IN_MESSAGE": "RCPT_DOMAIN_IN_SUBJECT RCPT_IN_BODY",
    "RCVD_DKIM_ARC_DNSWL_HI": "DKIM_ALLOW RCVD_IN_DNSWL_HI",
    "RCVD_DKIM_ARC_DNSWL_MED": "ARC_ALLOW RCVD_IN_DNSWL_MED",
    "RCVD_UNAUTH_PBL": "RECEIVED_SPAMHAUS_PBL",
    "REDIRECTOR_URL_ONLY": "URL_ONLY REDIRECTOR_URL",
    "SEO_SPAM": "HAS_SEO_WORD FREEMAIL_FROM",
    "SHORT_PART_BAD_HEADERS": "MISSING_ESSENTIAL_HEADERS SINGLE_SHORT_PART",
    "SUSPICIOUS_AUTH_ORIGIN": "RCVD_VIA_SMTP_AUTH RECEIVED_BLOCKLISTDE",
    "SUSPICIOUS_MDN": "FREEMAIL_DNT",
    "THREAD_HIJACKING_FROM_INJECTOR": "FAKE_REPLY RCVD_VIA_SMTP_AUTH",
    "UNDISC_RCPTS_BULK": "DCC_BULK UNDISC_RCPT",
    "VIOLATED_DIRECT_SPF": "SPF_SOFTFAIL RCVD_NO_TLS_LAST",
}


def _spf(result: Result) -> Findings:
    return Findings(spf_mail_from=SpfFinding(scope="mfrom", result=result, domain="a.example", sender="x@a.example"))


def _dkim(result: Result) -> Findings:
    return Findings(dkim=(DkimFinding(result=result, domain="a.example"),))


def _arc(result: Result, cause: str = "") -> Findings:
    return Findings(arc=ArcFinding(result=result, cause=cause))


def _dmarc(result: Result, policy: Policy | None = None, domain: str = "a.example") -> Findings:
    return Findings(dmarc=DmarcFinding(result=result, domain=domain, requested=policy, policy=policy or Policy.NONE))


FOUND: dict[str, Findings] = {
    "SPF_ALLOW": _spf(Result.PASS), "SPF_FAIL": _spf(Result.FAIL), "SPF_SOFTFAIL": _spf(Result.SOFTFAIL),
    "SPF_NEUTRAL": _spf(Result.NEUTRAL), "SPF_DNSFAIL": _spf(Result.TEMPERROR),
    "SPF_PERMFAIL": _spf(Result.PERMERROR), "SPF_NA": _spf(Result.NONE),
    "DKIM_ALLOW": _dkim(Result.PASS), "DKIM_REJECT": _dkim(Result.FAIL), "DKIM_TEMPFAIL": _dkim(Result.TEMPERROR),
    "DKIM_PERMFAIL": _dkim(Result.PERMERROR), "DKIM_NA": Findings(dkim=()),
    "ARC_ALLOW": _arc(Result.PASS), "ARC_REJECT": _arc(Result.FAIL, "arc.broken-chain"),
    "ARC_INVALID": _arc(Result.FAIL, "arc.invalid-instance"), "ARC_DNSFAIL": _arc(Result.TEMPERROR),
    "ARC_NA": _arc(Result.NONE),
    "DMARC_POLICY_ALLOW": _dmarc(Result.PASS), "DMARC_POLICY_REJECT": _dmarc(Result.FAIL, Policy.REJECT),
    "DMARC_POLICY_QUARANTINE": _dmarc(Result.FAIL, Policy.QUARANTINE),
    "DMARC_POLICY_SOFTFAIL": _dmarc(Result.FAIL, Policy.NONE), "DMARC_BAD_POLICY": _dmarc(Result.PERMERROR),
    "DMARC_DNSFAIL": _dmarc(Result.TEMPERROR), "DMARC_NA": _dmarc(Result.NONE),
    "ALLOWLIST_DMARC": _dmarc(Result.PASS, domain="known.example"),
    "BLOCKLIST_DMARC": _dmarc(Result.FAIL, Policy.NONE, domain="known.example"),
    "TRUSTED_DOMAIN": _dmarc(Result.PASS),
    "RDNS_NONE": Findings(iprev=IprevFinding(result=Result.FAIL, address="192.0.2.1")),
    "RDNS_DNSFAIL": Findings(iprev=IprevFinding(result=Result.TEMPERROR, address="192.0.2.1")),
    "HELO_IPREV_MISMATCH": Findings(
        iprev=IprevFinding(result=Result.PASS, address="192.0.2.1", names=("h.example",), confirmed=("h.example",))
    ),
}  # fmt: skip

ELSEWHERE: dict[str, str] = {
    "IP_BLOCKED": "reception/test_tag_sources.py",
    "HELO_NORES_A_OR_MX": "reception/test_tag_sources.py",
    "FROMHOST_NORES_A_OR_MX": "reception/test_tag_sources.py",
    "TRUSTED_REPLY": "reception/test_tag_sources.py",
    "REPUTATION_GOOD": "reception/test_tag_sources.py",
    "REPUTATION_BAD": "reception/test_tag_sources.py",
    "CLAM_VIRUS": "reception/test_tag_sources.py",
    "SPAMASSASSIN_SPAM": "reception/test_tag_sources.py",
    "RSPAMD_SPAM": "reception/test_tag_sources.py",
    "SCAN_FAILED": "reception/test_tag_sources.py",
    "RULE_FAILED": "scanning/test_workers.py",
    "SCAN_PARTIAL": "journeys/test_spam_scoring.py",
}
"""Tags of others than rules, by the test that shows them."""

PLUGINS = {
    "PYZOR", "DCC_BULK", "PHISHED_OPENPHISH", "PHISHED_PHISHTANK", "URL_REDIRECTOR_NESTED",
    "MANY_INVISIBLE_PARTS", "RBL_SEM_IPV6", "RBL_SENDERSCORE_REPUT_UNKNOWN",
    *(f"LLM_{what}_{how}" for what in ("UNSOLICITED", "COMMERCIAL", "HARMFUL", "LEGITIMATE")
      for how in ("HIGH", "MEDIUM", "LOW")),
}  # fmt: skip
"""Tags that nothing in relayd sets; conf/spam.toml says why."""


@pytest.mark.parametrize("tag", CONTENT)
def test_content_sets_it(tag: str) -> None:
    assert tag in names(scan(CONTENT[tag]))


@pytest.mark.parametrize("tag", FACTS)
def test_a_session_sets_it(tag: str) -> None:
    assert tag in names(scan(GOOD + b"\n" + LONG, **FACTS[tag]))


@pytest.mark.parametrize("tag", COMPOSITES)
def test_it_follows_from_others(tag: str) -> None:
    parts = COMPOSITES[tag].split()
    tags = Tags(map(Tag, parts))
    add_composites(tags)
    assert tag in tags
    for each in parts:
        tags = Tags(Tag(other) for other in parts if other != each)
        add_composites(tags)
        assert tag not in tags, f"{each} makes no difference"


@pytest.mark.parametrize("tag", FOUND)
def test_the_checks_set_it(tag: str) -> None:
    lists = Lists(known_dmarc=frozenset({"known.example"}), trusted=frozenset({"a.example"}))
    facts = Facts(helo="mx.a.example")
    found = all_tags(Scanned(from_domain="a.example"), FOUND[tag], facts, lists)
    assert tag in {each.name for each in found}


@pytest.mark.parametrize(
    ("probability", "expected"),
    [(0.999, {"BAYES_SPAM", "BAYES_SURE_SPAM"}), (0.8, {"BAYES_SPAM"}), (0.6, set()), (0.3, {"BAYES_HAM"}),
     (0.001, {"BAYES_HAM", "BAYES_SURE_HAM"})],
)  # fmt: skip
def test_the_model_sets_it(probability: float, expected: set[str]) -> None:
    found = bayes_tags(Estimate(probability=probability, tokens=20), Limits())
    assert {each.name for each in found} == expected


@pytest.mark.parametrize("trap", ["bob@b.example", "@b.example"])
def test_the_operators_lists_set_it(trap: str) -> None:
    lists = Lists(blocked=frozenset({"a.example"}), traps=frozenset({trap}))
    rules = msgspec.structs.replace(delivered_rules(), lists=lists)
    facts = Facts(recipients=("bob@b.example",))
    found = build_scanner(rules).scan(GOOD.replace(b"\n", b"\r\n"), facts)
    assert {"BLOCKED_DOMAIN", "SPAM_TRAP"} <= names(found)


def test_the_example_of_a_plug_in_does_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(delivered_file().parent))
    mail = b'Subject: Your invoice\r\nContent-Type: application/octet-stream; name="a.exe"\r\n\r\nMZ'
    found = build_scanner(delivered_rules(), ["spam_plugin_example:is_invoice"]).scan(mail, Facts())
    assert {"INVOICE_FROM_STRANGER", "MIME_BAD_EXTENSION"} <= names(found)


def test_every_tag_with_a_score_is_set_by_something_or_nothing_is_said_to() -> None:
    by_lists = {meaning.tag for each in KNOWN.values() for meaning in each.meanings}
    by_model = {"BAYES_SPAM", "BAYES_SURE_SPAM", "BAYES_HAM", "BAYES_SURE_HAM"}
    others = {tag for tag, file in ELSEWHERE.items() if tag in (TESTS / file).read_text()}
    sets = {*CASES, *CONTENT, *FACTS, *COMPOSITES, *FOUND, *others, *by_lists, *by_model, "BLOCKED_DOMAIN", "SPAM_TRAP"}
    sets |= {tag for _, tag in SESSIONS}
    scored = delivered_rules().scores.keys()
    assert sorted(scored - sets) == sorted(PLUGINS)
    said = delivered_file().read_text().partition("version =")[0]
    assert not {tag for tag in PLUGINS if (tag if not tag.startswith("LLM_") else "LLM_*") not in said}
