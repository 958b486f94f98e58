"""Domains of the From field."""

from __future__ import annotations

import pytest

from relayd.mailauth.authors import MAX_LENGTH, author_addresses, authors_of


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("a@b.example", ("b.example",)),
        ("A Name <a@B.Example>", ("b.example",)),
        ('"a@bank.example" <a@b.example>', ("b.example",)),
        ('"x\\" <a@bank.example>" <a@b.example>', ("b.example",)),
        ("a@bank.example <a@b.example>", ("b.example",)),
        ("(a@bank.example) a@b.example (c@d.example (nested) \\) )", ("b.example",)),
        ('(it"s) Name <a@b.example> ("x)', ("b.example",)),
        ("a@b.example, c@d.example", ("b.example", "d.example")),
        ("a@b.example, c@B.EXAMPLE", ("b.example",)),
        ("group: a@b.example, c@d.example;", ("b.example", "d.example")),
        ("<@route.example,@other.example:a@b.example>", ("b.example",)),
        ('"a@x.example"@b.example', ("b.example",)),
        ("a @ b . example", ("b.example",)),
        ("a@b.example.", ("b.example",)),
        ("=?utf-8?q?a=40bank.example?= <a@b.example>", ("b.example",)),
        ("ü <ü@bücher.example>", ("xn--bcher-kva.example",)),
        ("a@b.example,", ("b.example",)),
        ("\r\n a@b.example", ("b.example",)),
    ],
)
def test_what_can_be_read(value: str, domains: tuple[str, ...]) -> None:
    found = authors_of([value.encode()])
    assert (found.domains, found.fields, found.problem) == (domains, 1, "")


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("<a@b.example> <c@d.example>", ("b.example", "d.example")),
        ("<a@b.example>c@d.example", ("b.example", "d.example")),
    ],
)
def test_two_addresses_without_a_comma_are_two(value: str, domains: tuple[str, ...]) -> None:
    assert authors_of([value.encode()]).domains == domains


@pytest.mark.parametrize(
    ("value", "domains"),
    [
        ("", ()),
        ("undisclosed:;", ()),
        ("Just A Name", ()),
        ("a@", ()),
        ("a@[192.0.2.1]", ()),
        ("a@b..example", ()),
        ("a@\x85b.example", ()),
        ("a@\u200bb.example", ()),
        ("a@b.example@d.example", ("b.example", "d.example")),
        ("a@b.example\0@d.example", ("d.example",)),
        ("Name <a>, b@c.example", ("c.example",)),
        ("a@" + "x." * 130 + "example", ()),
    ],
)
def test_what_cannot_be_read_is_told(value: str, domains: tuple[str, ...]) -> None:
    found = authors_of([value.encode()])
    assert found.domains == domains
    assert found.problem


def test_fields_that_are_missing_or_repeated() -> None:
    assert authors_of([]).problem == "there is no From field"
    found = authors_of([b"a@b.example", b"c@d.example"])
    assert (found.domains, found.fields, found.problem) == (("b.example", "d.example"), 2, "there are 2 From fields")


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("Jane <jane@Example.org>", ("jane@example.org",)),
        ('"a@b.test" <jane@example.org>, joe@example.org (x@y.test)', ("jane@example.org", "joe@example.org")),
        ('"jane doe"@example.org', ('"jane doe"@example.org',)),
        ("Team: jane@example.org, joe@example.org;", ("jane@example.org", "joe@example.org")),
        ("", ()),
        ("jane@example.org@far.test", None),
        ("jane@", None),
        ("<jane>", None),
        ("jane@example.org" + " " * MAX_LENGTH, None),
    ],
)
def test_the_addresses_of_authors(value: str, addresses: tuple[str, ...] | None) -> None:
    assert author_addresses([value.encode()]) == addresses
