"""Operation 56, `GET /api/store/purge/in-memory[/{store}[/{prefix}[/{account}]]]`: how operators start afresh.

A prefix names a kind of key of which everything goes: the statistical models (`bayes-global`, `bayes-account`, with an
account only that one's), the greylist, and the records of senders.  Any other word, and none, purges what has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from relayd.control.answers import NOT_FOUND, Failure, Problem, other
from relayd.control.api.spam import SpamSide
from relayd.control.routes import Call, Route
from relayd.database.interface import DatabaseError
from relayd.events import manage
from relayd.reputation.bayes import EVERYBODY, Bayes
from relayd.reputation.greylist import Greylist
from relayd.reputation.record import Records

_STORE = "default"
_PATH = "/store/purge/in-memory"
_RECORDS = {
    "reputation-ip": "ip:",
    "reputation-domain": "domain:",
    "reputation-from": "sender:",
    "reputation-asn": "asn:",
}
"""What the keys of the records of a prefix begin with."""


class PurgeOperations:
    """The handler.  spam: None of a daemon without models.  clock: Unix time."""

    def __init__(self, spam: SpamSide | None, greylist: Greylist, records: Records, clock: Callable[[], float]) -> None:
        self._spam = spam
        self._records = records
        self._greylist = greylist
        self._clock = clock

    def routes(self) -> Iterator[Route]:
        """The operation with more and more of its path."""
        for path, what in (
            ("", "Purge what expires"),
            ("/{store}", "Purge what expires of a store"),
            ("/{store}/{prefix}", "Purge keys of a kind"),
            ("/{store}/{prefix}/{account_id}", "Purge keys of a kind of an account"),
        ):
            yield Route(
                method="GET",
                path=_PATH + path,
                permission="purge-in-memory-store",
                handler=self.purge,
                summary=what,
                area="store",
                operation=56,
            )

    async def purge(self, call: Call) -> None:
        """Forget; done when it is answered."""
        if call.path.get("store", _STORE) != _STORE:
            raise Problem(*NOT_FOUND)
        prefix, account = call.path.get("prefix", ""), call.path.get("account_id", "")
        try:
            total = await self._forget(prefix, account)
        except DatabaseError as error:
            raise other("The models cannot be changed now", str(error)) from None
        if total is not None:
            details = f"{prefix} {account}".rstrip()
            manage.ACTION(
                call.span, account_name=call.caller.name, type_="purge", details=details, total=total, reason=""
            )

    async def _forget(self, prefix: str, account: str) -> int | None:
        """How many entries of the kind went; None: only what has expired was asked for."""
        if prefix == "greylist":
            return self._greylist.forget("")
        if prefix in _RECORDS:
            return self._records.forget_kind(_RECORDS[prefix])
        if prefix == "bayes-global":
            return await self._bayes.reset(EVERYBODY)
        if prefix == "bayes-account":
            return await self._bayes.reset(account.lower() or None)
        self._greylist.sweep(self._clock())
        if self._spam is not None:
            await self._spam.bayes.sweep()
        return None

    @property
    def _bayes(self) -> Bayes:
        if self._spam is None:
            raise Failure("unsupported", details="There is no spam filter")
        return self._spam.bayes
