"""Operations 20 to 24: what the spam filter learns, and what it says of a message; forgetting is ours.

Learning twice counts twice; `DELETE` on the same path takes one back.  `classify?explain=1` also says for each tag its
reason and its evidence, and which is the smallest set of tags without which the verdict would be another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import msgspec

from relayd.control.answers import BAD_JSON, Failure, Problem, other
from relayd.control.api.troubleshoot import address_of
from relayd.control.queries import FLAG, parameter
from relayd.control.routes import Call, Route
from relayd.reception.classification import Asked, Classifications, Classified, Kind, Nothing
from relayd.reception.examination import Unreadable
from relayd.reception.transaction import Refused
from relayd.reputation.bayes import Bayes
from relayd.scanning.workers import Busy, Overrun
from relayd.spam.score import Action, Score

AREA = "spam"
_TRAIN = "spam-filter-train"
_CLASSIFY = "spam-filter-classify"
_UNPARSED = "Failed to parse message."
_8BIT = 2 | 4
_UTF8 = 32
_MAX_RECIPIENTS = 1000
_MAX_FLAGS = (1 << 64) - 1
_KINDS: tuple[Kind, Kind] = ("spam", "ham")


class ClassifyBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A message, its lines ending in LF or CRLF, and how it would come.

    envFrom: "" is the null sender.  envFromFlags: bits 2 BODY=8BITMIME, 4 BINARYMIME, 32 SMTPUTF8; others are ignored.
    """

    message: str
    remote_ip: Annotated[str, msgspec.Meta(extra_json_schema={"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]})]
    env_from: str
    env_from_flags: Annotated[int, msgspec.Meta(ge=0)]
    env_rcpt_to: list[str]
    ehlo_domain: str = ""
    authenticated_as: str | None = None
    is_tls: bool = False


class Weight(TypedDict):
    """What a tag does: counts a value, or is an action of its own."""

    action: Literal["allow", "hold", "discard", "reject"]
    value: NotRequired[float]


class Disposition(TypedDict):
    """What becomes of the message.  value: the header fields that are put on top."""

    action: Literal["allow", "hold", "discard", "reject"]
    value: NotRequired[str]


class Why(TypedDict):
    """Why a tag is set."""

    reason: str
    evidence: str


class Explained(TypedDict):
    """Why each tag is set, and the smallest set of tags without which the verdict would be another."""

    tags: dict[str, Why]
    flip: list[str]


class ClassifyValue(TypedDict):
    """What the filter says."""

    score: float
    tags: dict[str, Weight]
    disposition: Disposition
    explain: NotRequired[Explained]


class LearntValue(TypedDict):
    """A model.  account: "" is everybody's.  speaks: it has learnt enough of either kind."""

    account: str
    spam: int
    ham: int
    speaks: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyQuery:
    """Whether to say why."""

    explain: bool = parameter(FLAG, "Say for each tag why, and what would have changed the verdict.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpamSide:
    """Whom this area asks.  has_account: whether there is an account of a name, of a tenant where one is given."""

    classifications: Classifications
    bayes: Bayes
    has_account: Callable[[str, str], Awaitable[bool]]


class SpamOperations:
    """The handlers.  side: None of a daemon without spam scoring."""

    def __init__(self, side: SpamSide | None) -> None:
        self._side_or_none = side

    @property
    def _side(self) -> SpamSide:
        if self._side_or_none is None:
            raise Failure("unsupported", details="There is no spam filter")
        return self._side_or_none

    def routes(self) -> Iterator[Route]:
        """Learning and forgetting for everybody and for an account, classifying, and the models."""
        for number, kind in enumerate(_KINDS):
            for path, operation, whose in (
                (f"/spam-filter/train/{kind}", 20 + number, ""),
                (f"/spam-filter/train/{kind}/{{account_id}}", 22 + number, " of an account"),
            ):
                what = "spam" if kind == "spam" else "wanted mail"
                yield Route(
                    method="POST",
                    path=path,
                    permission=_TRAIN,
                    handler=self._trainer(kind),
                    summary=f"Learn {what}{whose}",
                    area=AREA,
                    body=bytes,
                    operation=operation,
                )
                yield Route(
                    method="DELETE",
                    path=path,
                    permission=_TRAIN,
                    handler=self._forgetter(kind),
                    summary=f"Take back {what}{whose} that was learnt, once; false: it was not",
                    area=AREA,
                    body=bytes,
                    answer=bool,
                )
        yield Route(
            method="POST",
            path="/spam-filter/classify",
            permission=_TRAIN,
            or_permission=_CLASSIFY,
            handler=self.classify,
            summary="What the spam filter says of a message",
            area=AREA,
            query=ClassifyQuery,
            body=ClassifyBody,
            answer=ClassifyValue,
            operation=24,
        )
        yield Route(
            method="GET",
            path="/spam-filter/models",
            permission=_TRAIN,
            handler=self.models,
            summary="What was learnt",
            area=AREA,
            answer=list[LearntValue],
        )

    def _trainer(self, kind: Kind) -> Callable[[Call], Awaitable[None]]:
        async def train(call: Call) -> None:
            account = await self._account(call)
            await _guarded(self._side.classifications.train(call.body, kind, account))

        return train

    def _forgetter(self, kind: Kind) -> Callable[[Call], Awaitable[bool]]:
        async def forget(call: Call) -> bool:
            account = await self._account(call)
            done: bool = await _guarded(self._side.classifications.forget(call.body, kind, account))
            return done

        return forget

    async def _account(self, call: Call) -> str:
        """The account of the path, "" for everybody's model, which no tenant changes.  Failure notFound, Problem."""
        name = call.path.get("account_id", "")
        if not name:
            call.caller.check_unbound()
        elif not await self._side.has_account(name, call.caller.tenant):
            raise Failure("notFound", item=name)
        return name.lower()

    async def classify(self, call: Call) -> ClassifyValue:
        """What the live path would say, of a stranger's message."""
        body: ClassifyBody = call.body
        address = address_of(body.remote_ip)
        if address is None or len(body.env_rcpt_to) > _MAX_RECIPIENTS or body.env_from_flags > _MAX_FLAGS:
            raise Problem(*BAD_JSON)
        asked = Asked(
            message=body.message.encode("utf-8", "surrogatepass"),
            address=address,
            return_path=body.env_from,
            recipients=tuple(body.env_rcpt_to),
            helo=body.ehlo_domain,
            account=body.authenticated_as or "",
            is_tls=body.is_tls,
            is_8bit=bool(body.env_from_flags & _8BIT),
            is_utf8=bool(body.env_from_flags & _UTF8),
        )
        found: Classified = await _guarded(self._side.classifications.classify(asked))
        return _value(found, explain=call.query.explain)

    async def models(self, call: Call) -> list[LearntValue]:
        """Every model, everybody's first; of accounts alone the caller's own, unless he may list them."""
        caller = call.caller
        sees_all = caller.may("individual-list") and not caller.tenant
        return [
            LearntValue(
                account=account, spam=learnt.spam, ham=learnt.ham, speaks=self._side.bayes.has_learnt_enough(account)
            )
            for account, learnt in sorted(self._side.bayes.learnt.items())
            if sees_all or account in ("", caller.name.lower())
        ]


async def _guarded(work: Awaitable[Any]) -> Any:
    """What `work` gives, its refusals as answers of the API."""
    try:
        return await work
    except Unreadable:
        raise other(_UNPARSED) from None
    except Nothing:
        raise other("There is nothing in the message to learn from.") from None
    except Overrun as error:
        raise other("The message cannot be scanned.", str(error)) from None
    except Busy as error:
        raise other("The message cannot be scanned now.", str(error)) from None
    except Refused as refused:
        raise other("A scanner refuses the message.", str(refused.reply)) from None


def _value(found: Classified, *, explain: bool) -> ClassifyValue:
    verdict = found.verdict
    action: Any = "allow" if verdict.action is Action.TAG else verdict.action.value
    disposition = Disposition(action=action)
    if action in ("allow", "hold"):
        disposition["value"] = found.fields
    value = ClassifyValue(
        score=verdict.score, tags={each.tag.name: _weight(each.score) for each in verdict.tags}, disposition=disposition
    )
    if explain:
        whys = {each.tag.name: Why(reason=each.tag.reason, evidence=each.tag.evidence) for each in verdict.tags}
        value["explain"] = Explained(tags=whys, flip=list(found.flip))
    return value


def _weight(score: Score) -> Weight:
    if isinstance(score, Action):
        named: Any = score.value
        return Weight(action=named)
    return Weight(action="allow", value=score)
