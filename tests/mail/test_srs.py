"""Rewritten return paths lead back, for as long as they should, and only those that we made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mail.address import AddressError, parse_address
from relayd.mail.srs import DAY, MAX_AGE, BadSrs, SrsKeys, forward, is_rewritten, reverse

KEYS = SrsKeys((b"first", b"before"))
NOW = 1_800_000_000.0


def rewritten(address: str, ours: str = "ours.test", keys: SrsKeys = KEYS, now: float = NOW) -> str:
    found = forward(address, ours, keys, now)
    assert found is not None
    return found


def local_of(address: str) -> str:
    return address.rpartition("@")[0]


def test_an_address_leads_back_to_where_it_came_from() -> None:
    address = rewritten("jane@sender.test")
    assert address.startswith("SRS0=")
    assert address.endswith("=sender.test=jane@ours.test")
    assert reverse(local_of(address), KEYS, NOW) == "jane@sender.test"


def test_the_second_forwarder_leads_straight_to_the_first() -> None:
    first = rewritten("jane@sender.test", "first.test", SrsKeys((b"theirs",)))
    second = rewritten(first, "second.test", SrsKeys((b"another",)))
    third = rewritten(second)
    assert local_of(third).startswith("SRS1=")
    assert "=first.test==" in third
    assert "second.test" not in third
    assert reverse(local_of(third), KEYS, NOW) == first


def test_the_local_part_does_not_grow_after_the_second_forwarder() -> None:
    address = rewritten(rewritten("jane@sender.test", "first.test"), "second.test")
    assert len(local_of(rewritten(address, "third.test"))) == len(local_of(address))


def test_case_changed_on_the_way_does_not_matter() -> None:
    assert reverse(local_of(rewritten("jane@sender.test")).lower(), KEYS, NOW) == "jane@sender.test"


def test_an_older_secret_still_leads_back() -> None:
    old = rewritten("jane@sender.test", keys=SrsKeys((b"before",)))
    assert reverse(local_of(old), KEYS, NOW) == "jane@sender.test"


def test_it_leads_back_for_three_weeks() -> None:
    local = local_of(rewritten("jane@sender.test"))
    assert reverse(local, KEYS, NOW + MAX_AGE * DAY) == "jane@sender.test"
    with pytest.raises(BadSrs, match="older"):
        reverse(local, KEYS, NOW + (MAX_AGE + 1) * DAY)


@pytest.mark.parametrize(
    "local",
    [
        "SRS0=AAAAAA=AA=sender.test=jane",
        "SRS0=AAAAAA=AA=sender.test",
        "SRS0=",
        "SRS0==AA=sender.test=jane",
        "SRS1=AAAAAA=first.test==AAAA=AA=sender.test=jane",
        "SRS1=AAAAAA==x",
        "SRS1=AAAAAA=first.test=",
        "jane",
    ],
)
def test_what_we_did_not_make_leads_nowhere(local: str) -> None:
    with pytest.raises(BadSrs):
        reverse(local, KEYS, NOW)


@pytest.mark.parametrize("place", range(5, 40, 4))
def test_a_changed_letter_is_noticed(place: int) -> None:
    local = local_of(rewritten("jane.doe@a-longer.sender.test"))
    changed = local[:place] + ("x" if local[place] != "x" else "y") + local[place + 1 :]
    with pytest.raises(BadSrs):
        reverse(changed, KEYS, NOW)


def test_what_does_not_fit_in_a_local_part_is_left_alone() -> None:
    assert forward("j" * 40 + "@sender.test", "ours.test", KEYS, NOW) is None
    assert forward('"jane doe"@sender.test', "ours.test", KEYS, NOW) is None


def test_no_repr_shows_a_secret() -> None:
    assert "first" not in repr(KEYS)


_ATOM = st.text("abcxyz0189!#$%&'*+-/=?^_{|}~SR", min_size=1, max_size=12)


@given(local=_ATOM, domain=st.from_regex(r"[a-z]{1,8}\.[a-z]{2,6}", fullmatch=True))
def test_every_address_that_is_rewritten_leads_back(local: str, domain: str) -> None:
    given_ = f"{local}@{domain}"
    address = forward(given_, "ours.test", KEYS, NOW)
    if address is not None:
        assert parse_address(address) == address
        assert is_rewritten(local_of(address))
        assert reverse(local_of(address), KEYS, NOW).lower() == given_.lower()


@given(st.text(max_size=80))
def test_any_local_part_is_an_address_or_an_error(text: str) -> None:
    for local in (text, f"SRS0={text}", f"SRS1={text}"):
        try:
            parse_address(reverse(local, KEYS, NOW), smtputf8=True)
        except (BadSrs, AddressError):
            continue
