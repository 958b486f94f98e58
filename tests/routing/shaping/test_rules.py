"""Which limits hold for a destination, and what is done about an answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.config.shaping import shipped_shaping
from relayd.mail.reply import Reply
from relayd.mailauth.orgdomain import SuffixList
from relayd.routing.bounce_rules import RulesError
from relayd.routing.shaping.limits import UNSHAPED
from relayd.routing.shaping.options import ShapingOptions
from relayd.routing.shaping.pace import Rate
from relayd.routing.shaping.responses import Action
from relayd.routing.shaping.rules import ShapingRules, read_rules
from relayd.routing.shaping.site import site_of

SUFFIXES = SuffixList()


def rules(text: str = "", records: dict[str, ShapingOptions] | None = None) -> ShapingRules:
    layers = [shipped_shaping(), read_rules(text, "own.toml")] if text else [shipped_shaping()]
    return ShapingRules(layers, records, registrable=SUFFIXES.organizational)


@pytest.mark.parametrize(
    ("domain", "hosts", "provider"),
    [
        ("gmail.com", ["gmail-smtp-in.l.google.com"], "google"),
        ("gmail.com", None, "google"),
        ("school.example", ["aspmx.l.google.com", "alt1.aspmx.l.google.com"], "google"),
        ("hotmail.com", ["hotmail-com.olc.protection.outlook.com"], "outlook"),
        ("firm.example", ["firm-example.mail.protection.outlook.com"], "microsoft"),
        ("firm.example", ["firm-example.x-v1.mx.microsoft"], "microsoft"),
        ("aol.com", ["mx-aol.mail.gm0.yahoodns.net"], "yahoo"),
        ("icloud.com", ["mx01.mail.icloud.com"], "icloud"),
        ("comcast.net", ["mx1a1.comcast.net"], "comcast"),
        ("web.de", ["mx-ha02.web.de"], "gmx"),
        ("mail.ru", ["mxs.mail.ru"], "mailru"),
        ("yandex.ru", ["mx.yandex.ru"], "yandex"),
        ("a.example", ["mx1.hoster.co.uk", "mx2.hoster.co.uk"], "hoster.co.uk"),
        ("b.example", ["mx1.hoster.co.uk"], "hoster.co.uk"),
        ("c.example", ["aspmx.l.google.com", "mx.hoster.co.uk"], "google.com+hoster.co.uk"),
        ("d.example", None, ""),
        ("route:hub", None, ""),
    ],
)
def test_the_provider_of_a_destination(domain: str, hosts: list[str] | None, provider: str) -> None:
    assert rules().shape(domain, hosts).provider == provider


def test_many_domains_of_one_site_share_one_subject() -> None:
    shaping = rules()
    keys = {shaping.shape(f"d{number}.example", ["mx.hoster.example"]).subjects[0][0] for number in range(5)}
    assert keys == {"provider:hoster.example"}


def test_settings_lie_over_the_operators_file_and_that_over_the_shipped_one() -> None:
    own = "[provider.google]\nconcurrency = 7\nconnections = 9\n"
    shaping = rules(own, {"google": ShapingOptions(connections=3, rate=(Rate(2, 1.0),))})
    key, limits = shaping.shape("gmail.com").subjects[0]
    assert (key, limits.concurrency, limits.connections, limits.rates) == ("provider:google", 7, 3, (Rate(2, 1.0),))
    assert limits.origins == {
        "concurrency": "own.toml: google",
        "connections": "queue.shaping.google",
        "rate": "queue.shaping.google",
    }
    assert shaping.shape("gmail.com").messages == 80


def test_a_domain_has_the_limits_of_its_own_rule_beside_those_of_its_provider() -> None:
    records = {"slow": ShapingOptions(domains=("school.example",), rate=(Rate(1, 1.0),), domain_concurrency=2)}
    shape = rules(records=records).shape("school.example", ["aspmx.l.google.com"])
    assert shape.provider == "google"
    assert [key for key, _ in shape.subjects] == ["provider:google", "provider:slow", "domain:school.example"]


def test_a_route_is_limited_only_where_a_rule_names_it() -> None:
    shaping = rules(records={"budget": ShapingOptions(routes=("hub",), daily=100)})
    assert shaping.shape("route:other") is UNSHAPED
    assert [key for key, _ in shaping.shape("route:hub").subjects] == ["provider:budget"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[provider.x]\nconcurency = 1", "provider.x.concurency: there is no such key"),
        ('[provider.x]\nrate = "fast"', "provider.x.rate: expected messages in a time"),
        ("provider = 1", "expected tables"),
        ("[other]", "neither provider nor response"),
        ("[", "own.toml"),
        ('[[response]]\nid = "x"\naction = "slow"\nfor = "1m"', "expected codes, enhanced, text or classes"),
        ('[[response]]\nid = "x"\naction = "stop"\nfor = "1m"\ncodes = [4]', "'stop'"),
        ('[[response]]\nid = "x"\naction = "slow"\ncodes = [4]', "for: expected a duration"),
        (
            '[[response]]\nid = "x"\naction = "slow"\nfor = "1m"\ncodes = [4]\nproviders = ["nobody"]',
            "no provider 'nobody'",
        ),
        ('[[response]]\nid = "x"\naction = "slow"\nfor = "1m"\ncodes = [4]\nshare = 2.0', "share"),
        ('[[response]]\nid = "x"\naction = "slow"\nfor = "1m"\nclasses = ["nice"]', "nice"),
        ('[[response]]\nid = "x"\nregexp = "(a+)+"', "regexp"),
    ],
)
def test_a_file_that_is_no_good(text: str, says: str) -> None:
    with pytest.raises(RulesError, match=says.replace("(", r"\(")):
        rules(text)


@pytest.mark.parametrize(
    ("provider", "code", "enhanced", "text", "class_", "rule"),
    [
        (
            "google",
            421,
            "4.7.28",
            "Our system has detected an unusual rate of unsolicited mail originating from",
            "rate",
            "google-unusual-rate",
        ),
        ("google", 450, "4.2.1", "The user you are trying to contact is receiving mail at a rate that", "rate", None),
        (
            "yahoo",
            421,
            "4.7.0",
            "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume",
            "rate",
            "yahoo-deferred",
        ),
        (
            "outlook",
            550,
            "5.7.1",
            "messages weren't sent. part of their network is on our block list (S3140)",
            "reputation",
            "outlook-block-list",
        ),
        ("hoster.example", 421, "4.7.0", "Too many connections from your host", "rate", "too-many-connections"),
        ("", 451, "4.7.1", "slow down", "rate", "rate-limited"),
        ("google", 450, "4.2.0", "mailbox busy", "unknown", None),
        ("hoster.example", 550, "5.1.1", "no such user", "bad-mailbox", None),
    ],
)
def test_what_an_answer_is_answered_with(
    provider: str, code: int, enhanced: str, text: str, class_: str, rule: str | None
) -> None:
    found = rules().responses.find(provider, Reply(code, enhanced, text), class_)
    assert (None if found is None else found.id) == rule


def test_an_own_response_goes_first_and_may_take_a_shipped_one_away() -> None:
    own = '[[response]]\nid = "yahoo-deferred"\nproviders = ["yahoo"]\ntext = ["[tss04]"]\naction = "ignore"\n'
    own += '[[response]]\nid = "mine"\nenhanced = ["x.7.28"]\naction = "suspend"\nfor = "2h"\nscope = "domain"\n'
    responses = rules(own).responses
    assert responses.find("yahoo", Reply(421, "4.7.0", "[TSS04] later"), "rate") is None
    found = responses.find("google", Reply(421, "4.7.28", "unusual rate of unsolicited mail"), "rate")
    assert found is not None
    assert (found.id, found.action, found.seconds) == ("mine", Action.SUSPEND, 7200.0)


@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_hosts_have_a_site(hosts: list[str]) -> None:
    site = site_of(hosts, SUFFIXES.organizational)
    assert site == site_of(reversed(hosts), SUFFIXES.organizational)
    assert isinstance(rules().shape("x.example", hosts).provider, str)
