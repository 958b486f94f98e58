"""The record of senders as a source of tags: what their mail was scored before.

Asked about a message, it remembers whose it is; when the message's score is stated, that is learnt.  A record of the
address counts little, of a proved domain as much, of a proved return path most, of the network's system least.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from relayd.events.event import Event
from relayd.mail.address import split_address
from relayd.mailauth.findings import Result, plain_domain
from relayd.reception.assessing import Subject
from relayd.reputation.bans import site_of
from relayd.reputation.record import Record, Records
from relayd.spam.tag import Tag

WEIGHTS = {"ip": 0.2, "domain": 0.2, "sender": 0.5, "asn": 0.1}
CLEAR = 0.25
"""Of the weighted goodness, from -1 to 1: what is beyond is told of."""
AWAITED = 10_000
"""Messages whose score is awaited; the oldest is given up."""
CLASSIFIED = "spam.classify"


class Reputations:
    """See `scoring.TagSource`; `heard` is a subscriber of the events.  clock: Unix time."""

    def __init__(self, records: Records, clock: Callable[[], float]) -> None:
        self.records = records
        self._clock = clock
        self._awaited: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    def __bool__(self) -> bool:
        return self.records.options.enabled

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """REPUTATION_GOOD or REPUTATION_BAD, where what is known is clear."""
        if not self or subject.facts.is_trusted:
            return ()
        keys = keys_of(subject)
        if not subject.is_trial:
            self._awaited[subject.queue_id] = keys
            if len(self._awaited) > AWAITED:
                self._awaited.popitem(last=False)
        now = self._clock()
        found = [record for key in keys if (record := self.records.get(key, now)) is not None]
        total = sum(WEIGHTS[each.key.partition(":")[0]] * each.goodness for each in found)
        if abs(total) < CLEAR:
            return ()
        name, what = ("REPUTATION_GOOD", "well") if total > 0 else ("REPUTATION_BAD", "badly")
        return (Tag(name, f"what came from there before was scored {what}", "; ".join(map(_shown, found))),)

    def heard(self, event: Event) -> None:
        """Learn a score that is stated."""
        if event.kind.id != CLASSIFIED:
            return
        keys = self._awaited.pop(event.fields.get("queue_id") or 0, ())
        now = self._clock()
        for key in keys:
            self.records.learn(key, event.fields.get("result") == "spam", now)


def keys_of(subject: Subject) -> tuple[str, ...]:
    """Of whom a record is kept: the address, its autonomous system, a proved domain, a proved return path."""
    facts, findings = subject.facts, subject.findings
    keys = [] if facts.address is None else [f"ip:{site_of(facts.address)}"]
    if facts.origin.asn:
        keys.append(f"asn:{facts.origin.asn}")
    spf = findings.spf_mail_from
    domains = [plain_domain(each.domain) for each in findings.dkim or () if each.result is Result.PASS]
    if spf is not None and spf.result is Result.PASS and facts.return_path:
        domains.append(plain_domain(split_address(facts.return_path)[1]))
        keys.append(f"sender:{facts.return_path.lower()}")
    if domains and domains[0]:
        keys.append(f"domain:{domains[0]}")
    return tuple(keys)


def _shown(record: Record) -> str:
    return f"{record.key} ham {record.ham:.1f} spam {record.spam:.1f}"
