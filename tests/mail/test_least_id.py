"""The least id of a time: what searches by time begin with."""

from __future__ import annotations

import pytest

from relayd.mail.snowflake import EPOCH, Snowflakes, least_issued_at


@pytest.mark.parametrize("at", [EPOCH, EPOCH + 0.001, 1795237200.25])
def test_it_is_at_or_before_every_id_of_that_time_and_after_those_before(at: float) -> None:
    assert least_issued_at(at) <= Snowflakes(0).issue(at) < least_issued_at(at + 0.002)


def test_it_stays_within_63_bits() -> None:
    assert least_issued_at(0.0) == 0
    assert least_issued_at(1e30) == (1 << 63) - 1
