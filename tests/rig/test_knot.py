"""The rig's DNSSEC is what it claims to be."""

from __future__ import annotations

import time

import pytest

from relayd.events.event import EventStream, Span
from relayd.resolver.answer import Temporary
from relayd.resolver.live import LiveResolver
from relayd.resolver.options import ResolverOptions
from tests.rig.knot import SignedDns


async def test_what_is_signed_is_secure_and_what_is_bogus_is_no_answer() -> None:
    names = {f"mx.{zone}": {"A": ["192.0.2.1"]} for zone in ("signed.test", "unsigned.test", "bogus.test")}
    with SignedDns(names) as dns:
        options = ResolverOptions(custom=(f"udp://127.0.0.1:{dns.port}",), timeout=5.0, attempts=1)
        resolver = LiveResolver(options, Span(EventStream(time.time)))
        try:
            assert (await resolver.addresses("mx.signed.test", 4)).secure
            assert not (await resolver.addresses("mx.unsigned.test", 4)).secure
            with pytest.raises(Temporary):
                await resolver.addresses("mx.bogus.test", 4)
        finally:
            await resolver.close()
