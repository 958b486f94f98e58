"""What milters change of a message: header, body, envelope.  Pure.

What a milter says is made well formed or refused: no value can end its field, no body has a bare CR or LF.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from relayd.filters import milter_wire as wire
from relayd.filters.milter_wire import Code, MilterReply
from relayd.mail.header import HeaderBlock, HeaderField

_NAME = re.compile(rb"[!-9;-~]{1,200}")
_NEWLINES = re.compile(rb"\r\n|\r|\n")
_FOLD = re.compile(rb"\n(?![ \t])")
_BLANK_LINES = re.compile(rb"\n[ \t]*(?=\n|\Z)")
_MAX_LINE = 998


class Change(msgspec.Struct, frozen=True):
    """A change of the envelope.  what: "add", "delete", "from" or "hold"; value: an address, "" too, or a reason.
    by: the id of the milter, once it is noted.
    """

    what: str
    value: str
    by: str = ""


class Edited(msgspec.Struct):
    """A message as milters leave it.  fields: of the header that they see.  own: the place of our Received among them,
    which they do not see.  body: a new one, None where it stays.  refused: (change, why) of what was not done.
    done: names of what was.
    """

    block: HeaderBlock
    own: int
    body: bytes | None = None
    envelope: list[Change] = []
    refused: list[tuple[str, str]] = []
    done: list[str] = []

    def copied(self) -> Edited:
        """As it is now."""
        return msgspec.structs.replace(
            self, block=HeaderBlock(list(self.block.fields)), envelope=list(self.envelope), done=list(self.done)
        )

    def take(self, other: Edited) -> None:
        """Be as `other` is."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(other, name))


def apply(edited: Edited, changes: Sequence[MilterReply], *, keeps_space: bool) -> None:
    """Make the changes of one milter, in their order.  keeps_space: it says the blank behind the colon itself.

    WireError when one of them cannot be read; those before it are made then, and are to be taken back.
    """
    body: list[bytes] | None = None
    for change in changes:
        if change.code is Code.REPLACE_BODY:
            body = [] if body is None else body
            body.append(change.data)
            continue
        problem = _CHANGES[change.code](edited, change, keeps_space)
        if problem:
            edited.refused.append((change.code.name, problem))
        else:
            edited.done.append(change.code.name)
    if body is not None:
        edited.body = _NEWLINES.sub(b"\r\n", b"".join(body))
        edited.done.append(Code.REPLACE_BODY.name)


def _add_header(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    name, value, *_ = wire.strings(change, 2)
    field = make_field(name, value, keeps_space)
    if field is None:
        return "not the name of a field"
    _close(edited.block)
    edited.block.fields.append(field)
    return ""


def _insert_header(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    """The place counts our Received: 0 is above it, 1 below, when it is the topmost."""
    place, name, value = wire.numbered(change)
    field = make_field(name, value, keeps_space)
    if field is None:
        return "not the name of a field"
    fields = edited.block.fields
    if place <= edited.own:
        edited.own += 1
    else:
        place -= 1
    if place >= len(fields):
        _close(edited.block)
    fields.insert(min(place, len(fields)), field)
    return ""


def _change_header(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    """The number counts the fields of the name from 1; an empty value takes it out; one that is not there is added."""
    number, name, value = wire.numbered(change)
    key = name.decode("ascii", "replace").lower()
    fields = edited.block.fields
    places = [place for place, field in enumerate(fields) if field.name.lower() == key]
    wanted = max(number, 1) - 1
    if wanted >= len(places):
        return _add_header(edited, MilterReply(change.code, change.data[4:]), keeps_space) if value else ""
    place = places[wanted]
    if not value.strip():
        del fields[place]
        edited.own -= place < edited.own
        return ""
    field = make_field(name, value, keeps_space)
    if field is None:
        return "not the name of a field"
    fields[place] = field
    return ""


def _add_rcpt(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    return _envelope(edited, "add", change)


def _delete_rcpt(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    return _envelope(edited, "delete", change)


def _change_from(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    return _envelope(edited, "from", change)


def _envelope(edited: Edited, what: str, change: MilterReply) -> str:
    text = wire.strings(change, 1)[0].decode("utf-8", "replace").strip()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    edited.envelope.append(Change(what, text))
    return ""


def _quarantine(edited: Edited, change: MilterReply, keeps_space: bool) -> str:
    reason = wire.strings(change, 1)[0].decode("utf-8", "replace")
    edited.envelope.append(Change("hold", " ".join(reason.split())[:200] or "quarantined"))
    return ""


_CHANGES: dict[Code, Callable[[Edited, MilterReply, bool], str]] = {
    Code.ADD_HEADER: _add_header,
    Code.INSERT_HEADER: _insert_header,
    Code.CHANGE_HEADER: _change_header,
    Code.ADD_RCPT: _add_rcpt,
    Code.ADD_RCPT_WITH: _add_rcpt,
    Code.DELETE_RCPT: _delete_rcpt,
    Code.CHANGE_FROM: _change_from,
    Code.QUARANTINE: _quarantine,
}


def make_field(name: bytes, value: bytes, keeps_space: bool) -> HeaderField | None:
    """A whole field of what a milter says; None when the name is none.  Lines over 998 octets are broken."""
    if not _NAME.fullmatch(name):
        return None
    text = _BLANK_LINES.sub(b"", _NEWLINES.sub(b"\n", value.rstrip(b"\r\n")))
    text = _FOLD.sub(b"\n\t", text)
    raw = name + (b":" if keeps_space else b": ") + text
    lines = []
    for line in raw.split(b"\n"):
        lines += [line[:_MAX_LINE]]
        rest = line[_MAX_LINE:]
        lines += [b" " + rest[at : at + _MAX_LINE - 1] for at in range(0, len(rest), _MAX_LINE - 1)]
    return HeaderField(name.decode("ascii"), b"\r\n".join(lines) + b"\r\n")


def _close(block: HeaderBlock) -> None:
    """A last line without CRLF gets one, or the next field would stand on it."""
    if block.fields and not block.fields[-1].raw.endswith(b"\r\n"):
        last = block.fields[-1]
        block.fields[-1] = HeaderField(last.name, last.raw + b"\r\n")
