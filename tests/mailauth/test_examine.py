"""All checks of a message together."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from typing import Any

import pytest

from relayd.mailauth.apart import run_apart
from relayd.mailauth.arc import ChainVerifier
from relayd.mailauth.canonical import BodyDigests
from relayd.mailauth.dkim_verify import Verifier
from relayd.mailauth.examine import Body, Content, Examined, Examiner, Sender, Surroundings, body_of
from relayd.mailauth.findings import Policy, Result
from relayd.mailauth.options import AuthOptions
from relayd.mailauth.signature import FieldSelector
from relayd.options import section_of
from relayd.resolver.answer import Answer, NoName, Resolver
from relayd.resolver.zone import Zone
from tests.mailauth import signing
from tests.mailauth.signing import MESSAGE, NOW, parts, rule, signed

ADDRESS = ipaddress.ip_address("192.0.2.1")
SENDER = Sender(address=ADDRESS, helo="mail.example.org", return_path="joe@example.org")
NAMES: dict[str, dict[str, Any]] = {
    "example.org": {"TXT": ["v=spf1 ip4:192.0.2.1 exp=why.example.org -all"]},
    "why.example.org": {"TXT": ["%{i} is not ours"]},
    "mail.example.org": {"A": ["192.0.2.1"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mail.example.org"]},
    "rsa._domainkey.example.org": {"TXT": [signing.key("rsa").record()]},
    "ed25519._domainkey.example.org": {"TXT": [signing.key("ed25519").record()]},
    "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject"]},
}
ZONE = Zone(NAMES)


def options(**given: str) -> AuthOptions:
    built: AuthOptions = section_of(AuthOptions).build({key.replace("__", "."): value for key, value in given.items()})
    return built


def around(resolver: Resolver = ZONE, bugs: list[str] | None = None) -> Surroundings:
    seen = bugs if bugs is not None else []
    return Surroundings(resolver=resolver, now=NOW, clock=lambda: 0.0, on_bug=lambda check, error: seen.append(check))


def content(message: bytes, body: Body | None = None) -> Content:
    header, octets = parts(message)
    return Content(header=header, body=body or body_of(octets))


async def examined(
    message: bytes = MESSAGE, resolver: Resolver = ZONE, sender: Sender = SENDER, **given: Any
) -> Examined:
    return await Examiner(options(**given)).examine(sender, content(message), around(resolver))


async def test_every_check_is_made() -> None:
    found = await examined(signed(MESSAGE, rule("rsa"), rule("ed25519")))
    findings = found.findings
    assert findings.spf_ehlo is not None
    assert findings.spf_ehlo.result is Result.NONE
    assert findings.arc is not None
    assert findings.arc.result is Result.NONE
    for each in (findings.spf_mail_from, findings.iprev, findings.ehlo, findings.dmarc):
        assert each is not None
        assert each.result is Result.PASS
    assert [each.result for each in findings.dkim or ()] == [Result.PASS, Result.PASS]
    assert {"spf-ehlo", "spf-from", "iprev", "ehlo", "dkim", "arc", "dmarc"} <= set(found.elapsed)


@pytest.mark.parametrize("name", ["spf__verify__ehlo", "spf__verify__mail-from", "dkim__verify", "arc__verify"])
async def test_a_disabled_check_is_not_made(name: str) -> None:
    given: dict[str, Any] = {name: "disabled"}
    findings = (await examined(signed(MESSAGE), **given)).findings
    found = {
        "spf__verify__ehlo": findings.spf_ehlo,
        "spf__verify__mail-from": findings.spf_mail_from,
        "dkim__verify": findings.dkim,
        "arc__verify": findings.arc,
    }
    assert [key for key, value in found.items() if value is None] == [name]


@pytest.mark.parametrize(
    ("sender", "given"),
    [
        (SENDER, {"dkim__verify": "disabled"}),
        (SENDER, {"spf__verify__mail-from": "disabled"}),
        (Sender(address=None, helo="x.test", return_path="a@b.test", unknown="why not"), {}),
    ],
)
async def test_dmarc_does_not_fail_for_what_was_not_looked_at(sender: Sender, given: dict[str, Any]) -> None:
    stranger = Sender(address=sender.address, helo="x.test", return_path="a@b.test", unknown=sender.unknown)
    dmarc = (await examined(sender=stranger, **given)).findings.dmarc
    assert dmarc is not None
    assert (dmarc.result, dmarc.policy) == (Result.NONE, Policy.NONE)
    assert dmarc.problem
    dmarc = (await examined(sender=Sender(address=ADDRESS, helo="x.test", return_path="a@b.test"))).findings.dmarc
    assert dmarc is not None
    assert (dmarc.result, dmarc.policy) == (Result.FAIL, Policy.REJECT)


async def test_why_spf_fails_is_asked_for_where_it_is_told_to_the_peer() -> None:
    sender = Sender(address=ipaddress.ip_address("192.0.2.9"), helo="x.test", return_path="joe@example.org")
    for mode, explanation in [("strict", "192.0.2.9 is not ours"), ("relaxed", "")]:
        given: dict[str, Any] = {"spf__verify__mail-from": mode}
        finding = (await examined(sender=sender, **given)).findings.spf_mail_from
        assert finding is not None
        assert (finding.result, finding.explanation) == (Result.FAIL, explanation)


async def test_policies_are_found_as_configured() -> None:
    names = {**NAMES, "_dmarc.example.org": {}, "_dmarc.org": {"TXT": ["v=DMARC1; p=quarantine; psd=y"]}}
    sender = Sender(address=ADDRESS, helo="x.test", return_path="a@b.test")
    for way, domain in [("tree-walk", "org"), ("public-suffix-list", "")]:
        found = await examined(resolver=Zone(names), sender=sender, dmarc__discovery=way)
        assert found.findings.dmarc is not None
        assert found.findings.dmarc.policy_domain == domain


class Gate:
    """A resolver whose answers all come at once, when nobody asks any more."""

    def __init__(self, inner: Zone) -> None:
        self.inner = inner
        self.asked: list[str] = []
        self.opened = asyncio.Event()

    async def _wait(self, name: str) -> None:
        self.asked.append(name)
        await self.opened.wait()

    async def mx(self, name: str) -> Answer[Any]:
        await self._wait(name)
        return await self.inner.mx(name)

    async def addresses(self, name: str, family: int) -> Answer[str]:
        await self._wait(name)
        return await self.inner.addresses(name, family)

    async def txt(self, name: str) -> Answer[bytes]:
        await self._wait(name)
        return await self.inner.txt(name)

    async def ptr(self, address: str) -> Answer[str]:
        await self._wait(address)
        return await self.inner.ptr(address)

    async def tlsa(self, name: str) -> Answer[Any]:
        return await self.inner.tlsa(name)


async def settled(gate: Gate) -> list[str]:
    """What has been asked when nothing more comes without an answer."""
    before = -1
    while len(gate.asked) > before:
        before = len(gate.asked)
        for _ in range(10):
            await asyncio.sleep(0)
    asked, gate.asked = sorted(gate.asked), []
    return asked


async def test_questions_are_asked_side_by_side() -> None:
    gate = Gate(ZONE)
    examiner = Examiner(options())
    task = asyncio.ensure_future(examiner.of_sender(SENDER, around(gate)))
    assert await settled(gate) == ["192.0.2.1", "example.org", "mail.example.org", "mail.example.org"]
    gate.opened.set()
    known = await task
    gate.opened.clear()
    gate.asked.clear()
    message = content(signed(MESSAGE, rule("rsa"), rule("ed25519")))
    task2 = asyncio.ensure_future(examiner.of_content(message, known, around(gate)))
    names = ["_dmarc.example.org", "ed25519._domainkey.example.org", "rsa._domainkey.example.org"]
    assert await settled(gate) == names
    gate.opened.set()
    assert (await task2).findings.dmarc is not None
    assert gate.asked == [], "nothing is asked twice"


class Broken(Zone):
    """A resolver with a bug."""

    async def txt(self, name: str) -> Answer[bytes]:
        raise ZeroDivisionError


async def test_a_bug_hurts_no_other_check() -> None:
    bugs: list[str] = []
    examiner = Examiner(options())
    found = await examiner.examine(SENDER, content(signed(MESSAGE)), around(Broken(NAMES), bugs))
    findings = found.findings
    assert findings.iprev is not None
    assert findings.iprev.result is Result.PASS
    for each in (findings.spf_ehlo, findings.spf_mail_from, findings.dmarc, *(findings.dkim or ())):
        assert each is not None
        assert each.result is Result.TEMPERROR
    assert {"spf-ehlo", "spf-from", "dkim", "dmarc"} <= set(bugs)


async def test_a_body_that_cannot_be_read_is_no_finding() -> None:
    async def lost(digests: BodyDigests) -> None:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await Examiner(options()).examine(SENDER, content(signed(MESSAGE), body=lost), around())


async def test_a_body_that_is_not_hashed_in_time_leaves_the_rest() -> None:
    async def slow(digests: BodyDigests) -> None:
        raise TimeoutError

    found = await Examiner(options()).examine(SENDER, content(signed(MESSAGE), body=slow), around())
    assert [each.result for each in found.findings.dkim or ()] == [Result.TEMPERROR]
    assert found.findings.dmarc is not None
    assert found.findings.dmarc.result is Result.PASS  # by SPF


async def test_a_long_body_in_memory_lets_others_have_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    digests = BodyDigests()
    await body_of(b"0123456789abcdef" * 65536)(digests)
    task.cancel()
    assert digests.received == 1 << 20
    assert turns >= 15


async def test_computing_apart_asks_on_the_loop() -> None:
    header, octets = parts(signed(signed(MESSAGE), rule("ed25519")))
    body = BodyDigests()
    fields = FieldSelector(header)
    verifier, chain = Verifier(fields, body), ChainVerifier(fields, body)
    signing.digests(body, octets)
    home = threading.get_ident()
    threads: list[int] = []

    async def apart(work: Any) -> Any:
        def watched() -> Any:
            threads.append(threading.get_ident())
            return work()

        return await asyncio.to_thread(watched)

    class Watched(Zone):
        async def txt(self, name: str) -> Answer[bytes]:
            assert threading.get_ident() == home
            if name.startswith("ed25519"):
                raise NoName(name)
            return await super().txt(name)

    await run_apart(lambda resolver: verifier.finish(resolver, NOW), Watched(NAMES), apart)
    assert [each.result for each in verifier.findings] == [Result.PERMERROR, Result.PASS]
    assert len(threads) == 3
    assert home not in threads
    await run_apart(lambda resolver: chain.finish(resolver, NOW), Watched(NAMES), apart)
    assert chain.finding.result is Result.NONE


async def test_what_fails_in_a_step_is_raised() -> None:
    async def bug(resolver: Resolver) -> None:
        await resolver.txt("example.org")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run_apart(bug, ZONE, asyncio.to_thread)
