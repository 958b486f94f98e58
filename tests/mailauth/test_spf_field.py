"""Received-SPF."""

from __future__ import annotations

import pytest

from relayd.mailauth.findings import Result, SpfFinding
from relayd.mailauth.spf_field import received_spf


def field(finding: SpfFinding, helo: str = "h.example", return_path: str = "a@b.example") -> str:
    octets = received_spf(finding, receiver="us.example", address="192.0.2.1", helo=helo, return_path=return_path)
    assert octets.endswith(b"\r\n")
    assert all(line[:1] in b" \t" for line in octets.split(b"\r\n")[1:-1])
    return octets.replace(b"\r\n", b"").decode()


def test_what_it_says() -> None:
    found = SpfFinding(
        scope="mfrom", result=Result.PASS, domain="b.example", sender="a@b.example", mechanism="ip4:192.0.2.0/24"
    )
    assert field(found) == (
        "Received-SPF: pass (us.example: b.example permits 192.0.2.1) receiver=us.example;"
        ' client-ip=192.0.2.1; envelope-from="a@b.example"; helo=h.example; identity=mailfrom;'
        ' mechanism="ip4:192.0.2.0/24";'
    )


@pytest.mark.parametrize("result", [each for each in Result if each is not Result.POLICY])
def test_every_result_has_words(result: Result) -> None:
    found = SpfFinding(scope="helo", result=result, domain="b.example", sender="", problem="why")
    text = field(found)
    assert text.startswith(f"Received-SPF: {result} (us.example: ")
    assert ("problem=why" in text) == (result in (Result.TEMPERROR, Result.PERMERROR))
    assert "identity=helo" in text


def test_nothing_can_be_smuggled_into_it() -> None:
    found = SpfFinding(
        scope="mfrom", result=Result.PERMERROR, domain="x) (y\r\nZ: z", sender="", problem='a"; b=c\\\r\n d'
    )
    text = field(found, helo='h"; helo=k', return_path="")
    assert r"x\) \(y??Z: z" in text
    assert r'helo="h\"; helo=k"' in text
    assert r'problem="a\"; b=c\\?? d"' in text
    assert 'envelope-from=""' in text
