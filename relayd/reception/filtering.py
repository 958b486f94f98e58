"""Outside filters on the live path: milters at each stage of a session, scanners and milters at the end of data.

The order at the end of data: the checks of who sent it; scanners begin, and spam scoring asks them for tags; milters
see the message as it would be queued, one after the other; then what all ask for is done, scanners first; then signing
and sealing, over what milters made of it.  Milters see the header without our Received.  A recipient that a milter adds
is taken as it is: the milter is ours.  A message that is discarded, or left with no recipient, is answered 250, counted
and gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from relayd import __version__
from relayd.events import milter as milter_events
from relayd.filters.changes import Change, Edited
from relayd.filters.milter_macros import Facts
from relayd.filters.milters import Content, Milters, MilterSession
from relayd.filters.options import ScanOptions
from relayd.filters.ruling import Ruling
from relayd.filters.scan import Outcome, Scan, Scannable
from relayd.filters.scanning import Scanners
from relayd.mail.address import AddressError, mailbox_key, parse_address
from relayd.mail.header import HeaderBlock, HeaderField, fold
from relayd.mail.reply import Reply
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_sign import want_signed
from relayd.reception.assessing import Subject
from relayd.reception.client import Client
from relayd.reception.head import Head, Marks
from relayd.reception.transaction import Accepted, Discarded, Refused, Transaction
from relayd.smtp.command import MailCommand, RcptCommand
from relayd.spam.tag import Tag, plain

BLOCK = 256 << 10
"""Octets of a file that are read at once."""

RESULT = "X-Scan-Result"


class Filtered(msgspec.Struct, frozen=True):
    """A message as filters leave it."""

    head: Head
    content: bytes | Path
    marks: Marks


class Filtering:
    """hostname: ours.  clock: seconds, steady."""

    def __init__(
        self,
        scanners: Scanners,
        milters: Milters,
        options: ScanOptions,
        hostname: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.scanners = scanners
        self.milters = milters
        self.options = options
        self.hostname = hostname
        self._clock = clock
        self._scans: dict[int, asyncio.Task[Sequence[Scan]]] = {}

    async def connect(self, client: Client) -> Reply | None:
        """A session begins, or XCLIENT says that its client is another."""
        if client.milters is not None:
            client.milters.close()
        client.milters = self.milters.session(client.listener, partial(self._facts, client), client.span)
        if client.milters is None:
            return None
        return _session_reply(await client.milters.connect())

    async def helo(self, client: Client) -> Reply | None:
        """EHLO, HELO or LHLO."""
        return None if client.milters is None else _session_reply(await client.milters.helo())

    async def mail(self, tx: Transaction, command: MailCommand) -> Reply | None:
        """MAIL, that we would answer 250."""
        parameters = []
        if command.size:
            parameters.append(f"SIZE={command.size}")
        if command.body != "7BIT":
            parameters.append(f"BODY={command.body}")
        if command.smtputf8:
            parameters.append("SMTPUTF8")
        return _reply(await _milters(tx).mail(tx.id, tx.sender, tuple(parameters)))

    async def rcpt(self, tx: Transaction, command: RcptCommand) -> Reply | None:
        """RCPT, likewise."""
        return _reply(await _milters(tx).rcpt(command.address))

    async def data(self, tx: Transaction) -> Reply | None:
        """DATA, or the first BDAT."""
        return _reply(await _milters(tx).data())

    def begin(self, tx: Transaction, head: Head, content: bytes | Path) -> None:
        """Give the complete message to the scanners; `scans_of` has what they say.  `end` must follow."""
        if self.scanners and tx.id not in self._scans:
            octets = partial(_octets, head.octets, content, head.replaces)
            work = self._scan(tx, head, octets)
            self._scans[tx.id] = asyncio.get_running_loop().create_task(work, name=f"scans of {tx.id}")

    async def scans_of(self, queue_id: int) -> Sequence[Scan]:
        """What scanners say of a message that was begun."""
        task = self._scans.get(queue_id)
        return () if task is None else await asyncio.shield(task)

    def end(self, tx: Transaction) -> None:
        """The transaction is over, however it ended."""
        if tx.client.milters is not None:
            tx.client.milters.abort()
        task = self._scans.pop(tx.id, None)
        if task is not None:
            task.cancel()

    async def content(self, tx: Transaction, head: Head, content: bytes | Path, marks: Marks) -> Filtered:
        """At the end of data.  Refused, Discarded."""
        self.begin(tx, head, content)
        until = self._clock() + self.options.timeout
        edited = _edited(tx, head)
        scans, ruling = await asyncio.gather(self.scans_of(tx.id), self._show(tx, edited, head, content, until))
        self._apply_scans(tx, scans)
        reply = _reply(ruling)
        if reply is not None:
            raise Refused(reply)
        if tx.client.milters is not None and tx.client.milters.is_discarding:
            raise Discarded("a milter discards it")
        _apply_envelope(tx, edited.envelope)
        fields = _fields(scans)
        if self.scanners and not tx.trusted and edited.block.remove((RESULT,)):
            edited.done.append(RESULT)  # a stranger wrote it in our name
        if edited.done or fields:
            return await _changed(tx, head, content, marks, edited, fields)
        return Filtered(head, content, marks)

    async def _scan(self, tx: Transaction, head: Head, octets: Callable[[], AsyncIterator[bytes]]) -> Sequence[Scan]:
        client = tx.client
        message = Scannable(
            queue_id=tx.id,
            size=len(head.octets) + tx.body.scanner.size - head.replaces,
            octets=octets,
            hostname=self.hostname,
            address="" if client.address is None else client.address_text,
            client_name=client.name,
            helo=client.helo,
            account=client.account or "",
            return_path=tx.sender,
            recipients=tuple(tx.given),
            trusted=tx.trusted,
        )
        return await self.scanners.scan(message, self.options.timeout, client.span)

    def _apply_scans(self, tx: Transaction, scans: Sequence[Scan]) -> None:
        verdict = self.scanners.verdict(scans)
        if verdict.reply is not None:
            raise Refused(verdict.reply)
        if verdict.action == "discard":
            raise Discarded(verdict.why)
        if verdict.action == "hold" and tx.held is None:
            tx.held, tx.held_by = verdict.why, verdict.by

    async def _show(
        self, tx: Transaction, edited: Edited, head: Head, content: bytes | Path, until: float
    ) -> Ruling | None:
        milters = tx.client.milters
        if milters is None:
            return None
        begin = 0 if head.is_all else len(tx.body.header) + 2
        shown = Content(size=tx.body.scanner.size, body=partial(_octets, b"", content, begin), until=until)
        return await milters.content(edited, shown)

    def _facts(self, client: Client) -> Facts:
        return Facts(
            hostname=self.hostname,
            listener=client.listener,
            trusted=client.trusted,
            address="" if client.address is None else client.address_text,
            port=client.port,
            client_name=client.name if client.name != "unknown" or client.address is None else f"[{client.address}]",
            helo=client.helo,
            esmtp=client.esmtp,
            local_address=client.local_address,
            local_port=client.local_port,
            tls=client.tls or "",
            cipher=client.tls_cipher,
            account=client.account or "",
            version=__version__,
        )


class ScannerTags:
    """What scanners say, as a source of tags (`scoring.TagSource`)."""

    def __init__(self, filtering: Filtering) -> None:
        self._filtering = filtering

    async def tags(self, subject: Subject) -> Sequence[Tag]:
        """A tag for each scanner that found something or failed."""
        return [tag for scan in await self._filtering.scans_of(subject.queue_id) if (tag := _tag(scan)) is not None]


_FOUND = {"clamd": "CLAM_VIRUS", "spamd": "SPAMASSASSIN_SPAM", "rspamd": "RSPAMD_SPAM"}


def _tag(scan: Scan) -> Tag | None:
    if scan.outcome is Outcome.FAILED:
        return Tag("SCAN_FAILED", f"the scanner {scan.id} gave no answer", scan.what)
    if scan.outcome is not Outcome.FOUND:
        return None
    evidence = scan.what if scan.is_virus else ", ".join(list(scan.symbols)[:20])
    return Tag(_FOUND[scan.type], f"found by the scanner {scan.id}", plain(evidence))


def _milters(tx: Transaction) -> MilterSession:
    assert tx.client.milters is not None
    return tx.client.milters


def _reply(ruling: Ruling | None) -> Reply | None:
    return None if ruling is None else ruling.reply


def _session_reply(ruling: Ruling | None) -> Reply | None:
    """Replies to a connection or a greeting carry no enhanced code (RFC 2034 §4)."""
    reply = _reply(ruling)
    return None if reply is None else Reply(reply.code, "", reply.text)


def _edited(tx: Transaction, head: Head) -> Edited:
    """The header as it would be queued, but for our Received."""
    octets = head.octets.removesuffix(b"\r\n") if head.is_all else head.octets + tx.body.header[head.replaces :]
    block = HeaderBlock.parse(octets)
    own = next(place for place, field in enumerate(block.fields) if field.name == "Received")
    del block.fields[own]
    return Edited(block, own)


async def _octets(head: bytes, content: bytes | Path, begin: int) -> AsyncIterator[bytes]:
    """The head, then the content from `begin` on."""
    if head:
        yield head
    if isinstance(content, bytes):
        for at in range(begin, len(content), BLOCK):
            yield content[at : at + BLOCK]
        return
    file = await asyncio.to_thread(_opened, content, begin)
    try:
        while octets := await asyncio.to_thread(file.read, BLOCK):
            yield octets
    finally:
        file.close()


def _opened(path: Path, begin: int) -> IO[bytes]:
    file = path.open("rb")
    file.seek(begin)
    return file


def _fields(scans: Sequence[Scan]) -> bytes:
    """What tells the reader of a message that was found something in, and let through."""
    fields = b""
    for scan in scans:
        if scan.outcome not in (Outcome.FOUND, Outcome.NOT_NOW):
            continue
        said = f"{scan.id}; {'infected' if scan.is_virus else 'spam'}; {scan.what}"
        if scan.score is not None:
            said += f"; score={scan.score:g}"
        if scan.required is not None:
            said += f"; required={scan.required:g}"
        fields += fold(RESULT, said)
    return fields


async def _changed(
    tx: Transaction, head: Head, content: bytes | Path, marks: Marks, edited: Edited, fields: bytes
) -> Filtered:
    """The message with the changes made."""
    if edited.body is not None:
        content = await _with_body(tx, head, edited.body)
        if marks.sealable is not None:
            digests = await asyncio.to_thread(_digests, edited.body)
            marks = msgspec.structs.replace(marks, sealable=msgspec.structs.replace(marks.sealable, body=digests))
    block = edited.block
    block.fields.insert(edited.own, _received(head))
    block.prepend(fields)
    octets = block.encode()
    if block.fields and not octets.endswith(b"\r\n"):
        octets += b"\r\n"
    signed = "DKIM-Signature" in block
    message_id = head.message_id if edited.body is None and not edited.done else _identity(block)
    replaces = 0 if head.is_all else len(tx.body.header)
    if head.is_all:
        octets += b"\r\n"
    head = msgspec.structs.replace(head, octets=octets, replaces=replaces, message_id=message_id, signed=signed)
    return Filtered(head, content, marks)


def _received(head: Head) -> HeaderField:
    """Our own field, as it was composed."""
    return next(field for field in HeaderBlock.parse(head.octets).fields if field.name == "Received")


def _identity(block: HeaderBlock) -> str:
    value = (block.first("Message-ID") or b"").decode("utf-8", "replace").strip()
    return value if value.startswith("<") and value.endswith(">") and len(value) <= 998 else ""


async def _with_body(tx: Transaction, head: Head, body: bytes) -> bytes | Path:
    """Content with another body, taken for the one that came; BlobError."""
    if head.is_all:
        return await tx.body.put(body)
    header = tx.body.header
    if header and not header.endswith(b"\r\n"):
        header += b"\r\n"
    return await tx.body.put(header + b"\r\n" + body)


def _digests(body: bytes) -> BodyDigests:
    digests = BodyDigests()
    want_signed(digests)
    digests.feed(body)
    digests.finish()
    return digests


def _apply_envelope(tx: Transaction, changes: Sequence[Change]) -> None:
    """Discarded when no recipient is left."""
    for change in changes:
        if change.what == "hold":
            if tx.held is None:
                tx.held, tx.held_by = change.value, change.by
            continue
        try:
            address = parse_address(change.value, smtputf8=tx.smtputf8) if change.value or change.what != "from" else ""
        except AddressError as error:
            milter_events.CHANGE_REFUSED(
                tx.client.span, id=change.by, queue_id=tx.id, details=f"{change.what} {change.value}", reason=error.text
            )
            continue
        if change.what == "from":
            tx.return_path = address
        elif change.what == "add":
            _add(tx, address)
        else:
            _delete(tx, address)
    if not tx.recipients:
        raise Discarded("a milter took every recipient out")


def _add(tx: Transaction, address: str) -> None:
    key = mailbox_key(address)
    if all(mailbox_key(each.address) != key for each in tx.recipients):
        tx.recipients.append(Accepted(address))
        tx.expanded += 1


def _delete(tx: Transaction, address: str) -> None:
    """A recipient, or all for whom the one that the client gave stands."""
    key = mailbox_key(address)
    kept = [each for each in tx.recipients if mailbox_key(each.address) != key and each.stands_for != key]
    tx.discarded += len(tx.recipients) - len(kept)
    tx.recipients = kept
