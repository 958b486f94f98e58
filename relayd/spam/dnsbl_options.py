"""Options of lists in the DNS: `dnsbl.<id>.*`, `session.data.dnsbl.*`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from relayd.options import BOOLEAN, DURATION, TEXT, TEXTS, OptionError, choice, integer, option, section
from relayd.spam.dns_list import SUBJECTS, BadAnswer, DnsList, parse_meaning
from relayd.spam.dnsbl_lists import KNOWN

_ZONE = re.compile(r"(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_-]{1,63}")


@section("session.data.dnsbl", "Lists in the DNS of addresses and domains, as a whole.")
@dataclass(frozen=True, slots=True, kw_only=True)
class DnsblOptions:
    """`session.data.dnsbl.*`"""

    timeout: float = option(DURATION, "5s", "How long all lists together may take of a message.")
    max_queries: int = option(integer(1, 1000), 50, "Questions of a message to each list.")
    pause: float = option(
        DURATION, "1h", "For how long a list is left alone that says it does not answer us, or answers nonsense."
    )


@section(
    "dnsbl.<id>",
    "Lists in the DNS. Known by id, to be enabled where their terms of use allow it: " + ", ".join(KNOWN) + ".",
)
@dataclass(frozen=True, slots=True, kw_only=True)
class DnsListOptions:
    """`dnsbl.<id>.*`"""

    enabled: bool = option(BOOLEAN, False, "Whether it is asked.", example=True)
    zone: str | None = option(TEXT, None, "Its zone. Not set: that of the known list.", example="bl.example.org")
    about: str | None = option(
        choice(*SUBJECTS),
        None,
        "What it is asked about: the client's address, addresses in Received, domains of links and of addresses, "
        "domains of DKIM signatures that pass, addresses of mail, links. Not set: as the known list has it.",
        example="client",
    )
    answers: tuple[str, ...] = option(
        TEXTS,
        [],
        'What its answers mean: "127.0.0.2=TAG"; "4-7" is a range, "&64" a bit, "*" anything; "!" in front: it does '
        "not answer. None: as the known list has it.",
        example=["127.0.0.2=RBL_EXAMPLE"],
    )
    hash: str | None = option(
        choice("none", "sha1", "md5"), None, "How addresses of mail and links are written in names.", example="none"
    )


def enabled_lists(records: Mapping[str, DnsListOptions]) -> tuple[DnsList, ...]:
    """The lists that are to be asked.  OptionError."""
    return tuple(_compiled(id, each) for id, each in sorted(records.items()) if each.enabled)


def _compiled(id: str, options: DnsListOptions) -> DnsList:
    known = KNOWN.get(id)
    zone = (options.zone or (known.zone if known else "")).strip(".").lower()
    about = options.about or (known.about if known else "client")
    if not _ZONE.fullmatch(zone):
        raise OptionError(f"dnsbl.{id}.zone: expected the name of a zone" if zone else f"dnsbl.{id}.zone: is required")
    try:
        meanings = tuple(map(parse_meaning, options.answers)) or (known.meanings if known else ())
    except BadAnswer as error:
        raise OptionError(f"dnsbl.{id}.answers: {error}") from None
    if not meanings:
        raise OptionError(f"dnsbl.{id}.answers: is required")
    hash = options.hash or (known.hash if known else "none")
    return DnsList(id=id, zone=zone, about=about, meanings=meanings, hash="" if hash == "none" else hash)
