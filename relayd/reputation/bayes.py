"""The statistical models: `<data-dir>/bayes.db`, everybody's and each account's, learnt from mail people sorted.

A database of its own with one owner: it may be deleted, full or broken without touching mail; scoring then goes on
without the model.  What a message is asked about is answered from memory: everybody's model, and those of the accounts
asked for last, as far as `spam-filter.bayes.max-tokens` goes.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path

from relayd.database.interface import DatabaseError
from relayd.database.sqlite import SqliteDatabase, open_sqlite
from relayd.events import spam as events
from relayd.events import store as store_events
from relayd.events.event import Span
from relayd.reputation import bayes_rows as rows
from relayd.spam.bayes import Estimate, Learnt, Model, packed
from relayd.spam.options import BayesOptions

FILE = "bayes.db"
EVERYBODY = ""
"""The account of the model that counts for all."""
ACCOUNTS_IN_MEMORY = 16
_PURGE = 3600.0
"""Seconds between two expiries."""


class Bayes:
    """The models of one data directory that this process has locked.  clock: Unix time."""

    def __init__(self, directory: Path, clock: Callable[[], float], span: Span) -> None:
        self.options = BayesOptions()
        self._path = directory / FILE
        self._clock = clock
        self._span = span
        self._database: SqliteDatabase | None = None
        self._learnt: dict[str, Learnt] = {}
        self._models: OrderedDict[str, Model] = OrderedDict()
        self._changing = asyncio.Lock()
        self._purge_at = 0.0

    async def open(self) -> None:
        """Open the database and read everybody's model.  One that cannot be opened is an event: mail goes on."""
        try:
            self._database = await open_sqlite(self._path, rows.MIGRATIONS, self._span, on_broken=lambda reason: None)
            await self._reload()
        except DatabaseError as error:
            store_events.BROKEN(self._span, path=str(self._path), reason=str(error))

    async def _reload(self) -> None:
        database = self._opened()
        self._learnt = {name: Learnt(*counts) for name, counts in (await database.read(rows.models)).items()}
        self._models.clear()
        await self.load(EVERYBODY)

    def _opened(self) -> SqliteDatabase:
        if self._database is None:
            raise DatabaseError("the database of the models is not open")
        return self._database

    async def close(self) -> None:
        """Close the database."""
        if self._database is not None:
            database, self._database = self._database, None
            await database.close()

    @property
    def is_open(self) -> bool:
        """Whether there is a database."""
        return self._database is not None

    async def copy_to(self, path: Path) -> None:
        """A consistent copy in a new file.  Raises DatabaseError."""
        await self._opened().copy_to(path)

    @property
    def learnt(self) -> dict[str, Learnt]:
        """What each account's model has learnt; "" is everybody's."""
        return self._learnt

    def has_learnt_enough(self, account: str) -> bool:
        """Whether a model has seen enough of either kind to speak."""
        learnt = self._learnt.get(account)
        least = self.options.min_learns
        return learnt is not None and learnt.spam >= least and learnt.ham >= least

    async def load(self, account: str) -> Model | None:
        """The model of an account, from memory or from disk; None when it has learnt nothing.  DatabaseError."""
        if account in self._models:
            self._models.move_to_end(account)
            return self._models[account]
        learnt = self._learnt.get(account)
        if learnt is None:
            return None
        async with self._changing:
            found = await self._opened().read(partial(rows.tokens_of, account=account, most=self.options.max_tokens))
            tokens = await asyncio.to_thread(_packed, found)
            model = self._models[account] = Model(self._learnt.get(account, learnt), tokens)
            while len(self._models) > ACCOUNTS_IN_MEMORY + 1:
                oldest = next(name for name in self._models if name != EVERYBODY)
                del self._models[oldest]
            return model

    async def estimate(self, tokens: bytes, account: str = EVERYBODY) -> tuple[Estimate, str] | None:
        """What the account's own model says, else everybody's, and whose spoke; None when neither can.

        DatabaseError.
        """
        if not self.options.enable:
            return None
        for name in dict.fromkeys((account, EVERYBODY)):
            if not self.has_learnt_enough(name):
                continue
            model = await self.load(name)
            if model is None:
                continue
            found = model.estimate(rows.signed(tokens))
            if found is not None:
                return found, name
        return None

    async def train(
        self, tokens: bytes, digest: bytes, *, spam: bool, account: str = EVERYBODY, automatic: bool = False
    ) -> bool:
        """Learn a message.  digest: of its content, by which it can be forgotten.

        automatic: nobody asked for it in so many words (mail released or deleted): not learnt, and False, while its
        kind is over its share of all.  DatabaseError.
        """
        kind = "spam" if spam else "ham"
        if automatic and self._is_over_share(account, spam=spam):
            events.TRAIN_BALANCE(self._span, account_name=account, result=kind)
            return False
        now = self._clock()
        work = partial(rows.learn, account=account, digest=digest, tokens=rows.signed(tokens), spam=spam, now=now)
        async with self._changing:
            await self._opened().write(work)
            self._count(account, tokens, spam=spam, by=1)
        events.TRAIN(self._span, account_name=account, result=kind, total=len(tokens) // 8)
        return True

    async def forget(self, tokens: bytes, digest: bytes, *, spam: bool, account: str = EVERYBODY) -> bool:
        """Take back a message that was learnt as that kind, once; False: it was not.  DatabaseError."""
        work = partial(rows.unlearn, account=account, digest=digest, tokens=rows.signed(tokens), spam=spam)
        async with self._changing:
            done = await self._opened().write(work)
            if done:
                self._count(account, tokens, spam=spam, by=-1)
        if done:
            kind = "not spam" if spam else "not ham"
            events.TRAIN(self._span, account_name=account, result=kind, total=len(tokens) // 8)
        return done

    async def reset(self, account: str | None) -> int:
        """Drop the model of an account, of everybody (""), or those of all accounts (None); how many."""
        async with self._changing:
            gone = await self._opened().write(partial(rows.forget_model, account=account))
            for name in list(self._learnt):
                if name == account or (account is None and name != EVERYBODY):
                    del self._learnt[name]
                    self._models.pop(name, None)
        return gone

    async def sweep(self) -> None:
        """Forget what is past its time or over the limit, when it is due; called often.  DatabaseError."""
        now = self._clock()
        if self._database is None or now < self._purge_at:
            return
        self._purge_at = now + _PURGE
        work = partial(rows.expire, before=now - self.options.expire, most=self.options.max_tokens)
        gone = 0
        while removed := await self._database.write(work):
            gone += removed
        if gone:
            async with self._changing:
                names = list(self._models)
                self._models.clear()
            for name in names:
                await self.load(name)

    def _is_over_share(self, account: str, *, spam: bool) -> bool:
        learnt = self._learnt.get(account, Learnt())
        total = learnt.spam + learnt.ham
        if total < self.options.min_learns:
            return False
        return (learnt.spam if spam else learnt.ham) > self.options.balance * total

    def _count(self, account: str, tokens: bytes, *, spam: bool, by: int) -> None:
        learnt = self._learnt.get(account, Learnt())
        learnt = Learnt(learnt.spam + by * spam, learnt.ham + by * (not spam))
        self._learnt[account] = learnt
        model = self._models.get(account)
        if model is None and account == EVERYBODY:
            model = self._models[account] = Model(learnt, {})
        if model is not None:
            model.learnt = learnt
            model.change(rows.signed(tokens), spam=spam, by=by, most=self.options.max_tokens)


def _packed(found: list[tuple[int, int, int]]) -> dict[int, int]:
    return {token: packed(spam, ham) for token, spam, ham in found}
