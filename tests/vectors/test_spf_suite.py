"""The openspf suite for RFC 7208: every scenario's zone, every test's result and explanation."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from typing import Any

from relayd.mailauth.spf import SpfClient, SpfResult, check_host
from relayd.resolver.answer import Temporary
from relayd.resolver.zone import TIMEOUT, Zone, canonical_name
from tests.rig.peers import require_suite

RECEIVER = "receiver.example"


class SuiteZone(Zone):
    """A zone as the suite writes it; a name "error.*" that is not there is a temporary error."""

    def __init__(self, zonedata: dict[str, list[Any]]) -> None:
        super().__init__({name: _types(entries) for name, entries in zonedata.items()}, ttl=0)
        self._there = {canonical_name(name) for name in zonedata}

    def _find(self, name: str, type: str) -> tuple[str, Sequence[object]]:
        if canonical_name(name).startswith("error.") and canonical_name(name) not in self._there:
            raise Temporary(f"{name}: the suite says so")
        return super()._find(name, type)


def _types(entries: list[Any]) -> dict[str, Any]:
    """Types of one name: an SPF entry is a TXT one too, unless the name has TXT entries of its own."""
    types: dict[str, Any] = {}
    for entry in entries:
        if entry == "TIMEOUT":
            types["*"] = TIMEOUT
            continue
        for type, value in entry.items():
            if value == "TIMEOUT":
                types[type] = TIMEOUT
            else:
                types.setdefault(type, []).append(value)
    spf = types.pop("SPF", None)
    if "TXT" not in types and spf is not None:
        types["TXT"] = spf
    if types.get("TXT") == ["NONE"]:
        del types["TXT"]
    if "TXT" in types and types["TXT"] != TIMEOUT:
        types["TXT"] = [_octets(value) for value in types["TXT"]]
    return types


def _octets(value: str | list[str]) -> bytes:
    return "".join(value).encode("latin-1")


async def _run(test: dict[str, Any], zone: Zone) -> SpfResult:
    client = SpfClient(address=ipaddress.ip_address(test["host"]), helo=test["helo"], receiver=RECEIVER)
    sender = test["mailfrom"] or f"postmaster@{test['helo']}"
    return await check_host(zone, client, sender.rpartition("@")[2], sender)


async def test_every_case() -> None:
    wrong = []
    count = 0
    for scenario in json.loads((require_suite("spf") / "rfc7208.json").read_text()):
        zone = SuiteZone(scenario["zonedata"])
        for name, test in scenario["tests"].items():
            count += 1
            found = await _run(test, zone)
            allowed = test["result"] if isinstance(test["result"], list) else [test["result"]]
            words = test.get("explanation")
            explained = words is None or found.explanation == ("" if words == "DEFAULT" else words)
            if found.result != allowed[0] or not explained:
                wrong.append((name, allowed, words, found))
    assert wrong == []
    assert count >= 100
