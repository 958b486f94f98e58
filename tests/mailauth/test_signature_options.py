"""What a signature of the configuration may say."""

from __future__ import annotations

from typing import Any

import pytest

from relayd.mailauth.signature_options import PrivateKey, SignatureOptions
from relayd.options import OptionError, section_of
from tests.mailauth.signing import pem


def built(**given: Any) -> SignatureOptions:
    raw = {"private-key": pem("rsa"), "domain": "example.org", "selector": "s1", **given}
    options: SignatureOptions = section_of(SignatureOptions).build(raw)
    return options


def test_values_as_they_are_used() -> None:
    options = built(
        domain="B\u00fccher.Example.",
        selector="S1.sub",
        authors=["*", "*.Example.org", "example.org"],
        published="2026-11-21T09:00:00Z",
        **{"return-paths": ["<>", "example.org"], "identity": "@mail.xn--bcher-kva.example"},
    )
    assert (options.domain, options.selector) == ("xn--bcher-kva.example", "s1.sub")
    assert options.authors == ("*", "*.example.org", "example.org")
    assert options.return_paths == ("", "example.org")
    assert options.published == 1795251600.0
    assert built(**{"private-key": "%{file:/a b.pem}%"}).private_key == PrivateKey(path="/a b.pem")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("private-key", "secret"),
        ("private-key", ""),
        ("domain", "com"),
        ("domain", "a b.example"),
        ("domain", "x" * 300 + ".example"),
        ("selector", ""),
        ("selector", "a..b"),
        ("selector", "a\nb"),
        ("algorithm", "rsa-sha1"),
        ("canonicalization", "simple/simple"),
        ("headers", ["From:"]),
        ("headers", ["X"] * 51),
        ("authors", ["*."]),
        ("identity", "@example.net"),
        ("identity", "example.org"),
        ("identity", "@xexample.org"),
        ("published", "yesterday"),
    ],
)
def test_what_is_refused(name: str, value: Any) -> None:
    with pytest.raises(OptionError, match=f"^{name}: (?!.*secret)"):
        built(**{name: value})
