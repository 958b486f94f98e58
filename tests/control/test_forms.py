"""Bodies of forms: what they say, and that nothing in them hurts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.control.forms import FORM, MULTIPART, BadForm, form_fields

DATA = f"{MULTIPART}; boundary=X"


def part(disposition: str, value: str, more: str = "") -> str:
    return f"--X\r\nContent-Disposition: {disposition}\r\n{more}\r\n{value}\r\n"


def test_urlencoded() -> None:
    assert form_fields(f"{FORM}; charset=utf-8", b"a=1&b=x+y%26&c=&d&a=2&%D0%B0=%FF", 9) == [
        ("a", "1"),
        ("b", "x y&"),
        ("c", ""),
        ("d", ""),
        ("a", "2"),
        ("а", "\ufffd"),
    ]


@pytest.mark.parametrize("content_type", [DATA, 'Multipart/Form-Data;charset=utf-8; boundary="X"'])
def test_multipart(content_type: str) -> None:
    body = (
        "preamble\r\n"
        + part('form-data; name="a"', "1")
        + part("form-data; name=b", "x\r\n--Y\r\n", "Content-Type: text/plain\r\n")
        + part('form-data; filename="name=f"; name="Ж é"', "ü")
        + part('form-data; filename="name=f"', "nameless")
        + part('attachment; name="c"', "no")
        + part('form-data; name="a"', "")
        + "--X--\r\nepilogue"
    )
    assert form_fields(content_type, body.encode(), 9) == [
        ("a", "1"),
        ("b", "x\r\n--Y\r\n"),
        ("Ж é", "ü"),
        ("a", ""),
    ]


@pytest.mark.parametrize("content_type", ["", "application/json", "text/plain; a=application/x-www-form-urlencoded"])
def test_another_body_has_no_fields(content_type: str) -> None:
    assert form_fields(content_type, b"a=1", 9) is None


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (FORM, "a&" * 10),
        (MULTIPART, part('form-data; name="a"', "1") + "--X--"),
        (DATA, part('form-data; name="a"', "1")),
        (DATA, part('form-data; name="a"', "1") * 10 + "--X--"),
        (DATA, ""),
    ],
    ids=["too many fields", "no boundary", "no end", "too many parts", "nothing"],
)
def test_bad_forms(content_type: str, body: str) -> None:
    with pytest.raises(BadForm):
        form_fields(content_type, body.encode(), 9)


def test_as_many_parts_as_may_be() -> None:
    assert form_fields(DATA, (part('form-data; name="a"', "1") * 9 + "--X--").encode(), 9) == [("a", "1")] * 9


hostile = st.lists(
    st.sampled_from([b"--X", b"--", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="', b'"', b";", b"a"])
    | st.binary(max_size=4)
).map(b"".join)


@given(st.sampled_from([FORM, DATA, MULTIPART, f'{MULTIPART}; boundary="-"']) | st.text(), hostile)
def test_whatever_comes_is_a_form_or_a_bad_one(content_type: str, body: bytes) -> None:
    try:
        fields = form_fields(content_type, body, 9)
    except BadForm:
        return
    assert fields is None or len(fields) <= 9


def test_a_megabyte_of_the_worst_is_read_at_once() -> None:
    for body in (b"\r\n--X" * 200_000, b"--X\r\ncontent-disposition: form-data" + b";" * 1_000_000, b"&" * 1_000_000):
        for content_type in (DATA, FORM):
            try:
                form_fields(content_type, body, 64)
            except BadForm:
                continue
