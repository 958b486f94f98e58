"""All scanners that are for a message, side by side, within one budget.

A scanner that gives no answer in its time, or none that can be understood, has failed; its circuit breaker counts that,
and the failure policy says what becomes of the message.  Each scan is an event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from relayd.events import filter as events
from relayd.events.event import Span
from relayd.filters.circuit import Circuit
from relayd.filters.clamd import Clamd
from relayd.filters.options import FilterOptions
from relayd.filters.peer_tls import reason_of
from relayd.filters.rspamd import Rspamd
from relayd.filters.scan import Outcome, Scan, ScanFailed, Scannable, Scanner, TooLarge
from relayd.filters.spamd import Spamd
from relayd.mail.reply import Reply

VIRUS = Reply(554, "5.7.1", "The message carries what a virus scanner refuses")
SPAM = Reply(554, "5.7.1", "The message is taken for spam")
LATER = Reply(451, "4.7.1", "Not now, please try again later")
NOT_NOW = Reply(451, "4.7.1", "The message cannot be scanned now, try again later")


@dataclass(slots=True)
class _Configured:
    id: str
    options: FilterOptions
    scanner: Scanner
    circuit: Circuit
    turns: asyncio.Semaphore


class Verdict(msgspec.Struct, frozen=True):
    """What all scans together ask for, the gravest first: action "reject", "defer", "discard", "hold" or "tag".

    by: the id of the scanner.  why: in words.  reply: of "reject" and "defer".
    """

    action: str = "tag"
    by: str = ""
    why: str = ""
    reply: Reply | None = None


class Scanners:
    """The scanners that are configured; false when there are none.  clock: of seconds, steady."""

    def __init__(self, options: Mapping[str, FilterOptions], clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all: dict[str, _Configured] = {}
        self._closing: list[Scanner] = []
        self.reconfigure(options)

    def __bool__(self) -> bool:
        return bool(self._all)

    def reconfigure(self, options: Mapping[str, FilterOptions]) -> None:
        """Take other options; scanners that stay as they were keep their breaker and connections."""
        before, self._all = self._all, {}
        for id, each in sorted(options.items()):
            if not each.enabled:
                continue
            old = before.get(id)
            if old is not None and old.options == each:
                self._all[id] = before.pop(id)
                continue
            circuit = Circuit(each.breaker_failures, each.breaker_pause)
            self._all[id] = _Configured(id, each, make_scanner(each), circuit, asyncio.Semaphore(each.concurrency))
        self._closing += [old.scanner for old in before.values()]

    async def close(self) -> None:
        """Let go of every connection."""
        gone, self._closing = self._closing, []
        for scanner in (*gone, *(each.scanner for each in self._all.values())):
            await scanner.close()

    async def scan(self, message: Scannable, budget: float, span: Span) -> list[Scan]:
        """What each of them says; in the order of their ids.  budget: seconds for all.  Never raises."""
        asked = [each for each in self._all.values() if _is_for(each.options, message)]
        return list(await asyncio.gather(*(self._scan(each, message, budget, span) for each in asked)))

    async def _scan(self, each: _Configured, message: Scannable, budget: float, span: Span) -> Scan:
        began = self._clock()
        scan = await self._asked(each, message, min(budget, each.options.timeout), span)
        scan = msgspec.structs.replace(scan, id=each.id, type=each.options.type, elapsed=self._clock() - began)
        self._tell(each, message, scan, span)
        return scan

    async def _asked(self, each: _Configured, message: Scannable, timeout: float, span: Span) -> Scan:
        if message.size > each.options.largest:
            return Scan(outcome=Outcome.SKIPPED)
        if not each.circuit.may_try(self._clock()):
            return Scan(outcome=Outcome.FAILED, what="it failed several times in a row, and is not asked now")
        try:
            async with asyncio.timeout(timeout):
                async with each.turns:
                    scan = await each.scanner.scan(message)
        except TooLarge:
            return Scan(outcome=Outcome.SKIPPED)
        except TimeoutError:
            return self._failed(each, f"no answer in {timeout:g} s", span)
        except (ScanFailed, OSError, EOFError) as error:
            return self._failed(each, reason_of(error), span)
        except Exception as error:  # unknown failure is a failure
            return self._failed(each, f"{type(error).__name__}: {error}", span)
        except BaseException:
            each.circuit.gave_up()
            raise
        if each.circuit.succeeded():
            events.RESUMED(span, id=each.id)
        return scan

    def _failed(self, each: _Configured, reason: str, span: Span) -> Scan:
        if each.circuit.failed(self._clock()):
            again = span.stream.clock() + each.options.breaker_pause
            events.SUSPENDED(span, id=each.id, reason=reason, next_retry=again)
        return Scan(outcome=Outcome.FAILED, what=reason)

    def _tell(self, each: _Configured, message: Scannable, scan: Scan, span: Span) -> None:
        told = {"id": each.id, "queue_id": message.queue_id}
        if scan.outcome is Outcome.PASSED:
            events.PASSED(span, **told, score=scan.score, elapsed=scan.elapsed)
        elif scan.outcome is Outcome.SKIPPED:
            events.SKIPPED(span, **told, size=message.size, limit=each.options.largest)
        elif scan.outcome is Outcome.FAILED:
            events.FAILED(span, **told, reason=scan.what, policy=each.options.on_failure, elapsed=scan.elapsed)
        else:
            events.FOUND(
                span,
                **told,
                result=scan.what,
                score=scan.score,
                details=", ".join(list(scan.symbols)[:50]),
                policy=self.action(scan),
                elapsed=scan.elapsed,
            )

    def action(self, scan: Scan) -> str:
        """What the configuration makes of one scan: "tag", "hold", "reject", "discard" or "defer"."""
        options = self._all[scan.id].options if scan.id in self._all else None
        if scan.outcome is Outcome.FAILED:
            return "tag" if options is None or options.on_failure == "accept" else "defer"
        if scan.outcome is Outcome.NOT_NOW:
            return "tag" if options is None or options.action in (None, "tag") else "defer"
        if scan.outcome is not Outcome.FOUND:
            return "tag"
        if options is None or options.action is None:
            return "reject" if scan.is_virus else "tag"
        return options.action

    def verdict(self, scans: Sequence[Scan]) -> Verdict:
        """What becomes of the message: a refusal counts for more than a discard, that for more than a hold."""
        found = Verdict()
        for scan in scans:
            action = self.action(scan)
            if _GRAVITY.index(action) <= _GRAVITY.index(found.action):
                continue
            reply = None
            if action == "reject":
                reply = VIRUS if scan.is_virus else SPAM
            elif action == "defer":
                reply = NOT_NOW if scan.outcome is Outcome.FAILED else LATER
            found = Verdict(action, scan.id, f"{scan.id}: {scan.what}", reply)
        return found

    async def status(self, type: str, timeout: float = 5.0) -> dict[str, str]:
        """By id, for those of a type: "" when it answers, else what is wrong."""
        return {id: await answers(each.scanner, timeout) for id, each in self._all.items() if each.options.type == type}


_GRAVITY = ("tag", "hold", "discard", "defer", "reject")


def make_scanner(options: FilterOptions) -> Scanner:
    """The connector that a record describes."""
    if options.type == "clamd":
        return Clamd(options.address, options.tls)
    if options.type == "spamd":
        return Spamd(options.address, options.user, options.tls)
    return Rspamd(options.address, options.password, options.tls)


async def answers(scanner: Scanner, timeout: float) -> str:
    """Whether a scanner answers: "", or what is wrong."""
    try:
        async with asyncio.timeout(timeout):
            await scanner.ping()
    except TimeoutError:
        return f"no answer in {timeout:g} s"
    except (ScanFailed, OSError, EOFError) as error:
        return reason_of(error)
    return ""


def _is_for(options: FilterOptions, message: Scannable) -> bool:
    return options.sessions == "all" or (options.sessions == "trusted") == message.trusted
