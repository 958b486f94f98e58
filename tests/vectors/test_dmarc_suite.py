"""The DMARC cases of mailauth's tests, read against RFC 9989; what RFC 9989 says otherwise is listed with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from relayd.mailauth.authors import authors_of
from relayd.mailauth.dmarc import Identifiers, evaluate
from relayd.mailauth.dmarc_discovery import TreeWalk
from relayd.mailauth.dmarc_record import DmarcRecord, is_record, read_record
from relayd.mailauth.findings import DmarcFinding
from relayd.resolver.answer import Answer, ResolveError, Temporary
from relayd.resolver.zone import TIMEOUT, Zone
from tests.rig.peers import require_suite

_PCT = "Should handle invalid pct value as 0"
_EQUALS = "Should handle tags starting with equals"
_UNDERSIZED = "Should report an undersized DKIM signature even when strict alignment rejects it"

ERRATA = {
    (_PCT, "pct"): "pct is no tag of RFC 9989; by RFC 7489 §6.3 a bad value counts as absent, which is 100",
    (_EQUALS, "false"): "how that parser holds what is no tag; RFC 9989 §4.8 has it ignored",
    (_UNDERSIZED, "alignment.dkim.underSized"): "what l= leaves out is said by DKIM's finding",
}
"""(case, what it looks at) -> why ours differs."""


class Counting(Zone):
    """A zone that lists the TXT questions."""

    def __init__(self, names: Mapping[str, Mapping[str, Any]]) -> None:
        super().__init__(names)
        self.asked: list[str] = []

    async def txt(self, name: str) -> Answer[bytes]:
        self.asked.append(name)
        return await super().txt(name)


def _zone(names: dict[str, dict[str, Any]]) -> Counting:
    return Counting(
        {
            name: {
                type: TIMEOUT if isinstance(found, dict) else found for type, found in types.items() if type == "TXT"
            }
            for name, types in names.items()
        }
    )


async def _call(call: dict[str, Any]) -> tuple[Any, list[str]]:
    zone = _zone(call["zone"])
    if call["fn"] == "getDmarcRecord":
        texts = (await zone.txt(f"_dmarc.{call['domain']}")).records
        return next(read_record(text) for text in texts if is_record(text)), zone.asked
    authors = call["headerFrom"] if isinstance(call["headerFrom"], list) else [call["headerFrom"]]
    identifiers = Identifiers(
        spf=next((each["domain"] for each in call["spfDomains"]), ""),
        dkim=tuple(each["domain"] for each in call["dkimDomains"]),
    )
    values = [(each if "@" in each else f"x@{each}").encode() for each in authors]
    return await evaluate(TreeWalk(zone), authors_of(values), identifiers), zone.asked


def _at(found: Any, path: str) -> Any:
    """What stands at a path of that library's answer, in ours."""
    if isinstance(found, DmarcRecord):
        if path == "":
            return {"v": "DMARC1"}
        return found.pct if path == "pct" else found.tags.get(path, False)
    assert isinstance(found, DmarcFinding)
    record = read_record(found.record.encode())
    return {
        "": found.result == "pass" and found,
        "status.result": found.result,
        "policy": found.requested,
        "domain": found.organizational or found.policy_domain,
        "rr": found.record,
        "p": record.policy,
        "sp": record.subdomains,
        "pct": record.pct,
        "alignment.dkim.result": _aligned(found, "".join(found.dkim[:1]), record.strict_dkim),
        "alignment.spf.result": _aligned(found, found.spf, record.strict_spf),
        "alignment.dkim.strict": record.strict_dkim,
        "alignment.spf.strict": record.strict_spf,
    }[path]


def _aligned(found: DmarcFinding, identifier: str, is_strict: bool) -> str | None:
    """That library names the organisational domain where alignment is relaxed."""
    if not identifier:
        return None
    return identifier if is_strict else found.organizational or identifier


def _holds(check: str, value: Any, args: list[Any]) -> bool:
    match check:
        case "to.equal" | "to.deep.equal":
            return bool(value == args[0])
        case "to.contain":
            return args[0] in value
        case "to.be.true":
            return value is True
        case "to.be.false":
            return value is False
        case "to.not.be.ok" | "to.be.undefined":
            return not value
        case "to.be.an":
            return isinstance(value, dict)
    raise AssertionError(check)


async def _wrong(case: dict[str, Any]) -> list[str]:
    found: list[Any] = []
    asked: list[str] = []
    for call in case["calls"]:
        try:
            answer, asked = await _call(call)
        except ResolveError as error:
            answer = error
        found.append(answer)
    wrong = []
    for expect in case["expect"]:
        if (case["name"], expect["path"]) in ERRATA:
            continue
        if expect["call"] is None:
            if expect["args"] == ["ETIMEOUT"]:
                good = isinstance(found[0], Temporary)
            elif expect["args"] == ["number"]:
                good = isinstance(found[0].pct, int)
            else:
                good = asked == expect["args"][0]
        elif isinstance(found[expect["call"]], ResolveError):
            good = expect["assert"] == "to.be.false"
        else:
            good = _holds(expect["assert"], _at(found[expect["call"]], expect["path"]), expect["args"])
        if not good:
            wrong.append(f"{case['name']}: {expect}: {found} {asked}")
    return wrong


async def test_every_case() -> None:
    cases = json.loads((require_suite("dmarc") / "cases.json").read_text())
    assert len(cases) >= 30
    assert {name for name, _ in ERRATA} <= {case["name"] for case in cases}
    assert [wrong for case in cases for wrong in await _wrong(case)] == []
