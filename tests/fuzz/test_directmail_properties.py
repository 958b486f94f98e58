"""What signs requests of the DirectMail dialect, and the URLs that webhooks go to: any text is taken, or refused so."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.compat.directmail_answers import DirectMailError, answer, wants_json
from relayd.control.compat.directmail_signature import Asked, claim_of
from relayd.options import OptionError
from relayd.webhooks.options import check_url

NAMES = st.sampled_from(
    ["AccessKeyId", "Signature", "Timestamp", "SignatureNonce", "Action", "SignatureMethod", "x", ""]
)
HEADERS = st.sampled_from(
    [
        "authorization",
        "host",
        "content-type",
        "x-acs-action",
        "x-acs-version",
        "x-acs-date",
        "x-acs-signature-nonce",
        "x-acs-content-sha256",
    ]
)
VALUES = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["2026-01-01T00:00:00Z", "HMAC-SHA1", "ACS3-HMAC-SHA256 Credential=k,SignedHeaders=host,Signature="]
    ),
    st.just("ACS3-HMAC-SHA256 Credential=k,SignedHeaders=host;x-acs-action,Signature=" + "0" * 64),
    st.characters(categories=["Cs"]),
)


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=8),
    st.lists(st.tuples(NAMES, VALUES), max_size=3),
    st.dictionaries(HEADERS, st.lists(VALUES, max_size=2), max_size=8),
    st.binary(max_size=40),
)
def test_any_request_is_a_claim_or_refused(
    query: list[tuple[str, str]], form: list[tuple[str, str]], headers: dict[str, list[str]], body: bytes
) -> None:
    asked = Asked(method="POST", path="/", query=query, form=form, headers=headers, body=body)
    with pytest.raises(DirectMailError):  # for nobody knows the secret
        claim_of(asked).check("secret")


@given(st.fixed_dictionaries(dict.fromkeys(("AccessKeyId", "Signature", "Action", "x"), VALUES)))
def test_any_value_can_be_signed(values: dict[str, str]) -> None:
    query = [*values.items(), ("Timestamp", "2026-01-01T00:00:00Z"), ("SignatureNonce", "n")]
    with pytest.raises(DirectMailError):
        claim_of(Asked(method="GET", path="/", query=query, form=[], headers={})).check("secret")


@given(st.dictionaries(st.sampled_from(["Code", "Message", "AccountName"]), st.text(max_size=30)))
def test_any_answer_is_well_formed(body: dict[str, str]) -> None:
    as_xml = answer(body, "Error", json=False).body
    assert isinstance(as_xml, bytes)
    root = ElementTree.fromstring(as_xml)
    assert {each.tag for each in root} == set(body)
    as_json = answer(body, "Error", json=True)
    assert isinstance(as_json, web.Response)
    assert isinstance(as_json.body, bytes)
    assert set(msgspec.json.decode(as_json.body)) == set(body)


@given(st.text(max_size=20), st.text(max_size=60))
def test_any_wish_for_a_form_is_understood(format: str, accept: str) -> None:
    assert wants_json(format, accept) in (True, False)


@given(st.one_of(st.text(max_size=60), st.text(max_size=30).map(lambda text: f"http://{text}")))
def test_any_url_is_one_or_refused(text: str) -> None:
    try:
        assert check_url(text).isascii()
    except OptionError:
        return
