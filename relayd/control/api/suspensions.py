"""`/api/queue/suspensions`: what nothing is delivered to, for or from now; of our own.

A suspension is about one domain, route, provider, account or source; its key names it in the path: "example.org",
"route:hub", "provider:google", "account:ann", "source:pool1".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from typing import TypedDict

import msgspec

from relayd.control.answers import NOT_FOUND, Problem
from relayd.control.api.steering import AREA, QueueOfMessages, audit
from relayd.control.queries import parse_time
from relayd.control.routes import Call, Route
from relayd.mail.address import AddressError, a_label, check_domain
from relayd.options import OptionError, parse_duration
from relayd.queue.pause import Suspension
from relayd.queue.suspension import Subject, key_of, subject_of
from relayd.telemetry.render import rfc3339

SHOW, CHANGE = "message-queue-get", "message-queue-update"

Known = Callable[[Subject], Collection[str] | None]
"""The names that a subject may have; None: any."""

_LONGEST = 255
"""Characters of a name."""

_LONGEST_REASON = 1000
_PATH = "/queue/suspensions"


class SuspensionValue(TypedDict):
    """Something that nothing is attempted for before `until` (null: until it is resumed).

    destination: its key, as the path has it.  subject: domain, route, provider, account or source; name: which.
    """

    destination: str
    subject: str
    name: str
    since: str
    until: str | None
    by: str
    reason: str


class Suspending(msgspec.Struct, forbid_unknown_fields=True):
    """What to suspend: one of domain, route, provider, account and source.

    until: an RFC 3339 time, or for: a duration such as "30m"; without either until it is resumed.
    """

    domain: str | None = None
    route: str | None = None
    provider: str | None = None
    account: str | None = None
    source: str | None = None
    until: str | None = None
    for_: str | None = msgspec.field(name="for", default=None)
    reason: str = ""


class SuspensionOperations:
    """The handlers.  clock: Unix time in seconds."""

    def __init__(self, queue: QueueOfMessages, known: Known, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._known = known
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """Every operation of the area."""
        yield Route(
            method="GET",
            path=_PATH,
            permission=SHOW,
            handler=self.index,
            summary="What nothing is attempted for now",
            area=AREA,
            answer=list[SuspensionValue],
        )
        yield Route(
            method="POST",
            path=_PATH,
            permission=CHANGE,
            handler=self.suspend,
            summary="Attempt nothing to a domain, route or provider, for an account, or from a source",
            area=AREA,
            body=Suspending,
            answer=SuspensionValue,
            explains=True,
        )
        yield Route(
            method="DELETE",
            path=_PATH + "/{destination}",
            permission=CHANGE,
            handler=self.unsuspend,
            summary="Attempt deliveries again",
            area=AREA,
            answer=bool,
        )

    async def index(self, call: Call) -> list[SuspensionValue]:
        """Those in force, whoever made them."""
        return [_value(each) for each in self._queue.suspensions()]

    async def suspend(self, call: Call) -> SuspensionValue:
        """Suspend something, in place of a suspension of the same that there may be."""
        call.caller.check_unbound()
        body: Suspending = call.body
        key = self._key(body)
        until = self._until(body)
        if len(body.reason) > _LONGEST_REASON:
            raise _bad(f"reason: expected at most {_LONGEST_REASON} characters")
        await self._queue.suspend(key, until, call.caller.name, body.reason)
        audit(call, "queue.suspend", f"suspend {key}", 1, body.reason)
        found = next((each for each in self._queue.suspensions() if each.destination == key), None)
        if found is None:
            raise Problem(*NOT_FOUND)  # somebody lifted it at once
        return _value(found)

    async def unsuspend(self, call: Call) -> bool:
        """Lift one."""
        call.caller.check_unbound()
        key = call.path["destination"]
        if all(each.destination != key for each in self._queue.suspensions()):
            raise Problem(*NOT_FOUND)
        await self._queue.unsuspend(key)
        audit(call, "queue.unsuspend", f"unsuspend {key}", 1, "")
        return True

    def _key(self, body: Suspending) -> str:
        named = [(each, name) for each in Subject if (name := getattr(body, each.value)) is not None]
        if len(named) != 1:
            raise _bad(f"expected one of {', '.join(each.value for each in Subject)}")
        subject, name = named[0]
        if not name or len(name) > _LONGEST or not name.isprintable():
            raise _bad(f"{subject.value}: expected a name of at most {_LONGEST} printable characters")
        if subject is Subject.DOMAIN:
            name = _domain(name)
        known = self._known(subject)
        is_site = subject is Subject.PROVIDER and "." in name  # of MX hosts, perhaps not met yet
        if known is not None and name not in known and not is_site:
            near = get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _bad(f"{subject.value}: {name!r} is not known{hint}")
        return key_of(subject, name)

    def _until(self, body: Suspending) -> float | None:
        now = self._clock()
        if body.until is not None and body.for_ is not None:
            raise _bad("expected until or for, not both")
        if body.for_ is not None:
            try:
                until: float | None = now + parse_duration(body.for_)
            except OptionError as error:
                raise _bad(f"for: {error}") from None
        elif body.until is not None:
            until = parse_time(body.until)
            if until is None:
                raise _bad("until: expected an RFC 3339 time")
        else:
            return None
        if until is not None and until <= now:
            raise _bad("the end is not in the future")
        return until


def _domain(name: str) -> str:
    """A domain as destinations name it."""
    try:
        name = a_label(name.lower().rstrip("."))
        check_domain(name, False)
    except AddressError:
        raise _bad(f"domain: {name!r} is no domain name") from None
    return name


def _bad(text: str) -> Problem:
    return Problem(400, "Invalid parameters", text)


def _value(each: Suspension) -> SuspensionValue:
    subject, name = subject_of(each.destination)
    return {
        "destination": each.destination,
        "subject": subject.value,
        "name": name,
        "since": rfc3339(each.since),
        "until": None if each.until is None else rfc3339(each.until),
        "by": each.by,
        "reason": each.reason,
    }
