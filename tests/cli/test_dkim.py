"""`relayd dkim`: what it asks the daemon, what it prints, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import dns.rdata
import dns.zone
import pytest

from relayd.cli import dkim
from relayd.cli.program import main
from tests.cli.conftest import FakeControl

CONTENT = "v=DKIM1; k=rsa; h=sha256; p=" + "A" * 360 + "=="


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    return ["--url", f"unix:{control.path}"]


def signature(id: str, **given: Any) -> dict[str, Any]:
    return {
        "id": id,
        "domain": "example.org",
        "selector": "202611" + id[0],
        "algorithm": id.partition("-")[0] + "-sha256",
        "state": "active",
        "replaces": "",
        "keepUntil": None,
        "name": f"202611{id[0]}._domainkey.example.org",
        "content": CONTENT,
        "problem": "",
        "published": None,
        **given,
    }


BOTH = [signature("ed25519-example.org"), signature("rsa-example.org")]


def test_create(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers |= {"POST /api/dkim": {"data": None}, "GET /api/dkim": {"data": BOTH}}
    assert main(["dkim", "create", "example.org", *url]) == 0
    asked = [each.body for each in control.asked if each.method == "POST"]
    assert asked == [
        {"id": None, "algorithm": name, "domain": "example.org", "selector": None} for name in ("Rsa", "Ed25519")
    ]
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["dkim", "create", "example.org", "--algorithm", "rsa", "--selector", "s", "--json", *url]) == 0
    assert control.asked[-2].body["selector"] == "s"
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ["rsa-example.org"]
    assert main(["dkim", "create", "example.org", "--selector", "s", *url]) == 0
    assert [each.body["selector"] for each in control.asked[-3:-1]] == ["sr", "se"]
    control.answers["POST /api/dkim"] = {
        "error": "fieldAlreadyExists",
        "field": "signature.x.private-key",
        "value": "x",
    }
    assert main(["dkim", "create", "example.org", *url]) == 65
    assert "fieldAlreadyExists" in capsys.readouterr().err


def test_dns_as_a_zone_file(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        {"type": "MX", "name": "example.org.", "content": "10 mx.example.org."},
        {"type": "TXT", "name": "202611r._domainkey.example.org.", "content": CONTENT},
    ]
    control.answers["GET /api/dns/records/example.org"] = {"data": records}
    assert main(["dkim", "dns", "example.org", *url]) == 0
    text = capsys.readouterr().out
    zone = dns.zone.from_text("$TTL 3600\n" + text, "example.org.", relativize=False, check_origin=False)
    (found,) = zone.find_rdataset("202611r._domainkey.example.org.", "TXT")
    assert b"".join(found.strings).decode() == CONTENT
    assert [len(each) for each in found.strings] == [255, len(CONTENT) - 255]
    assert main(["dkim", "dns", "example.org", "--all", "--table", *url]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["MX", "example.org.", "10", "mx.example.org."]
    assert main(["dkim", "dns", "example.org", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == records[1:]
    control.answers["GET /api/dns/records/example.org"] = {"data": records[:1]}
    assert main(["dkim", "dns", "example.org", *url]) == 66


@pytest.mark.parametrize(
    ("found", "code", "said"),
    [
        ([signature("rsa-a", published="")], 0, "as it should be"),
        ([signature("rsa-a", published="there is no TXT record x")], 69, "there is no TXT record x"),
        ([signature("rsa-a", problem="/x: No such file", content="", state="unreadable")], 69, "No such file"),
        (
            [signature("rsa-a", published="", keepUntil="2026-12-03T00:00:00Z", state="retired")],
            0,
            "keep the record until",
        ),
        ([signature("rsa-a", state="obsolete", problem="/x: No such file")], 0, "no longer needed"),
        ([], 66, ""),
    ],
)
def test_check(
    control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str], found: Any, code: int, said: str
) -> None:
    control.answers["GET /api/dkim"] = {"data": found}
    assert main(["dkim", "check", *url]) == code
    assert said in capsys.readouterr().out
    assert control.asked[-1].query == [("check", "1")]
    assert main(["dkim", "check", "example.org", "--json", *url]) == code
    assert json.loads(capsys.readouterr().out) == found


def rotating(first: list[dict[str, Any]], then: list[dict[str, Any]]) -> Callable[[dict[str, str]], Any]:
    answers = iter([first, then])
    return lambda query: {"data": next(answers)}


def test_rotate(
    control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dkim, "_usual_selector", lambda type: "202611" + type[0])
    new = signature("rsa-202611r2-example.org", state="waiting", replaces="rsa-example.org")
    control.answers |= {"POST /api/dkim": {"data": None}, "GET /api/reload/": {"data": {"warnings": {}, "errors": {}}}}
    control.answers["GET /api/dkim"] = rotating(
        [signature("rsa-example.org"), signature("rsa-old", state="retired")], [new]
    )
    assert main(["dkim", "rotate", "example.org", *url]) == 0
    (asked,) = [each.body for each in control.asked if each.method == "POST"]
    assert asked == {
        "id": "rsa-202611r2-example.org",
        "algorithm": "Rsa",
        "domain": "example.org",
        "selector": "202611r2",
        "replaces": "rsa-example.org",
    }
    shown = capsys.readouterr()
    assert "_domainkey" in shown.out
    assert "keep the old records" in shown.err


def test_rotate_goes_on_where_it_was(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    new = signature("rsa-new", state="waiting", replaces="rsa-example.org")
    control.answers["GET /api/dkim"] = {"data": [signature("rsa-example.org"), new]}
    control.answers["GET /api/reload/"] = {"data": {"warnings": {}, "errors": {"x": {"type": "parse", "error": "bad"}}}}
    assert main(["dkim", "rotate", "example.org", "--json", *url]) == 78
    assert not [each for each in control.asked if each.method == "POST"]
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ["rsa-new"]


def test_there_is_nothing_to_rotate(control: FakeControl, url: list[str]) -> None:
    control.answers["GET /api/dkim"] = {"data": []}
    assert main(["dkim", "rotate", "example.org", *url]) == 66
