"""DANE: which TLSA records count, and which chains fit them."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.resolver.answer import Tlsa
from relayd.routing.dane import tlsa_name, usable, verify
from relayd.routing.tls_defect import Defect
from tests.routing.authority import NOW, Made, made

ROOT = made(authority=True)
MIDDLE = made(authority=True, by=ROOT)
LEAF = made("mx.example", "*.wild.example", by=MIDDLE)
CHAIN = [LEAF.der, MIDDLE.der, ROOT.der]
NAMES = ("mx.example", "example")


def record(usage: int, selector: int, matching: int, of: Made) -> Tlsa:
    octets = of.spki if selector else of.der
    data = {0: octets, 1: hashlib.sha256(octets).digest(), 2: hashlib.sha512(octets).digest()}[matching]
    return Tlsa(usage, selector, matching, data)


@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(("usage", "of"), [(3, LEAF), (2, MIDDLE), (2, ROOT)])
def test_records_that_fit(usage: int, selector: int, matching: int, of: Made) -> None:
    fitting = record(usage, selector, matching, of)
    assert usable([fitting]) == (fitting,)
    assert verify([fitting], CHAIN, NAMES, NOW).record == fitting


@pytest.mark.parametrize(
    ("tlsa", "chain", "names", "now", "defect"),
    [
        (record(3, 1, 1, MIDDLE), CHAIN, NAMES, NOW, Defect.TLSA_MISMATCH),
        (record(2, 1, 1, made(authority=True)), CHAIN, NAMES, NOW, Defect.TLSA_MISMATCH),
        (record(2, 1, 1, ROOT), CHAIN[:2], NAMES, NOW, Defect.TLSA_MISMATCH),  # the authority was not presented
        (record(2, 0, 1, ROOT), CHAIN, ("other.example",), NOW, Defect.WRONG_NAME),
        (record(2, 0, 1, ROOT), CHAIN, ("a.b.wild.example",), NOW, Defect.WRONG_NAME),
        (record(2, 0, 1, ROOT), CHAIN, NAMES, NOW + 40 * 86400, Defect.EXPIRED),
        (record(2, 0, 1, ROOT), CHAIN, NAMES, NOW - 40 * 86400, Defect.EXPIRED),
        (record(2, 0, 1, ROOT), [LEAF.der, ROOT.der], NAMES, NOW, Defect.UNTRUSTED),  # a gap in the path
        (record(3, 1, 1, LEAF), [], NAMES, NOW, Defect.TLSA_MISMATCH),
        (record(3, 1, 1, LEAF), [b"no certificate"], NAMES, NOW, Defect.TLSA_MISMATCH),
        (Tlsa(2, 0, 0, b"no certificate"), CHAIN, NAMES, NOW, Defect.TLSA_MISMATCH),
    ],
)
def test_records_that_do_not_fit(
    tlsa: Tlsa, chain: list[bytes], names: tuple[str, ...], now: float, defect: Defect
) -> None:
    found = verify([tlsa], chain, names, now)
    assert (found.record, found.defect) == (None, defect)
    assert found.reason


def test_the_hosts_own_key_needs_neither_name_nor_date() -> None:
    for names, now in ((("other.example",), NOW), (NAMES, NOW + 10**9)):
        assert verify([record(3, 1, 1, LEAF)], [LEAF.der], names, now).record is not None


def test_an_authority_that_the_record_holds_whole_need_not_be_presented() -> None:
    whole = record(2, 0, 0, ROOT)
    assert verify([whole], CHAIN[:2], NAMES, NOW).record == whole
    stranger = made("mx.example")
    assert verify([whole], [stranger.der], NAMES, NOW).defect is Defect.UNTRUSTED


def test_a_presented_authority_must_have_signed() -> None:
    """Anybody can send a copy of the named authority along with a certificate of his own."""
    thief = made("mx.example")
    assert verify([record(2, 1, 1, ROOT)], [thief.der, ROOT.der], NAMES, NOW).defect is Defect.UNTRUSTED


def test_only_authorities_lead_to_an_authority() -> None:
    host = made("host.example", by=ROOT)
    forged = made("mx.example", by=host)
    assert verify([record(2, 1, 1, ROOT)], [forged.der, host.der, ROOT.der], NAMES, NOW).defect is Defect.UNTRUSTED
    short = made(authority=True, path_length=0)
    below = made(authority=True, by=short)
    deep = made("mx.example", by=below)
    assert verify([record(2, 1, 1, short)], [deep.der, below.der, short.der], NAMES, NOW).defect is Defect.UNTRUSTED


def test_a_wildcard_stands_for_one_label() -> None:
    assert verify([record(2, 1, 1, ROOT)], CHAIN, ("a.wild.example",), NOW).record is not None


def test_one_record_of_several_is_enough() -> None:
    old, new = record(3, 1, 1, made("mx.example")), record(3, 1, 1, LEAF)
    assert verify([old, new], CHAIN, NAMES, NOW).record == new


@pytest.mark.parametrize(
    "tlsa",
    [
        Tlsa(0, 1, 1, bytes(32)),
        Tlsa(1, 1, 1, bytes(32)),
        Tlsa(3, 2, 1, bytes(32)),
        Tlsa(3, 1, 3, bytes(32)),
        Tlsa(3, 1, 1, bytes(31)),
        Tlsa(3, 1, 2, bytes(32)),
        Tlsa(3, 1, 0, b""),
        Tlsa(255, 1, 1, bytes(32)),
    ],
)
def test_records_that_are_unusable(tlsa: Tlsa) -> None:
    assert usable([tlsa]) == ()


def test_the_stronger_digest_counts_alone() -> None:
    weak, strong, other = record(3, 1, 1, LEAF), record(3, 1, 2, LEAF), record(2, 1, 1, ROOT)
    assert usable([weak, strong, other]) == (strong, other)


def test_where_the_records_are() -> None:
    assert tlsa_name("mx.example", 2525) == "_2525._tcp.mx.example"


@given(
    st.lists(st.builds(Tlsa, st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.binary(max_size=70))),
    st.lists(st.one_of(st.binary(max_size=400), st.sampled_from(CHAIN)), max_size=12),
)
def test_strange_records_and_chains_fit_nothing(records: list[Tlsa], chain: list[bytes]) -> None:
    found = verify(usable(records), chain, NAMES, NOW)
    assert found.record is None
    assert found.defect is not None
