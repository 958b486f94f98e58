"""Macro strings: the examples of RFC 7208 §7.4 and the edges of §7.1 and §7.3."""

from __future__ import annotations

import pytest

from relayd.mailauth.spf_macro import (
    SpfSyntaxError,
    domain_of,
    read_domain_spec,
    read_explanation,
    read_macro_string,
)

VALUES = {
    "s": "strong-bad@email.example.com",
    "l": "strong-bad",
    "o": "email.example.com",
    "d": "email.example.com",
    "i": "192.0.2.3",
    "p": "mx.example.org",
    "v": "in-addr",
    "h": "mail/x y.example",
    "c": "192.0.2.3",
    "r": "us.example",
    "t": "1",
}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{D2}", "example.com"),
        ("%{H}", "mail%2Fx%20y.example"),
        ("%{d99999999999999999999}", "email.example.com"),
        ("%{d02}", "example.com"),
        ("%{dR}", "com.example.email"),
        ("%%%_%-", "% %20"),
        ("", ""),
    ],
)
def test_expansion(text: str, expanded: str) -> None:
    assert read_macro_string(text).expand(VALUES) == expanded


@pytest.mark.parametrize(
    "text", ["%", "%{", "%{d", "%{x}", "%{d0}", "%{d00}", "%{dr2}", "%{d!}", "%a", "a b", "é", "\x7f"]
)
def test_what_is_no_macro_string(text: str) -> None:
    with pytest.raises(SpfSyntaxError):
        read_macro_string(text)


@pytest.mark.parametrize(
    "text",
    [
        "a.example",
        "a.example.",
        "%{d}",
        "x%{d}",
        "a.b-c",
        "a.1c",
        "_spf.%{d2}",
        "a/b:c.example",
        "..example",
        "a%%",
        "a%_",
    ],
)
def test_what_is_a_domain_spec(text: str) -> None:
    assert read_domain_spec(text).text == text


@pytest.mark.parametrize(
    "text",
    ["", "example", ".", "a.", "a.1", "a.-b", "a.b-", "a.b_c", "%{d}x", "%{d}.", "a.example..", "%{c}", "%{r}.a"],
)
def test_what_is_no_domain_spec(text: str) -> None:
    with pytest.raises(SpfSyntaxError):
        read_domain_spec(text)


def test_explanations_have_blanks_and_macros_of_their_own() -> None:
    assert read_explanation("from %{c} to %{r} at %{t}").expand(VALUES) == "from 192.0.2.3 to us.example at 1"
    with pytest.raises(SpfSyntaxError):
        read_explanation("tab\there")


def test_a_name_too_long_loses_labels_on_the_left() -> None:
    labels = [f"{number:03d}" + "x" * 47 for number in range(6)]  # 6 * 50 + 5 = 305
    assert domain_of(".".join(labels)) == ".".join(labels[2:])
    assert domain_of("a." + "b" * 251) == "a." + "b" * 251
    assert domain_of("a." + "b" * 252) == "b" * 252
    assert domain_of("b" * 254) == ""
    assert domain_of("example.org.") == "example.org"
