"""xtext and the utf-8 address forms."""

from __future__ import annotations

import pytest

from relayd.mail.xtext import (
    XtextError,
    decode_utf8_addr_xtext,
    decode_xtext,
    encode_utf8_addr_xtext,
    encode_xtext,
)


def test_xtext_stands_for_text() -> None:
    assert decode_xtext("George+20@Tax-+20ME+20.GOV") == "George @Tax- ME .GOV"
    assert encode_xtext("a+b= c") == "a+2Bb+3D+20c"
    assert decode_xtext("plain") == "plain"


@pytest.mark.parametrize("text", ["+2", "+2b", "+", "a=b", "a b", "é", "a\n"])
def test_what_is_no_xtext_is_refused(text: str) -> None:
    with pytest.raises(XtextError):
        decode_xtext(text)


def test_xtext_has_no_form_for_more_than_ascii() -> None:
    with pytest.raises(XtextError):
        encode_xtext("é")


def test_utf8_addresses_have_a_seven_bit_form() -> None:
    assert encode_utf8_addr_xtext("é+x=\\@b.example") == r"\x{E9}\x{2B}x\x{3D}\x{5C}@b.example"
    assert decode_utf8_addr_xtext(r"\x{E9}@b.example") == "é@b.example"
    assert decode_utf8_addr_xtext("é@b.example", unitext=True) == "é@b.example"


@pytest.mark.parametrize("text", ["", "é", "\\", r"\x{D800}", r"\x{110000}", r"\x{e9}", "a=b", "a b"])
def test_what_is_no_utf8_address_is_refused(text: str) -> None:
    with pytest.raises(XtextError):
        decode_utf8_addr_xtext(text)
