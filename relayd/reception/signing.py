"""Signing what goes out (RFC 6376 §5): mail of trusted sessions, and what relayd writes itself.

A stranger's mail is never signed, whatever its From says; it is sealed (RFC 8617) where `auth.arc.seal` says so.  A
trusted sender's is signed when From names one domain that it may use: somebody who signed in, the domains of the
account's addresses; a trusted network or the submit socket, any that there is a signature for.  What relayd writes
itself comes from its own hostname: where no signature is for that, those of the nearest domain above it sign, which
DMARC takes as well.

It is signed as it will be sent, after all edits of the header.  A message that was converted for a host without
8BITMIME is signed again (`again`).  A signature that came with the message stays, but for one by a key that signs now.

Hashing and RSA run in two threads of their own: about a millisecond for a message, in which the loop serves others.
Bodies in files, which take up to a second, have a third one, so that small mail does not wait for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from relayd.events import signing as events
from relayd.events.event import Span
from relayd.mail.header import HeaderBlock, HeaderField, split_message
from relayd.mailauth.arc_seal import Sealable, Sealer, seal
from relayd.mailauth.authors import authors_of
from relayd.mailauth.canonical import BLOCK, BodyDigests
from relayd.mailauth.dkim_sign import SignatureRule, sign, signers, want_signed
from relayd.mailauth.findings import plain_domain
from relayd.mailauth.signature import SignatureError, read_signer, read_tags
from relayd.mailauth.signing_key import KeyUnreadable, SigningKey
from relayd.reception.head import Head, Marks
from relayd.reception.keyring import Keyring
from relayd.reception.transaction import Transaction

WORKERS = 2
WORKERS_OF_FILES = 1
_FIELD = "dkim-signature"
_TAGS = 4096

Keys = Sequence[tuple[SignatureRule, SigningKey]]
Body = Callable[[], Iterable[bytes]]


class Signing:
    """Makes signatures.  keyring: replaced at a reload.  span: the daemon's."""

    def __init__(self, keyring: Keyring, span: Span) -> None:
        self.keyring = keyring
        self._span = span
        self._workers = ThreadPoolExecutor(WORKERS, "signing")
        self._file_workers = ThreadPoolExecutor(WORKERS_OF_FILES, "signing-files")

    def close(self) -> None:
        """Let the threads end."""
        self._workers.shutdown(wait=False)
        self._file_workers.shutdown(wait=False)

    async def signed(self, tx: Transaction, head: Head, content: bytes | Path, now: float) -> Head:
        """The head with the signatures on top; now: Unix time.

        KeyUnreadable: it must be signed and cannot be.  OSError when the content cannot be read.
        """
        keyring = self.keyring
        if not tx.trusted or not keyring.rules:
            return head
        began = time.monotonic()
        below = tx.body.header[head.replaces :]
        block = HeaderBlock.parse(head.octets.removesuffix(b"\r\n") if head.is_all else head.octets + below)
        rules = self._rules(tx, block)
        if not rules:
            return head
        keys = await self._keys(rules, tx.id)
        octets, replaces = head.octets, head.replaces
        if head.signed and _take_out(block, keys):
            octets, replaces = block.encode(), len(tx.body.header)
        start = 0 if head.is_all else len(tx.body.header) + 2
        workers = self._workers if isinstance(content, bytes) else self._file_workers
        work = partial(_signatures, block, partial(_blocks, content, start), keys, now)
        fields = await asyncio.get_running_loop().run_in_executor(workers, work)
        elapsed = time.monotonic() - began
        for rule in rules:
            events.SIGNED(tx.client.span, queue_id=tx.id, domain=rule.domain, id=rule.id, elapsed=elapsed)
        return replace(head, octets=fields + octets, replaces=replaces)

    async def sealed(self, tx: Transaction, head: Head, marks: Marks, now: float) -> Head:
        """The head with an ARC set on top, where there is one to be made; now: Unix time.  KeyUnreadable."""
        id = tx.policy.options.auth.arc_seal
        if marks.sealable is None or id is None:
            return head
        rule = self.keyring.in_force(id)
        ((_, key),) = await self._keys((rule,), tx.id)
        sealer = Sealer(
            authserv_id=tx.policy.authserv_id, domain=rule.domain, selector=rule.selector, headers=rule.headers
        )
        header = head.octets + tx.body.header[head.replaces :]
        work = partial(_set_of, header, marks.sealable, sealer, key, now)
        fields = await asyncio.get_running_loop().run_in_executor(self._workers, work)
        if fields is None:
            return head
        events.SEALED(tx.client.span, queue_id=tx.id, domain=rule.domain, id=rule.id)
        return replace(head, octets=fields + head.octets)

    def _rules(self, tx: Transaction, block: HeaderBlock) -> tuple[SignatureRule, ...]:
        """The signatures that the message of a trusted session gets."""
        client = tx.client
        domain = _author(block)
        rules = signers(domain, tx.return_path, client.account, self.keyring.rules)
        if not rules or client.account is None:
            return rules
        if domain in {plain_domain(email.rpartition("@")[2]) for email in client.account_emails}:
            return rules
        events.NOT_SIGNED(
            client.span,
            queue_id=tx.id,
            domain=domain,
            account_name=client.account,
            reason="the account has no address there",
        )
        return ()

    async def own(self, message: bytes, id: int, now: float) -> bytes:
        """The signatures for a message that relayd wrote itself, to be put on top; b"" when it gets none.

        The keys are taken as they were last read.  KeyUnreadable: there is one that never could be.
        """
        header, rest = split_message(message)
        block = HeaderBlock.parse(header)
        rules = self._own_rules(_author(block))
        if not rules:
            return b""
        keys = []
        for rule in rules:
            key = self.keyring.known(rule.id)
            if key is None:
                raise self._unreadable(rule, id, self.keyring.problems.get(rule.id, ""))
            keys.append((rule, key))
        work = partial(_signatures, block, lambda: iter((rest[2:],)), keys, now)
        fields = await asyncio.get_running_loop().run_in_executor(self._workers, work)
        for rule in rules:
            events.SIGNED(self._span, queue_id=id, domain=rule.domain, id=rule.id)
        return fields

    async def again(self, signatures: bytes, message: BinaryIO) -> bytes:
        """The same signatures of ours (whole fields), made anew for a message that was converted.

        Read from where the file stands.  KeyUnreadable, also for a signature that is no longer configured.
        """
        keyring = self.keyring
        rules = {(each.domain, each.selector): each for each in map(keyring.rule, keyring.ids)}
        wanted = []
        for field in HeaderBlock.parse(signatures).fields:
            made_by = _made_by(field)
            rule = None if made_by is None else rules.get(made_by)
            if rule is None:
                raise KeyUnreadable("the key that signed the message is no longer configured")
            wanted.append(rule)
        keys = await self._keys(wanted, 0)
        fields = await asyncio.get_running_loop().run_in_executor(
            self._file_workers, partial(_signed_file, message, keys, self._span.stream.clock())
        )
        for rule in wanted:
            events.SIGNED_AGAIN(self._span, domain=rule.domain, id=rule.id)
        return fields

    def _own_rules(self, author: str) -> tuple[SignatureRule, ...]:
        rules = self.keyring.rules
        found = signers(author, "", None, rules)
        if found or not author:
            return found
        above = [each for each in rules if author.endswith("." + each.domain) and not each.accounts]
        longest = max((len(each.domain) for each in above), default=0)
        return tuple(each for each in above if len(each.domain) == longest)

    async def _keys(self, rules: Sequence[SignatureRule], id: int) -> Keys:
        try:
            return await self.keyring.keys(rules)
        except KeyUnreadable as error:
            raise self._unreadable(rules[0], id, str(error)) from None

    def _unreadable(self, rule: SignatureRule, id: int, reason: str) -> KeyUnreadable:
        events.KEY_UNREADABLE(self._span, queue_id=id, domain=rule.domain, id=rule.id, reason=reason)
        return KeyUnreadable(reason)


def _signatures(block: HeaderBlock, body: Body, keys: Keys, now: float) -> bytes:
    digests = BodyDigests()
    want_signed(digests)
    for octets in body():
        digests.feed(octets)
    digests.finish()
    return sign(block, digests, keys, now)


def _set_of(header: bytes, sealable: Sealable, sealer: Sealer, key: SigningKey, now: float) -> bytes | None:
    return seal(msgspec.structs.replace(sealable, header=HeaderBlock.parse(header)), sealer, key, now)


def _signed_file(message: BinaryIO, keys: Keys, now: float) -> bytes:
    begin = b""
    while b"\r\n\r\n" not in begin and (octets := message.read(BLOCK)):
        begin += octets
    header, rest = split_message(begin)

    def body() -> Iterator[bytes]:
        yield rest[2:]
        while octets := message.read(BLOCK):
            yield octets

    return _signatures(HeaderBlock.parse(header), body, keys, now)


def _blocks(content: bytes | Path, start: int) -> Iterator[bytes]:
    """The body: what stands in the content from `start` on."""
    if isinstance(content, bytes):
        yield content[start:]
        return
    with content.open("rb") as file:
        file.seek(start)
        while octets := file.read(BLOCK):
            yield octets


def _author(block: HeaderBlock) -> str:
    """The domain of the one author's address, "" when there is none or more than one."""
    fields = [field for field in block.fields if field.name.lower() == "from"]
    if len(fields) != 1:
        return ""
    authors = authors_of([fields[0].raw.partition(b":")[2]])
    return authors.domains[0] if len(authors.domains) == 1 and not authors.problem else ""


def _take_out(block: HeaderBlock, keys: Keys) -> bool:
    """Take out the signatures that were made with these keys before; whether there were any."""
    names = {(plain_domain(rule.domain), rule.selector) for rule, _ in keys}
    kept = [field for field in block.fields if field.name.lower() != _FIELD or _made_by(field) not in names]
    if len(kept) == len(block.fields):
        return False
    block.fields = kept
    return True


def _made_by(field: HeaderField) -> tuple[str, str] | None:
    """d= and s= of a signature."""
    if len(field.raw) > _TAGS:
        return None
    try:
        signer = read_signer(read_tags(field))
    except SignatureError:
        return None
    return signer.domain, signer.selector
