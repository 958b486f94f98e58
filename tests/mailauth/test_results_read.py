"""Authentication-Results of others: taken as RFC 8601 has them, else refused; authres as the second opinion."""

from __future__ import annotations

import authres
import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.mailauth.results_read import MAX_FIELD, AuthResults, ResultsError, parse_arc_results, parse_results
from tests.fuzz.counting import steps


def test_everything_in_one() -> None:
    read = parse_results(
        b' (c (nested \\) ) ) "mx one" (c) 1 ; SPF / 1 = Pass reason = "be\\"cause;" (c)\r\n\tsmtp . mailfrom = a@b.c '
        b'policy.x="y z" (c); dkim=none;  '
    )
    spf, dkim = read.results
    assert (read.authserv_id, read.version) == ("mx one", 1)
    assert (spf.method, spf.result, spf.reason) == ("spf", "pass", 'be"cause;')
    assert spf.properties == (("smtp", "mailfrom", "a@b.c"), ("policy", "x", "y z"))
    assert (dkim.method, dkim.result, dkim.properties) == ("dkim", "none", ())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a; dkim=pass header.b=ab/cd+=", "ab/cd+="),
        ("a; arc=pass smtp.remote-ip=2001:db8::1", "2001:db8::1"),
        ("a; spf=pass smtp.mailfrom=", ""),
        ("a; spf=pass smtp.mailfrom=<>", "<>"),
        ("a; dns=pass dns.sec=yes", "yes"),
        ('a; spf=pass smtp.mailfrom="x y"@b.c', "x y@b.c"),
        ("a; spf=pass smtp.mailfrom=é@b.c", "é@b.c"),
        ("a; x=y x.y=(c)z", "z"),
        ("a; dmarc=pass (p=none) action=none header.from=b.c", "none"),
        ("a; dkim=pass x-bits=2048", "2048"),
    ],
)
def test_values_as_they_are_found(text: str, value: str) -> None:
    assert parse_results(text.encode()).results[0].properties[0][2] == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a",
        b"a;",
        b";spf=pass",
        b"a b; spf=pass",
        b"a=b; spf=pass",
        b"a; spf",
        b"a; spf=",
        b"a; spf=pass; ; dkim=pass",
        b"a; spf=pass smtp.mailfrom",
        b"a; spf=passsmtp.mailfrom=x y",
        b"a; none; spf=pass",
        b"a; spf=pass reason=",
        b"a; spf=pass reason=x reason=y",
        b"a; spf=pass action=",
        b"a; spf=pass =x",
        b"a; (spf=pass",
        b'a; spf="pass"',
        b'a; spf=pass reason="x',
        b"a; spf=pass\0",
        b"a 99999999999; none",
        b"a; none " + b" " * MAX_FIELD,
    ],
)
def test_refused(text: bytes) -> None:
    with pytest.raises(ResultsError):
        parse_results(text)


def test_sets_of_arc() -> None:
    assert parse_arc_results(b" i = 12 (x); a; none")[0] == 12
    instance, said = parse_arc_results(
        b" i=1; mx.example 1; spf=pass (sender ip is 192.0.2.1) smtp.rcpttodomain=b.c smtp.mailfrom=d.e; dmarc=Pass "
        b"(p=none sp=none pct=100) action=none header.from=d.e; dkim=pass header.d=d.e; arc=none (0)"
    )
    assert instance == 1
    assert said is not None
    assert said.result("dmarc") == "pass"
    assert parse_arc_results(b"i=1; what is this") == (1, None)
    for text in (b"a; none", b"i=; a; none", b"i=1", b"a; i=1; none", b"i=123; a; none", b'"i"=1; a'):
        with pytest.raises(ResultsError):
            parse_arc_results(text)


PIECES = [
    "a",
    "mx.example",
    "spf",
    "=",
    "pass",
    ";",
    " ",
    "smtp",
    ".",
    "x@y.z",
    "reason",
    '"',
    "\\",
    "(",
    ")",
    "\r\n ",
    "é",
]


@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_a_field_is_taken_or_refused(text: str) -> None:
    try:
        read = parse_results(text.encode())
    except ResultsError:
        return
    assert isinstance(read, AuthResults)
    assert read.authserv_id or '"' in text


@given(st.lists(st.sampled_from(["spf=pass", "smtp.mailfrom=a@b.c", "dkim=fail", "header.d=x.y", ";", "(c)", "none"])))
def test_what_both_take_is_read_the_same(words: list[str]) -> None:
    text = "mx.example; " + " ".join(words)
    try:
        other = authres.parse_value(text)  # type: ignore[no-untyped-call]
        ours = parse_results(text.encode())
    except (authres.AuthResError, ResultsError):
        return  # it passes over what it cannot read, and refuses a ";" at the end
    assert ours.authserv_id == other.authserv_id
    assert [(each.method, each.result) for each in ours.results] == [
        (each.method, each.result) for each in other.results
    ]
    for one, two in zip(ours.results, other.results, strict=True):
        known = tuple(property for property in one.properties if property[0])
        assert known == tuple((each.type, each.name, each.value) for each in two.properties)


@pytest.mark.parametrize("unit", [b"(", b"(a)", b'"', b'"a"', b"; a=b", b" a.b=c", b" ", b"\\", b"=", b"(\\"])
def test_the_cost_grows_with_the_field(unit: bytes) -> None:
    def cost(size: int) -> int:
        text = b"a; b=c" + unit * (size // len(unit))

        def work() -> None:
            try:
                parse_results(text)
            except ResultsError:
                pass

        return steps(work)

    assert cost(8000) < 2.5 * cost(4000) + 500
