"""What engine and worker say to each other: MessagePack behind four octets of length."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import msgspec

from relayd.spam.facts import Facts, Scanned
from relayd.spam.message import MAX_OCTETS
from relayd.spam.origin import Origin
from relayd.spam.ruleset import Ruleset

HEAD = 4
MAX_FRAME = 64 << 20


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The first frame: by what to scan, and how much that may cost.

    suffixes: path of a public suffix list, None for the installed one.  plugins: "module:function" of rules.
    places: where modules are looked for, as the engine does (`sys.path`).  cpu: seconds of a scan.  memory: octets of
    the process.
    """

    ruleset: Ruleset
    plugins: tuple[str, ...] = ()
    suffixes: str | None = None
    places: tuple[str, ...] = ()
    cpu: float = 2.0
    memory: int = 200 << 20


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A message: its content, or the path of the file that holds it.  facts: the fields of `Facts` by name, the
    client's address as text.
    """

    facts: dict[str, Any]
    size: int = 0
    content: bytes = b""
    path: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, or why nothing was; elapsed: seconds of CPU."""

    scanned: Scanned | None = None
    problem: str = ""
    elapsed: float = 0.0


def request(content: bytes | Path, facts: Facts, size: int) -> Request:
    """What asks for a scan.  content: what of it is not looked at is left out."""
    fields = msgspec.structs.asdict(facts)
    fields["address"] = "" if facts.address is None else str(facts.address)
    fields["origin"] = msgspec.structs.asdict(facts.origin)
    if isinstance(content, Path):
        return Request(facts=fields, size=size, path=str(content))
    return Request(facts=fields, size=size, content=content[:MAX_OCTETS])


def facts_of(asked: Request) -> Facts:
    """The facts of a request, whole again."""
    fields = asked.facts
    address = ipaddress.ip_address(fields["address"]) if fields["address"] else None
    whole = {"address": address, "recipients": tuple(fields["recipients"]), "origin": Origin(**fields["origin"])}
    return Facts(**{**fields, **whole})


def frame(value: Setup | Request | Answer) -> bytes:
    """A value as octets with their length."""
    octets = msgspec.msgpack.encode(value)
    return len(octets).to_bytes(HEAD, "big") + octets
