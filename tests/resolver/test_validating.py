"""DNSSEC by a real validating resolver: what is secure, what is not, and what is forged."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from relayd.events.event import EventStream, Span
from relayd.resolver.answer import NoData, NoName, Temporary, Tlsa
from relayd.resolver.live import LiveResolver
from relayd.resolver.options import ResolverOptions
from tests.rig.unbound import Unbound

RECORDS = f"""\
@ IN MX 10 mx
mx IN A 192.0.2.1
alias IN CNAME mx
_25._tcp.mx IN TLSA 3 1 1 {"ab" * 32}
"""


@asynccontextmanager
async def asking(unbound: Unbound) -> AsyncIterator[LiveResolver]:
    options = ResolverOptions(custom=(f"udp://127.0.0.1:{unbound.port}",), timeout=5.0, attempts=1)
    resolver = LiveResolver(options, Span(EventStream(time.time)))
    yield resolver
    await resolver.close()


async def test_what_a_signed_zone_answers_is_secure_and_what_another_answers_is_not() -> None:
    with Unbound(RECORDS) as unbound:
        async with asking(unbound) as resolver:
            for zone, secure in (("signed.test", True), ("unsigned.test", False)):
                assert (await resolver.mx(zone)).secure is secure
                assert (await resolver.addresses(f"mx.{zone}", 4)).secure is secure
                alias = await resolver.addresses(f"alias.{zone}", 4)
                assert (alias.secure, alias.canonical) == (secure, f"mx.{zone}")
                answer = await resolver.tlsa(f"_25._tcp.mx.{zone}")
                assert (answer.secure, answer.records) == (secure, (Tlsa(3, 1, 1, b"\xab" * 32),))
                with pytest.raises(NoName):
                    await resolver.tlsa(f"_25._tcp.nowhere.{zone}")
                with pytest.raises(NoData):
                    await resolver.tlsa(zone)


async def test_a_record_that_was_changed_after_signing_is_no_answer() -> None:
    with Unbound(RECORDS, spoiled=("ab" * 32, "cd" * 32)) as unbound:
        async with asking(unbound) as resolver:
            assert (await resolver.mx("signed.test")).secure
            with pytest.raises(Temporary):
                await resolver.tlsa("_25._tcp.mx.signed.test")
            assert (await resolver.tlsa("_25._tcp.mx.unsigned.test")).records
