"""Where our own signatures end that a message begins with."""

from __future__ import annotations

import pytest

from relayd.delivery.content import split_signatures

OURS = b"DKIM-Signature: v=1;\r\n\tb=x\r\n"


@pytest.mark.parametrize(
    ("octets", "length"),
    [
        (OURS + b"Received: x\r\n", len(OURS)),
        (OURS + OURS + b"Received: x\r\n" + OURS, 2 * len(OURS)),
        (b"Received: x\r\n" + OURS, 0),
        (OURS, len(OURS)),
        (OURS[:-2], 0),
        (b"", 0),
    ],
)
def test_signatures_on_top_are_split_off(octets: bytes, length: int) -> None:
    assert split_signatures(octets) == (octets[:length], octets[length:])
