"""Whether the DNS shows a record that a domain should have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from relayd.resolver.answer import NoData, NoName, ResolveError, Resolver

OK, MISSING, DIFFERENT, UNKNOWN, UNCHECKED = "ok", "missing", "different", "unknown", "unchecked"
"""As it should be; not there; there, and another; nobody could say now; of a type that is not asked for (SRV)."""

_VERSION = re.compile(r"v=[A-Za-z0-9]+", re.IGNORECASE)


async def checked(resolver: Resolver, type: str, name: str, content: str) -> tuple[str, str]:
    """The state of a record and what was found, "" where that says nothing.  name: with its final dot."""
    name = name.rstrip(".")
    try:
        match type:
            case "MX":
                return await _mx(resolver, name, content)
            case "TXT":
                return await _txt(resolver, name, content)
            case "CNAME":
                return await _cname(resolver, name, content)
            case "TLSA":
                return await _tlsa(resolver, name, content)
            case _:
                return UNCHECKED, ""
    except (NoName, NoData):
        return MISSING, ""
    except ResolveError as error:
        return UNKNOWN, str(error)


async def _mx(resolver: Resolver, name: str, content: str) -> tuple[str, str]:
    """One of the hosts is ours; its preference is the domain's own affair."""
    records = (await resolver.mx(name)).records
    ours = content.split()[-1].rstrip(".")
    shown = ", ".join(f"{each.preference} {each.exchange}." for each in records)
    return (OK if any(each.exchange == ours for each in records) else DIFFERENT), shown


async def _txt(resolver: Resolver, name: str, content: str) -> tuple[str, str]:
    """One record of that kind, saying the same; others may stand beside it."""
    texts = [each.decode("utf-8", "replace") for each in (await resolver.txt(name)).records]
    kind = _kind(content)
    alike = [each for each in texts if _kind(each) == kind]
    if not alike:
        return MISSING, ""
    if len(alike) > 1:
        return DIFFERENT, f"{len(alike)} records: {', '.join(alike)}"
    return (OK if _parts(alike[0]) == _parts(content) else DIFFERENT), alike[0]


async def _cname(resolver: Resolver, name: str, content: str) -> tuple[str, str]:
    """An alias of the host, or the host's own addresses."""
    target = content.rstrip(".")
    answer = await _addresses(resolver, name)
    if answer[0] == target or set(answer[1]) & set((await _addresses(resolver, target))[1]):
        return OK, ""
    return DIFFERENT, ", ".join(answer[1])


async def _addresses(resolver: Resolver, name: str) -> tuple[str, Sequence[str]]:
    """The name at the end of the aliases, and its addresses of either family.  Raises NoName, NoData."""
    try:
        answer = await resolver.addresses(name, 4)
    except NoData:
        answer = await resolver.addresses(name, 6)
    return answer.canonical, answer.records


async def _tlsa(resolver: Resolver, name: str, content: str) -> tuple[str, str]:
    shown = [str(each) for each in (await resolver.tlsa(name)).records]
    return (OK if content in shown else DIFFERENT), ", ".join(shown)


def _kind(text: str) -> str:
    """By what a TXT record is told from others at its name; a key's may lack its version."""
    match = _VERSION.match(text)
    return match[0].lower() if match is not None else ("v=dkim1" if "p=" in text else "")


def _parts(text: str) -> list[str]:
    """A record without the blanks and case that mean nothing."""
    if text.lower().startswith("v=spf1"):
        return text.lower().split()
    return [re.sub(r"\s", "", each) for each in text.split(";") if each.strip()]
