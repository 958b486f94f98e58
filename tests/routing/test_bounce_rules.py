"""The rules' file: how it is read, what its phrases fit, and how an operator's rules go on top."""

from __future__ import annotations

import pytest

from relayd.config.bounces import shipped_rules
from relayd.routing.bounce_rules import BounceClass, Rules, RulesError, build_rules, parse_rules, prepared


def rules(text: str) -> Rules:
    """Rules of this file alone."""
    return build_rules(parse_rules(text, "test.toml"))


def rule(phrase: str, more: str = "") -> Rules:
    """One rule with one phrase."""
    return rules(f'[[rule]]\nid = "x"\nclass = "policy"\ntext = ["{phrase}"]\n{more}')


@pytest.mark.parametrize(
    ("phrase", "text", "fits"),
    [
        ("user unknown", "550 User\tUnknown", True),
        ("user unknown", "<user unknown>", True),
        ("dul", "listed in DUL.", True),
        ("dul", "see the schedule", False),
        ("dul", "dulwich", False),
        ("dul*", "dulwich", True),
        ("throttl", "you are throttled", True),
        ("quotaexceeded", "ShutoffQuotaExceeded", False),
        ("*quotaexceeded", "ShutoffQuotaExceeded", True),
        ("account * disabled", "the account of x is disabled", True),
        ("account * disabled", "disabled account", False),
        ("user unknown", "user-unknown@example.org", False),
        ("blocked", "see https://help.example/reasons#blocked", False),
        ("spam", "spam-filter", True),
        ("送信", "メールを送信できません", True),
    ],
)
def test_a_phrase_begins_a_word_and_a_short_one_ends_one(phrase: str, text: str, fits: bool) -> None:
    assert (rule(phrase).by_text(prepared(text)) is not None) is fits


def test_text_goes_before_codes_and_the_first_rule_decides() -> None:
    both = rules("""
        [[rule]]
        id = "code"
        class = "policy"
        enhanced = ["x.7.1"]
        codes = [550]
        [[rule]]
        id = "class"
        class = "system"
        codes = [5]
        [[rule]]
        id = "first"
        class = "content"
        text = ["spam"]
        [[rule]]
        id = "second"
        class = "reputation"
        text = ["spam here"]
    """)
    found = both.by_text("spam here")
    assert found is not None
    assert found.id == "first"
    assert [both.by_code(*codes) and both.by_code(*codes).id for codes in ((450, "4.7.1"), (550, ""), (554, ""))] == [  # type: ignore[union-attr]
        "code",
        "code",
        "class",
    ]
    assert both.by_code(450, "4.2.0") is None


def test_restrictions_are_steps_hosts_and_what_must_not_be_there() -> None:
    one = rule("no", 'steps = ["RCPT"]\nhosts = ["example.org"]\nunless = ["yes"]')
    assert one.by_text("no", "RCPT", "mx.example.org") is not None
    assert one.by_text("no", "RCPT", "example.org") is not None
    assert one.by_text("no", "MAIL", "example.org") is None
    assert one.by_text("no", "RCPT", "notexample.org") is None
    assert one.by_text("no and yes", "RCPT", "example.org") is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[rule]", "test.toml"),
        ('[[rule]]\nid = "x"', "class"),
        ('[[rule]]\nid = "x"\nclass = "policy"\ncodes = "550"', "codes"),
        ('[[rule]]\nid = "x"\nclass = "nice"\ncodes = [550]', "'nice' is none of bad-mailbox"),
        ('[[rule]]\nid = "x"\nclass = "policy"\nclas = "a"', "clas"),
        ('[[rule]]\nid = "X Y"\nclass = "policy"\ncodes = [1]', "lower-case words"),
        ('[[rule]]\nid = "x"\nclass = "policy"\ntext = [" * "]', "an empty phrase"),
        ('[[rule]]\nid = "x"\nclass = "policy"\nenhanced = ["5.1"]', "'5.1' is no enhanced code"),
        ('[[rule]]\nid = "x"\nclass = "policy"\ncodes = [550]\nsteps = ["HELO"]', "'HELO' is none of the steps"),
        ('[[rule]]\nid = "x"\nclass = "policy"\ncodes = [550]\nhard = "yes"', "'yes' is none of never"),
        ('[[rule]]\nid = "x"\nclass = "full"\ncodes = [1]\n' * 2, "two rules have the id 'x'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(text: str, says: str) -> None:
    with pytest.raises(RulesError, match=says):
        rules(text)


def test_own_rules_go_first_replace_and_take_away() -> None:
    shipped = parse_rules(
        '[[rule]]\nid = "a"\nclass = "spam"\ntext = ["aaa"]\n[[rule]]\nid = "b"\nclass = "full"\ntext = ["bbb"]', "s"
    )
    shipped[0].class_ = "content"
    own = parse_rules(
        '[[rule]]\nid = "a"\nclass = "content"\n[[rule]]\nid = "c"\nclass = "rate"\ntext = ["bbb", "ccc"]', "own"
    )
    together = build_rules(shipped, own)
    assert [each.id for each in together.rules] == ["c", "b"]
    assert together.by_text("aaa") is None
    found = together.by_text("bbb")
    assert found is not None
    assert found.class_ is BounceClass.RATE


def test_the_shipped_rules_use_every_class_but_unknown() -> None:
    shipped = build_rules(shipped_rules())
    assert {each.class_ for each in shipped.rules} == set(BounceClass) - {BounceClass.UNKNOWN}
