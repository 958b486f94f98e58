"""Whatever a client sends in a SCRAM exchange: it is refused, or it was one."""

from __future__ import annotations

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from relayd.directory.scram import BadExchange, Exchange, decoy, parse_first

_PIECES = st.sampled_from(b"n,,|y,|p=x,|a=b,|n=user|n=|r=abc|,|=2C|=|c=biws|p=AAAA|m=|\xff|\0".split(b"|"))


@given(st.binary(max_size=200) | st.lists(_PIECES, max_size=10).map(b"".join))
def test_first_messages(message: bytes) -> None:
    with contextlib.suppress(BadExchange):
        first = parse_first(message)
        assert first.login
        assert first.nonce
        assert (first.header + first.bare).encode() == message


@given(st.binary(max_size=200) | st.lists(_PIECES, max_size=10).map(b"".join))
def test_final_messages_of_who_has_no_password(message: bytes) -> None:
    exchange = Exchange(parse_first(b"n,,n=user,r=abc"), decoy(b"", "user"), "nonce")
    with contextlib.suppress(BadExchange):
        assert exchange.finish(message) is None
