"""Patterns of names and addresses."""

from __future__ import annotations

import time

import pytest

from relayd.mail.pattern import Addresses, Glob, Names


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("a.example", "a.example", True),
        ("A.Example", "a.example", True),
        ("a.example", "b.a.example", False),
        (".a.example", "b.a.example", True),
        (".a.example", "a.example", False),
        ("*.a.example", "c.b.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "xa.example", False),
        ("mail*.example", "mail7.example", True),
        ("mail*.example", "mail.example", True),
        ("*", "anything", True),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-c-b", False),
        ("aa*aa", "aaa", False),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("xn--bcher-kva.example", "bücher.example", True),
        (".bücher.example", "www.xn--bcher-kva.example", True),
    ],
)
def test_a_name_is_matched_exactly_by_suffix_or_by_glob(pattern: str, value: str, fits: bool) -> None:
    assert Names([pattern]).matches(value) is fits


@pytest.mark.parametrize(
    ("pattern", "value", "fits"),
    [
        ("a@b.example", "A@b.example", True),
        ("a@b.example", "aa@b.example", False),
        ("b.example", "a@b.example", True),
        ("@b.example", "a@b.example", True),
        ("b.example", "a@c.b.example", False),
        (".b.example", "a@c.b.example", True),
        ("*@b.example", "a@b.example", True),
        ("*@*.b.example", "a@c.b.example", True),
        ("news-*@b.example", "news-1@b.example", True),
        ("news-*@b.example", "old-news-1@b.example", False),
        ("<>", "", True),
        ("*@b.example", "", False),
        ("b.example", "", False),
        ("a@bücher.example", "a@xn--bcher-kva.example", True),
    ],
)
def test_an_address_is_matched_whole_by_domain_or_by_glob(pattern: str, value: str, fits: bool) -> None:
    assert Addresses([pattern]).matches(value) is fits


def test_any_of_several_patterns_is_enough() -> None:
    patterns = Addresses(["a@b.example", ".c.example", "<>"])
    assert [patterns.matches(each) for each in ("a@b.example", "x@y.c.example", "", "b@b.example")] == [
        True,
        True,
        True,
        False,
    ]


def test_a_hostile_value_cannot_make_a_glob_slow() -> None:
    glob = Glob("*a" * 50 + "b")
    began = time.process_time()
    assert not glob.matches("a" * 200_000)
    assert time.process_time() - began < 1.0


def test_an_empty_set_is_false_and_matches_nothing() -> None:
    assert not Addresses([])
    assert not Names([])
    assert not Addresses([]).matches("a@b.example")
