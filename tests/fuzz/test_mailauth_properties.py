"""SPF records, macro strings, DMARC records, From and Received fields: taken or refused, and in linear time."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.authors import authors_of
from relayd.mailauth.dmarc import Identifiers, evaluate
from relayd.mailauth.dmarc_discovery import TreeWalk, walked_names
from relayd.mailauth.dmarc_record import is_record, read_record
from relayd.mailauth.findings import Result, plain_domain
from relayd.mailauth.hops import MAX_HOPS, first_stranger, read_hop
from relayd.mailauth.spf import MAX_LOOKUPS, SpfClient, check_ehlo, check_mail_from
from relayd.mailauth.spf_macro import (
    MAX_NAME,
    SpfSyntaxError,
    domain_of,
    read_domain_spec,
    read_explanation,
    read_macro_string,
)
from relayd.mailauth.spf_record import read_record as read_spf_record
from relayd.mailauth.spf_record import select_records
from relayd.options import parse_network
from relayd.resolver.zone import Zone

MACROS = "%{ } %% %_ %- % d l s o p h i v c r t D L 0 1 2 99 r . - + , / _ = example com a.b : é"
TERMS = """
v=spf1 all -all ~all ?all +a a mx ptr ip4: ip6: exists: include: redirect= exp= x= a: mx: ptr: 192.0.2.1 192.0.2.0/24
2001:db8:: /0 /24 //64 /33 //129 / : . %{d} %{l} %{p} %{i}.x b.example example.org = unknown
"""
TAGS = """
v=DMARC1 v=dmarc1 ; = p=reject p=none sp=quarantine np=reject p= psd=y psd=n t=y adkim=s aspf=r pct=5 rua=
mailto:a@b.example , !10m fo=1 : x é
"""
WORDS = '" \\ ( ) < > @ , ; : [ ] a b.example c.example 192.0.2.1 from by helo= HELO é . % =?x?='


def soup(words: str, more: str = " \t\r\n\0", size: int = 12) -> st.SearchStrategy[str]:
    """Texts made of words of the grammar and of what does not belong there."""
    return st.lists(st.one_of(st.sampled_from([*words.split(), *more]), st.text(max_size=2)), max_size=size).map(
        "".join
    )


@given(soup(MACROS))
def test_macro_strings_are_taken_or_refused(text: str) -> None:
    values = dict.fromkeys("slodiphcrtv", "a.B-ü_c")
    for read in (read_macro_string, read_explanation, read_domain_spec):
        try:
            found = read(text)
        except SpfSyntaxError:
            continue
        assert found.text == text
        name = domain_of(found.expand(values))
        assert len(name) <= MAX_NAME
        assert found.expand(values).endswith(name) or found.expand(values).endswith(name + ".")


@given(st.one_of(soup(TERMS).map(lambda text: text.encode()), st.binary(max_size=60)))
def test_spf_records_are_taken_or_refused(text: bytes) -> None:
    for octets in select_records([text, b"v=spf1 " + text]):
        try:
            record = read_spf_record(octets)
        except SpfSyntaxError:
            continue
        assert octets.isascii()
        assert len(record.directives) <= octets.count(b" ")


@given(
    st.lists(soup(TERMS, " "), min_size=2, max_size=4),
    st.sampled_from(["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"]),
    st.one_of(soup(WORDS), st.just("a@example.org")),
    st.one_of(soup(WORDS), st.just("b.example")),
)
async def test_every_spf_check_ends_in_a_result(texts: list[str], address: str, sender: str, helo: str) -> None:
    names = ("example.org", "b.example", "x.example.org", "192.0.2.1.x")
    zone = Zone(
        {name: {"TXT": [f"v=spf1 {text}"], "A": ["192.0.2.1"]} for name, text in zip(names, texts, strict=False)}
    )
    client = SpfClient(address=ipaddress.ip_address(address), helo=helo)
    for found in (await check_mail_from(zone, client, sender, explain=True), await check_ehlo(zone, client)):
        assert isinstance(found.result, Result)
        assert found.lookups <= MAX_LOOKUPS + 1
        assert found.explanation.isprintable()
        assert all(text.isprintable() for text in (found.problem, found.mechanism, *found.steps))


@given(st.one_of(soup(TAGS).map(lambda text: text.encode()), st.binary(max_size=60)))
async def test_dmarc_records_say_something_or_nothing(text: bytes) -> None:
    for octets in (text, b"v=DMARC1;" + text):
        if not is_record(octets):
            continue
        record = read_record(octets)
        assert record.applies or record.recovered
        zone = Zone({"_dmarc.b.example": {"TXT": [octets]}})
        found = await evaluate(TreeWalk(zone), authors_of([b"x@m.b.example"]), Identifiers(spf="b.example"))
        assert (found.result is Result.NONE) == (not record.applies)
        is_aligned = record.psd != "y" and not record.strict_spf
        assert (found.result is Result.PASS) == (record.applies and is_aligned)


@given(st.lists(soup(WORDS).map(lambda text: text.encode()), max_size=3))
async def test_from_fields_name_domains_or_tell_why_not(values: list[bytes]) -> None:
    found = authors_of(values)
    assert found.domains or found.problem
    for domain in found.domains:
        assert domain == plain_domain(domain)
        assert domain.isascii()
        assert domain.isprintable()
        assert all(domain.split("."))
        assert len(walked_names(domain)) <= 8
    await evaluate(TreeWalk(Zone({})), found, Identifiers(dkim=("b.example",)))


@given(st.lists(st.one_of(soup(WORDS), st.just("from a ([192.0.2.1]) by b")), max_size=4))
def test_received_fields_name_a_client_or_tell_why_not(values: list[str]) -> None:
    found = first_stranger([value.encode() for value in values], [parse_network("192.0.2.0/24")])
    assert (found.address is None) == bool(found.problem)
    assert found.passed <= MAX_HOPS


def refused(read: Callable[[str], object]) -> Callable[[bytes], None]:
    """`read`, whose refusal is an answer too."""

    def run(octets: bytes) -> None:
        try:
            read(octets.decode("latin-1"))
        except SpfSyntaxError:
            return

    return run


def _spf(text: str) -> object:
    return read_spf_record(b"v=spf1 " + text.encode("latin-1"))


HOSTILE = [
    *[
        (refused(_spf), piece)
        for piece in (b"a ", b"ip4:192.0.2.1 ", b"a:1", b"a:/1", b"a//1", b"%{", b"x=%{d}", b"a/1/")
    ],
    *[(refused(_spf), piece) for piece in (b"ip6:", b"ip6:1:", b"exists:%%", b"exp=a.", b"a:%{l99999", b"a:%{l....")],
    *[(refused(read_domain_spec), piece) for piece in (b"1", b"a-", b".", b"%{d}", b"-.", b"%{d1", b"a.")],
    *[(refused(read_explanation), piece) for piece in (b" ", b"%", b"%{d}", b"x")],
    *[
        (read_record, piece)
        for piece in (b";", b"a=b;", b"=", b" ", b"p", b"rua=a,", b"rua=mailto:a@b!1m,", b",", b"@")
    ],
    *[(is_record, piece) for piece in (b" ", b"v ", b"v=", b"v= ")],
    *[
        (lambda octets: authors_of([octets]), piece)
        for piece in (
            b'"',
            b'\\"',
            b'"\\',
            b"(",
            b")",
            b"()",
            b"<",
            b"<a@b>",
            b"a@",
            b"@",
            b",",
            b"[",
            b"[]",
            b"a@b.c,",
            b":",
        )
    ],
    *[(read_hop, b"from " + piece) for piece in (b"(", b"helo=", b"[1", b"(1.", b" by", b"(helo ", b"[1.1.1.1")],
]


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_cost_grows_with_the_text_and_not_faster(number: int) -> None:
    """By ratio, generously: quadratic work would be 16 times as much.  A megabyte is cut off or as cheap."""
    work, piece = HOSTILE[number]

    def cost(size: int) -> float:
        octets = (piece * (size // len(piece) + 1))[:size]
        runs = []
        for _ in range(3):
            started = time.process_time()
            work(octets)
            runs.append(time.process_time() - started)
        return min(runs)

    large = cost(1 << 14)
    assert large < 9 * cost(1 << 12) + 0.01
    assert cost(1 << 20) < 3 * 64 * large + 0.1
