"""The milter protocol as the mail server speaks it, version 6: frames, commands, replies.  Pure.

A frame is four octets of length, one of the command or reply, and data.  Nothing here trusts the milter: a frame has a
bound, a reply that does not parse raises WireError.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Iterator, Mapping

import msgspec

VERSION = 6
OLDEST_VERSION = 2
MAX_CHUNK = 65535
"""Octets of body in one command (MILTER_CHUNK_SIZE)."""
MAX_FRAME = 1 << 20
"""Octets of a reply that are taken (MILTER_MDS_1M)."""
MAX_FIELD = 65535
"""Octets of a header field that are sent; what is longer is cut."""


class Command(bytes, enum.Enum):
    """What the server says."""

    ABORT = b"A"
    BODY = b"B"
    CONNECT = b"C"
    MACRO = b"D"
    END_OF_BODY = b"E"
    HELO = b"H"
    QUIT_NEW_CONNECTION = b"K"
    HEADER = b"L"
    MAIL = b"M"
    END_OF_HEADERS = b"N"
    NEGOTIATE = b"O"
    QUIT = b"Q"
    RCPT = b"R"
    DATA = b"T"


class Code(bytes, enum.Enum):
    """What the milter answers."""

    ADD_RCPT = b"+"
    DELETE_RCPT = b"-"
    ADD_RCPT_WITH = b"2"
    SHUTDOWN = b"4"
    NEGOTIATE = b"O"
    ACCEPT = b"a"
    REPLACE_BODY = b"b"
    CONTINUE = b"c"
    DISCARD = b"d"
    CHANGE_FROM = b"e"
    CONNECTION_FAILURE = b"f"
    ADD_HEADER = b"h"
    INSERT_HEADER = b"i"
    CHANGE_HEADER = b"m"
    PROGRESS = b"p"
    QUARANTINE = b"q"
    REJECT = b"r"
    SKIP = b"s"
    TEMPORARY_FAILURE = b"t"
    REPLY_CODE = b"y"


class Actions(enum.IntFlag):
    """What a milter may do to a message (SMFIF_*)."""

    ADD_HEADERS = 0x01
    CHANGE_BODY = 0x02
    ADD_RCPT = 0x04
    DELETE_RCPT = 0x08
    CHANGE_HEADERS = 0x10
    QUARANTINE = 0x20
    CHANGE_FROM = 0x40
    ADD_RCPT_WITH = 0x80
    SET_MACROS = 0x100


class Steps(enum.IntFlag):
    """Which steps a milter leaves out (NO_*), or does not answer (QUIET_*) (SMFIP_*)."""

    NO_CONNECT = 0x01
    NO_HELO = 0x02
    NO_MAIL = 0x04
    NO_RCPT = 0x08
    NO_BODY = 0x10
    NO_HEADERS = 0x20
    NO_END_OF_HEADERS = 0x40
    QUIET_HEADERS = 0x80
    NO_UNKNOWN = 0x100
    NO_DATA = 0x200
    MAY_SKIP = 0x400
    QUIET_CONNECT = 0x1000
    QUIET_HELO = 0x2000
    QUIET_MAIL = 0x4000
    QUIET_RCPT = 0x8000
    QUIET_DATA = 0x10000
    QUIET_UNKNOWN = 0x20000
    QUIET_END_OF_HEADERS = 0x40000
    QUIET_BODY = 0x80000
    LEADING_SPACE = 0x100000


ALL_ACTIONS = Actions(0x1FF)
ALL_STEPS = Steps(sum(Steps))

_OFFERABLE = 0xFFFFFFF
"""Bits of the steps; those above are about the size of packets, and libmilter's own."""

STAGE_NUMBERS = ("connect", "helo", "mail", "rcpt", "data", "eom", "eoh")
"""Names of the stages by the number that a list of macros has (SMFIM_*)."""

NEEDS: Mapping[Code, Actions] = {
    Code.ADD_HEADER: Actions.ADD_HEADERS,
    Code.INSERT_HEADER: Actions.ADD_HEADERS,
    Code.CHANGE_HEADER: Actions.CHANGE_HEADERS,
    Code.REPLACE_BODY: Actions.CHANGE_BODY,
    Code.ADD_RCPT: Actions.ADD_RCPT,
    Code.ADD_RCPT_WITH: Actions.ADD_RCPT_WITH,
    Code.DELETE_RCPT: Actions.DELETE_RCPT,
    Code.CHANGE_FROM: Actions.CHANGE_FROM,
    Code.QUARANTINE: Actions.QUARANTINE,
}
"""What must have been negotiated for a reply."""


class WireError(Exception):
    """The milter said what the protocol does not allow."""


class FrameTooLarge(WireError):
    """A reply is longer than MAX_FRAME."""


class Negotiated(msgspec.Struct, frozen=True):
    """What a milter wants.  macros: by stage, where it names those that it wants."""

    version: int
    actions: Actions
    steps: Steps
    macros: Mapping[str, frozenset[str]] = {}


class MilterReply(msgspec.Struct, frozen=True):
    """One frame of a milter."""

    code: Code
    data: bytes = b""


def frame(command: Command, data: bytes = b"") -> bytes:
    """A command as octets."""
    return struct.pack(">I", len(data) + 1) + command.value + data


def frame_length(prefix: bytes) -> int:
    """Octets of the frame behind its four octets of length.  WireError."""
    (length,) = struct.unpack(">I", prefix)
    if length < 1:
        raise WireError("an empty frame")
    if length > MAX_FRAME:
        raise FrameTooLarge(f"a frame of {length} octets")
    return int(length)


def read_reply(octets: bytes) -> MilterReply:
    """A frame without its length.  WireError."""
    try:
        return MilterReply(Code(octets[:1]), octets[1:])
    except ValueError:
        raise WireError(f"a reply of no known kind, {octets[:1]!r}") from None


def negotiate() -> bytes:
    """What the server offers."""
    return frame(Command.NEGOTIATE, struct.pack(">III", VERSION, ALL_ACTIONS, ALL_STEPS))


def read_negotiated(reply: MilterReply) -> Negotiated:
    """What the milter chose of it.  WireError."""
    if reply.code is not Code.NEGOTIATE or len(reply.data) < 12:
        raise WireError("no answer to the negotiation")
    version, actions, steps = struct.unpack(">III", reply.data[:12])
    if not OLDEST_VERSION <= version <= VERSION:
        raise WireError(f"protocol version {version}")
    if actions & ~int(ALL_ACTIONS) or steps & ~int(ALL_STEPS) & _OFFERABLE:
        raise WireError(f"wants what was not offered: actions {actions:#x}, steps {steps:#x}")
    wanted = Steps(steps & int(ALL_STEPS))
    return Negotiated(version, Actions(actions), wanted, dict(_macro_lists(reply.data[12:])))


def _macro_lists(data: bytes) -> Iterator[tuple[str, frozenset[str]]]:
    while data:
        if len(data) < 5 or (end := data.find(b"\0", 4)) < 0:
            raise WireError("a list of macros without its end")
        (number,) = struct.unpack(">I", data[:4])
        if number >= len(STAGE_NUMBERS):
            raise WireError(f"a list of macros for stage {number}")
        names = data[4:end].decode("ascii", "replace").replace(",", " ").split()
        yield STAGE_NUMBERS[number], frozenset(map(macro_name, names))
        data = data[end + 1 :]


def macro_name(name: str) -> str:
    """The name as it is sent: longer than one character in braces."""
    bare = name.strip("{}")
    return bare if len(bare) == 1 else "{" + bare + "}"


def macros(stage: Command, values: Iterable[tuple[str, str]]) -> bytes:
    """The macros that hold from `stage` on."""
    return frame(Command.MACRO, stage.value + b"".join(_text(name) + _text(value) for name, value in values))


def connect(name: str, address: str, port: int) -> bytes:
    """Who connected.  address: IPv4 or IPv6, "" when it is none (a Unix socket)."""
    if not address:
        return frame(Command.CONNECT, _text(name) + b"U")
    family = b"6" if ":" in address else b"4"
    text = f"IPv6:{address}" if ":" in address else address
    return frame(Command.CONNECT, _text(name) + family + struct.pack(">H", port) + _text(text))


def arguments(command: Command, *values: str) -> bytes:
    """HELO, MAIL or RCPT with what stands behind it."""
    return frame(command, b"".join(map(_text, values)))


def header(name: bytes, value: bytes) -> bytes:
    """One field."""
    return frame(Command.HEADER, name + b"\0" + value.replace(b"\0", b" ")[:MAX_FIELD] + b"\0")


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape").replace(b"\0", b" ") + b"\0"


def strings(reply: MilterReply, least: int, *, begin: int = 0) -> list[bytes]:
    """The texts of a reply, each ended by a NUL, at least so many.  WireError."""
    data = reply.data[begin:]
    parts = data.split(b"\0")
    if len(parts) <= least or parts[-1]:
        raise WireError(f"the reply {reply.code.name} is not made of texts")
    return parts[:-1]


def numbered(reply: MilterReply) -> tuple[int, bytes, bytes]:
    """(number, name, value) of INSERT_HEADER and CHANGE_HEADER.  WireError."""
    if len(reply.data) < 4:
        raise WireError(f"the reply {reply.code.name} has no number")
    (number,) = struct.unpack(">I", reply.data[:4])
    name, value, *_ = strings(reply, 2, begin=4)
    return number, name, value
