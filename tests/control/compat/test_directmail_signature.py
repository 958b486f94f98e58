"""Signatures of the DirectMail dialect, over what real clients sent: taken as signed, refused with anything changed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from relayd.control.compat.directmail_answers import DirectMailError
from relayd.control.compat.directmail_signature import WINDOW, Asked, Claim, Nonces, claim_of
from tests.rig.peers import require_suite


def recordings() -> list[Any]:
    try:
        path = require_suite("directmail") / "recorded-requests.json"
    except pytest.skip.Exception:
        return []
    return json.loads(path.read_text())["recordings"]  # type: ignore[no-any-return]


RECORDINGS = recordings()
SECRET = "testAccessKeySecret"
RECORDED = pytest.mark.parametrize("recording", RECORDINGS, ids=lambda each: each["label"])


def test_the_suite_is_there() -> None:
    require_suite("directmail")
    assert len(RECORDINGS) == 11


def asked(request: dict[str, Any]) -> Asked:
    parts = urlsplit(request["target"])
    headers: dict[str, list[str]] = {}
    for name, value in request["headers"]:
        headers.setdefault(name.lower(), []).append(value)
    is_form = headers.get("content-type", [""])[0].startswith("application/x-www-form-urlencoded")
    return Asked(
        method=request["method"],
        path=parts.path,
        query=parse_qsl(parts.query, keep_blank_values=True),
        form=parse_qsl(request["body"], keep_blank_values=True) if is_form else [],
        headers=headers,
        body=request["body"].encode(),
    )


def checked(given: Asked, secret: str = SECRET) -> Claim:
    claim = claim_of(given)
    if claim.key_id != "testAccessKeyId":  # whose secret nobody knows
        raise DirectMailError("InvalidAccessKeyId.NotFound", "", status=404)
    claim.check(secret)
    return claim


@RECORDED
def test_recorded_requests_are_taken_as_signed(recording: dict[str, Any]) -> None:
    for request in recording["requests"]:
        claim = checked(asked(request))
        assert claim.key_id == "testAccessKeyId"
        assert 1795230000 < claim.at < 1795240000
        Nonces(claim.at - 5).use(claim, claim.at + 3)
        with pytest.raises(DirectMailError, match="SignatureDoesNotMatch"):
            claim.check("anotherSecret")


def flipped(text: str, at: int) -> str:
    return text[:at] + ("0" if text[at] != "0" else "1") + text[at + 1 :]


def variants(pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The pairs with each octet of each value changed, with one of them missing, and with one of them twice."""
    for number, (name, value) in enumerate(pairs):
        before, after = pairs[:number], pairs[number + 1 :]
        for at in range(len(value)):
            yield [*before, (name, flipped(value, at)), *after]
        yield [*before, *after]
        yield [*pairs, (name, value)]


@RECORDED
def test_with_any_octet_of_a_value_changed_they_are_refused(recording: dict[str, Any]) -> None:
    """In turn: each query parameter, each form parameter, each header that the signature covers, the method."""
    for request in recording["requests"]:
        given = asked(request)
        signed = ("authorization", "host", "content-type") if given.is_acs3 else ()
        changed: list[Asked] = [replace(given, method="PUT")]
        changed += [replace(given, query=each) for each in variants(given.query)]
        changed += [replace(given, form=each) for each in variants(given.form)]
        if given.is_acs3:
            # the body is covered as octets, whatever was decoded of it
            changed = [each for each in changed if each.form == given.form]
            changed += [replace(given, body=flipped(given.body.decode(), at).encode()) for at in range(len(given.body))]
            changed.append(replace(given, body=given.body + b"x"))
            for name, (value, *_) in given.headers.items():
                if name in signed or name.startswith("x-acs-"):
                    for at in range(len(value)):
                        changed.append(replace(given, headers={**given.headers, name: [flipped(value, at)]}))
                    changed.append(replace(given, headers={**given.headers, name: [value, value]}))
                    if name != "authorization":
                        without = {each: values for each, values in given.headers.items() if each != name}
                        changed.append(replace(given, headers=without))
        assert len(changed) > 20
        for each in changed:
            with pytest.raises(DirectMailError):
                checked(each)


@RECORDED
def test_a_header_that_is_not_signed_is_refused(recording: dict[str, Any]) -> None:
    for request in recording["requests"]:
        given = asked(request)
        if not given.is_acs3:
            continue
        (authorization,) = given.headers["authorization"]
        names = authorization.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        for name in names:
            if name in ("accept", "user-agent"):
                continue
            left = ";".join(each for each in names if each != name)
            other = authorization.replace(";".join(names), left)
            with pytest.raises(DirectMailError):
                checked(replace(given, headers={**given.headers, "authorization": [other]}))
        with pytest.raises(DirectMailError, match="must cover"):
            checked(replace(given, headers={**given.headers, "x-acs-extra": ["1"]}))


def claim(nonce: str = "n", at: float = 1000.0, key: str = "k") -> Claim:
    return Claim(key_id=key, action="A", nonce=nonce, at=at, signature="", to_sign="", is_acs3=True)


@pytest.mark.parametrize(
    ("at", "now", "is_taken"),
    [
        (1000.0, 1000.0, True),
        (1000.0, 1000.0 + WINDOW, True),
        (1000.0, 1001.0 + WINDOW, False),
        (1000.0 + WINDOW, 1000.0, True),
        (1001.0 + WINDOW, 1000.0, False),
        (499.0, 600.0, False),
    ],
)
def test_the_window_of_timestamps(at: float, now: float, is_taken: bool) -> None:
    nonces = Nonces(500.7)
    if is_taken:
        nonces.use(claim(at=at), now)
    else:
        with pytest.raises(DirectMailError, match=r"InvalidTimeStamp\.Expired"):
            nonces.use(claim(at=at), now)


def test_a_nonce_is_taken_once_by_each_key() -> None:
    nonces = Nonces(0)
    nonces.use(claim(), 1000)
    nonces.use(claim(key="other"), 1000)
    nonces.use(claim("other"), 1000)
    for now in (1000, 1000 + WINDOW):
        with pytest.raises(DirectMailError, match="SignatureNonceUsed"):
            nonces.use(claim(), now)


def test_a_request_from_the_future_cannot_be_repeated_later() -> None:
    nonces = Nonces(0)
    nonces.use(claim(at=1000 + WINDOW), 1000)
    with pytest.raises(DirectMailError, match="SignatureNonceUsed"):
        nonces.use(claim(at=1000 + WINDOW), 1000 + 2 * WINDOW)


def test_nonces_are_bounded() -> None:
    nonces = Nonces(0, most=3)
    for number in range(3):
        nonces.use(claim(str(number)), 1000)
    with pytest.raises(DirectMailError) as refused:
        nonces.use(claim("another"), 1000)
    assert refused.value.status == 503
    later = 1002 + WINDOW
    nonces.use(claim("another", at=later), later)


@pytest.mark.parametrize("absent", ["AccessKeyId", "Signature", "Timestamp", "SignatureNonce", "Action"])
def test_a_missing_parameter_is_named(absent: str) -> None:
    given = {
        "AccessKeyId": "k",
        "Signature": "s",
        "Timestamp": "2026-01-01T00:00:00Z",
        "SignatureNonce": "n",
        "Action": "A",
    }
    del given[absent]
    with pytest.raises(DirectMailError) as refused:
        claim_of(Asked(method="GET", path="/", query=list(given.items()), form=[], headers={}))
    assert (refused.value.code, refused.value.status) == (f"Missing{absent}", 400)


@pytest.mark.parametrize("text", ["2026-01-01", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "now"])
def test_a_timestamp_of_another_form(text: str) -> None:
    query = [("AccessKeyId", "k"), ("Signature", "s"), ("Timestamp", text), ("SignatureNonce", "n"), ("Action", "A")]
    with pytest.raises(DirectMailError, match=r"InvalidTimeStamp\.Format"):
        claim_of(Asked(method="GET", path="/", query=query, form=[], headers={}))
