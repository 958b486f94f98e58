"""The keys that sign, ready for use: which there are, which are in force, and what they are now.

A key written into the configuration is read when the keyring is made.  One in a file is read then too, and looked at
again, at most once a second and only when it is asked for, so that a file that was replaced is used at once, and one
that cannot be read is noticed.  What is asked for and cannot be read raises: mail that should be signed waits.

A signature that replaces another one waits until its key is published (`waiting`, `publish`); from then on it signs and
the other is retired.  Its DNS record is wanted until no signature of it can be under way any more (`wanted_until`).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from relayd.mailauth.dkim_sign import GRACE, SignatureRule, expiry
from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.mailauth.signing_key import KeyUnreadable, SigningKey, read_signing_key
from relayd.options import OptionError

LOOK_AGAIN = 1.0
"""Seconds after which a file is looked at again."""

MAX_FILE = 64 << 10
"""Octets of a file with a key."""

_Stamp = tuple[int, int, int]


class FileUnreadable(KeyUnreadable):
    """The file cannot be read now, whatever is in it."""


def read_key(source: PrivateKey, algorithm: str | None = None) -> SigningKey:
    """The key that `source` holds or points at; blocks.  KeyUnreadable."""
    return _checked(read_signing_key(source.pem or _text(source.path)), algorithm)


def _text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            octets = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FileUnreadable(f"{path}: {error.strerror}") from None
    if len(octets) > MAX_FILE or not octets.isascii():
        raise KeyUnreadable(f"{path} holds no private key")
    return octets.decode("ascii")


def _checked(key: SigningKey, algorithm: str | None) -> SigningKey:
    if algorithm is not None and key.algorithm != algorithm:
        raise KeyUnreadable(f"the key is for {key.algorithm}, and {algorithm} is wanted")
    return key


@dataclass(slots=True, kw_only=True)
class _Entry:
    """One signature.  key: None while it cannot be read, `problem` says why.  stamp: of its file when it was read."""

    rule: SignatureRule
    options: SignatureOptions
    published: float | None
    key: SigningKey | None = None
    problem: str = ""
    stamp: _Stamp | None = None
    looked: float = 0.0


class Keyring:
    """The signatures of a configuration.

    queue_expire: seconds after which the queue gives mail up.  monotonic: seconds, for looking at files again.  Reads
    every key, which takes tens of milliseconds for RSA: make it off the loop.  OptionError for a key that is wrong; a
    file that cannot be read is no error, `problems` has it.
    """

    def __init__(
        self, records: Mapping[str, SignatureOptions], queue_expire: float, monotonic: Callable[[], float]
    ) -> None:
        self._queue_expire = queue_expire
        self._monotonic = monotonic
        self._entries = {id: self._entry(id, options) for id, options in records.items()}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._settle()

    def _entry(self, id: str, options: SignatureOptions) -> _Entry:
        rule = SignatureRule(
            id=id,
            domain=options.domain,
            selector=options.selector,
            headers=options.headers,
            identity=options.identity or "",
            expire=expiry(options.expire, self._queue_expire),
            authors=options.authors,
            return_paths=options.return_paths,
            accounts=options.accounts,
            report=options.report,
        )
        entry = _Entry(rule=rule, options=options, published=options.published, looked=self._monotonic())
        try:
            self._read(entry)
        except FileUnreadable as error:
            entry.problem = str(error)
        except KeyUnreadable as error:
            raise OptionError(f"signature.{id}.private-key: {error}") from None
        return entry

    @staticmethod
    def _read(entry: _Entry) -> None:
        """Blocks.  KeyUnreadable."""
        source = entry.options.private_key
        entry.stamp = None
        if source.path:
            entry.stamp = _stamp(source.path)
        entry.key = read_key(source, entry.options.algorithm)
        entry.problem = ""

    def _settle(self) -> None:
        """Who signs, now."""
        entries = self._entries
        self.waiting = tuple(
            id for id, each in entries.items() if each.options.replaces in entries and each.published is None
        )
        taken = {each.options.replaces for each in entries.values() if each.published is not None}
        self.retired = tuple(id for id in entries if id in taken)
        unused = {*self.waiting, *self.retired}
        self.rules = tuple(each.rule for id, each in entries.items() if id not in unused)

    @property
    def problems(self) -> dict[str, str]:
        """Why keys cannot be read, by id of the signature."""
        return {id: each.problem for id, each in self._entries.items() if each.problem}

    def wanted_until(self, id: str) -> float | None:
        """Until when the DNS record of a signature must stay (Unix time); None: no end is known."""
        ends = [
            each.published + self._queue_expire + GRACE
            for each in self._entries.values()
            if each.options.replaces == id and each.published is not None
        ]
        return max(ends, default=None)

    def publish(self, id: str, now: float) -> None:
        """The DNS shows the key of a signature that waits: it is used from now on (Unix time)."""
        self._entries[id].published = now
        self._settle()

    @property
    def ids(self) -> tuple[str, ...]:
        """All signatures, those that do not sign now too."""
        return tuple(self._entries)

    def rule(self, id: str) -> SignatureRule:
        """One signature.  KeyError."""
        return self._entries[id].rule

    def in_force(self, id: str) -> SignatureRule:
        """The signature, or the one that has taken its place.  KeyError."""
        found = id
        for _ in self._entries:
            heirs = (
                heir
                for heir, each in self._entries.items()
                if each.options.replaces == found and each.published is not None
            )
            heir = next(heirs, None)
            if heir is None:
                break
            found = heir
        return self._entries[found].rule

    def replaced(self, id: str) -> str:
        """The id of the signature that this one takes the place of, "" for none.  KeyError."""
        return self._entries[id].options.replaces or ""

    def known(self, id: str) -> SigningKey | None:
        """The key as it was last read, without looking; None when it never could be.  KeyError."""
        return self._entries[id].key

    async def keys(self, rules: Iterable[SignatureRule]) -> list[tuple[SignatureRule, SigningKey]]:
        """The keys of these signatures as they are now.  KeyUnreadable, its text begins with the id."""
        found = []
        for rule in rules:
            entry = self._entries[rule.id]
            if entry.options.private_key.path and self._monotonic() - entry.looked >= LOOK_AGAIN:
                await self._look(rule.id, entry)
            if entry.problem or entry.key is None:
                raise KeyUnreadable(f"{rule.id}: {entry.problem}")
            found.append((rule, entry.key))
        return found

    async def key(self, id: str) -> SigningKey:
        """The key of one signature, for sealing.  KeyUnreadable; KeyError."""
        return (await self.keys((self.rule(id),)))[0][1]

    async def _look(self, id: str, entry: _Entry) -> None:
        """Look at the file again; whoever asks meanwhile waits for the same look."""
        task = self._reading.get(id)
        if task is None:
            task = self._reading[id] = asyncio.ensure_future(asyncio.to_thread(self._renew, entry))
            task.add_done_callback(lambda _: self._reading.pop(id, None))
        await asyncio.shield(task)

    def _renew(self, entry: _Entry) -> None:
        try:
            if entry.problem or _stamp(entry.options.private_key.path) != entry.stamp:
                self._read(entry)
        except KeyUnreadable as error:
            entry.problem = str(error)
        entry.looked = self._monotonic()


def _stamp(path: str) -> _Stamp:
    try:
        found = os.stat(path)
    except OSError as error:
        raise FileUnreadable(f"{path}: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size, found.st_ino
