"""What becomes of a message by its score, before its 250."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from relayd.config.spam import delivered_rules
from relayd.events.event import Span
from relayd.mail.reply import Reply
from relayd.options import section_of
from relayd.reception.assessing import Assessor, ScoringSettings, Subject
from relayd.reception.scoring import Scoring
from relayd.reception.transaction import Refused
from relayd.reputation.bayes import Bayes
from relayd.scanning.building import build_scanner
from relayd.scanning.frames import Setup
from relayd.scanning.workers import Overrun, Workers
from relayd.spam.facts import Facts, Scanned
from relayd.spam.options import BayesOptions, RecipientOptions, SpamOptions
from relayd.spam.score import Action, Thresholds
from relayd.spam.scoring import Limits
from relayd.spam.tag import Tag
from tests.reception.house import House, octets

GOOD = (
    b"From: a@sender.example\r\nTo: b@far.example\r\nSubject: Lunch\r\nMessage-ID: <1@x.sender.example>\r\n"
    b"Date: Tue, 14 Nov 2023 22:00:00 +0000\r\n\r\nSee you at noon, as we said yesterday on the telephone.\r\n"
)
GTUBE = GOOD + b"XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
RELAY = {"relay-domains": ["far.example", "mild.example"]}
KNOWN = {"all": {"domains": ["far.example", "mild.example"], "check": "any"}}


class Source:
    """Gives tags, or fails."""

    def __init__(self, *tags: str, failure: Exception | None = None) -> None:
        self._tags = [Tag(name, "said so") for name in tags]
        self._failure = failure
        self.asked: list[Subject] = []

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        self.asked.append(subject)
        if self._failure is not None:
            raise self._failure
        return self._tags


def settings(recipients: Sequence[dict[str, Any]] = (), inline: int = 1 << 20, **given: Any) -> ScoringSettings:
    options = {key: value for key, value in given.items() if key not in ("spam", "hold", "reject", "discard", "scores")}
    thresholds = {key: value for key, value in given.items() if key in ("spam", "hold", "reject", "discard")}
    rules = delivered_rules()
    return ScoringSettings(
        options=section_of(SpamOptions).build({key.replace("_", "."): value for key, value in options.items()}),
        thresholds=Thresholds(**thresholds),
        recipients=tuple(section_of(RecipientOptions).build(each) for each in recipients),
        scanner=build_scanner(rules),
        scores={**rules.scores, **given.get("scores", {})},
        limits=Limits(),
        inline=inline,
    )


def scored(house: House, tmp_path: Path, *sources: Source, **given: Any) -> Scoring:
    """Have a house score."""
    span = Span(house.stream)
    workers = Workers(1, Setup(ruleset=delivered_rules()), 1.0, lambda pid, reason: None)
    assessor = Assessor(settings(**given), workers, Bayes(tmp_path, lambda: house.now, span), sources)
    scoring = Scoring(assessor)
    house.reception._promises.scoring = scoring
    return scoring


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path, rcpt=RELAY, known=KNOWN)


async def test_mail_is_tagged_and_nothing_more_by_default(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path)
    message = await house.deliver(await house.stranger(), GTUBE)
    head = octets(message)
    assert head.startswith(b"X-Spam-Result: ")
    assert b"GTUBE (1000.00)\r\nX-Spam-Status: Yes, score=100" in head
    assert message.held is None
    assert house.facts("spam.classify")[0]["result"] == "spam"
    assert not house.facts("spam.verdict")


async def test_fields_in_our_name_are_taken_out(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path)
    message = await house.deliver(await house.stranger(), b"X-Spam-Status: No, score=-50\r\n" + GOOD)
    assert octets(message).count(b"X-Spam-Status:") == 1
    assert b"score=-50" not in octets(message)


async def test_refusal_is_given_at_the_end_of_data(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, reject=100)
    tx = await house.begin(await house.stranger())
    await house.rcpt(tx, "b@far.example")
    reply = await house.send(tx, GTUBE)
    assert (reply.code, reply.enhanced) == (550, "5.7.1")
    assert not house.queue.messages
    assert house.facts("spam.verdict")[0]["policy"] == "reject"


async def test_spam_is_held_or_dropped_where_configured(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, hold=100)
    message = await house.deliver(await house.stranger(), GTUBE)
    assert message.held is not None
    assert "spam score" in message.held
    scored(house, tmp_path, discard=100)
    tx = await house.begin(await house.stranger())
    await house.rcpt(tx, "b@far.example")
    assert (await house.send(tx, GTUBE)).code == 250
    assert len(house.queue.messages) == 1
    (discarded,) = house.facts("queue.discarded")
    assert (discarded["to"], discarded["message_id"]) == (["b@far.example"], message.message_id)


async def test_a_tag_may_name_the_action(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, Source("CLAM_VIRUS"), scores={"CLAM_VIRUS": Action.REJECT})
    tx = await house.begin(await house.stranger())
    await house.rcpt(tx, "b@far.example")
    assert (await house.send(tx, GOOD)).code == 550


async def test_of_several_recipients_the_mildest_verdict_holds(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, reject=100, recipients=[{"match": ["mild@far.example"], "reject": 0}])
    message = await house.deliver(await house.stranger(), GTUBE, "b@far.example", "mild@far.example")
    assert [each.address for each in message.recipients] == ["b@far.example", "mild@far.example"]


async def test_lmtp_answers_each_recipient(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, Source(), reject=100, recipients=[{"match": ["@mild.example"], "reject": 0}])
    tx = await house.begin(await house.stranger(protocol="lmtp"))
    for address in ("b@far.example", "c@mild.example"):
        assert (await house.rcpt(tx, address)).is_positive
    await house.reception.begin_data(tx)
    await house.reception.write(tx, [GTUBE])
    replies = await house.reception.finish(tx)
    assert isinstance(replies, list)
    assert [reply.code for reply in replies] == [550, 250]
    message = house.queue.messages[-1]
    assert [each.address for each in message.recipients] == ["c@mild.example"]
    assert message.counts["accepted"] == 1


WISHES = [{"match": [f"{action}@far.example"], action: 100} for action in ("hold", "reject", "discard")]


@pytest.mark.parametrize(
    ("to", "codes", "queued"),
    [
        ("tag hold", [250, 250], {"tag": False, "hold": True}),
        ("reject discard", [550, 250], {}),
        ("reject hold", [550, 250], {"hold": True}),
        ("discard tag hold reject", [250, 250, 250, 550], {"tag": False, "hold": True}),
    ],
)
async def test_lmtp_does_for_each_recipient_what_it_wants(
    house: House, tmp_path: Path, to: str, codes: list[int], queued: dict[str, bool]
) -> None:
    scored(house, tmp_path, recipients=WISHES)
    tx = await house.begin(await house.stranger(protocol="lmtp"))
    for each in to.split():
        await house.rcpt(tx, f"{each}@far.example")
    await house.reception.begin_data(tx)
    await house.reception.write(tx, [GTUBE])
    replies = await house.reception.finish(tx)
    assert isinstance(replies, list)
    assert [reply.code for reply in replies] == codes
    messages = house.queue.messages
    assert len({each.id for each in messages}) == len(messages)
    held = {to.address.partition("@")[0]: each.held is not None for each in messages for to in each.recipients}
    assert held == queued
    wanted = {action for action in to.split() if action != "tag"}
    assert {each["policy"] for each in house.facts("spam.verdict")} == wanted


async def test_what_an_account_taught_its_model_counts_for_its_mail(house: House, tmp_path: Path) -> None:
    scoring = scored(house, tmp_path)
    bayes = scoring.assessor.bayes
    await bayes.open()
    bayes.options = section_of(BayesOptions).build({"min-learns": 1})
    tokens = scoring.assessor.settings.scanner.scan(GOOD, Facts()).tokens
    for kind, content in ((True, tokens), (False, bytes(8))):
        await bayes.train(content, b"digest", spam=kind, account="jane")

    async def account_of(address: str) -> str:
        return "jane" if address == "b@far.example" else ""

    scoring.assessor.account_of = account_of
    marks = []
    for to in (["b@far.example"], ["c@far.example"], ["b@far.example", "c@far.example"]):
        message = await house.deliver(await house.stranger(), GOOD, *to)
        marks.append(b"BAYES_SPAM" in octets(message))
    assert marks == [True, False, False]
    await bayes.close()


async def test_sources_are_asked_and_their_failure_costs_no_mail(house: House, tmp_path: Path) -> None:
    source, broken = Source("RBL_SPAMCOP"), Source(failure=OSError("no route"))
    scored(house, tmp_path, source, broken)
    message = await house.deliver(await house.stranger(), GOOD)
    assert b"RBL_SPAMCOP (4.00)" in octets(message)
    assert source.asked[0].facts.recipients == ("b@far.example",)
    assert "no route" in house.facts("spam.classify-error")[0]["reason"]


async def test_a_source_may_defer(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, Source(failure=Refused(Reply(451, "4.7.1", "later"))))
    tx = await house.begin(await house.stranger())
    await house.rcpt(tx, "b@far.example")
    assert (await house.send(tx, GOOD)).code == 451


async def test_what_cannot_be_scanned_is_deferred_twice_then_held(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = scored(house, tmp_path)

    async def overrun(content: bytes | Path, facts: Facts, size: int) -> Scanned:
        raise Overrun("too much")

    monkeypatch.setattr(scoring.assessor, "scan", overrun)
    for expected in (451, 451, 250):
        tx = await house.begin(await house.stranger())
        await house.rcpt(tx, "b@far.example")
        assert (await house.send(tx, b"X-Try: %d\r\n" % expected + GOOD)).code == expected
    assert house.queue.messages[-1].held == "unscannable: too much"
    assert [each["policy"] for each in house.facts("spam.unscannable")] == ["defer", "defer", "hold"]


async def test_our_own_people_are_scored_where_configured_and_held(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path)
    assert not (await house.deliver(await house.trusted(), GTUBE)).body.head.startswith(b"X-Spam")
    assert not house.facts("spam.classify")
    scored(house, tmp_path, submitted_enable=True, submitted_hold=50)
    message = await house.deliver(await house.trusted(), GTUBE)
    assert message.held is not None


async def test_skip_checks_and_off_mean_no_scoring(house: House, tmp_path: Path) -> None:
    scored(house, tmp_path, enable=False)
    await house.deliver(await house.stranger(), GTUBE)
    assert not house.facts("spam.classify")


async def test_small_mail_is_scanned_at_once_and_large_by_a_worker(house: House, tmp_path: Path) -> None:
    scoring = scored(house, tmp_path, inline=2000)
    await house.deliver(await house.stranger(), GOOD)
    assert not scoring.assessor.workers.pids
    await house.deliver(await house.stranger(), GOOD + b"x" * 5000 + b"\r\n")
    assert scoring.assessor.workers.pids
    await scoring.assessor.workers.close()
    await asyncio.sleep(0)
