"""What is asked to be rehearsed comes from a URL: whatever it is, it is an errand, or said to be none."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relayd.delivery.errand import direct_errand, errand, only_way
from relayd.routing.options import OutboundOptions
from relayd.routing.route import Router

ROUTER = Router(OutboundOptions())
RECIPIENT = st.text(max_size=80) | st.text("ab@.[]:<>\"'%-_é1 \r\n\0", max_size=40)


@given(RECIPIENT)
def test_no_text_breaks_out_of_a_command_line(recipient: str) -> None:
    for found in (direct_errand(recipient, 25), errand(ROUTER, only_way, recipient, "")):
        assert found.hops
        if not found.problem:
            assert found.address.isprintable()
            assert found.hops[0].host
            assert not set(found.hops[0].host) & set(" \r\n\0<>@")
