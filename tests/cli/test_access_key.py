"""`relayd account access-key` and `relayd account sending-address`."""

from __future__ import annotations

import json

import pytest

from relayd.cli.program import main
from tests.cli.conftest import FakeControl

KEY = {"access_key_id": "RK1", "access_key_secret": "s3cret"}
ADDRESS = {
    "id": 1,
    "address": "news@example.org",
    "account": "shop",
    "type": "batch",
    "created": "2027-01-15T08:00:00Z",
    "frozen": "complaints",
    "reply_address": "",
    "reply_verified": False,
    "daily": 100,
    "monthly": 1000,
    "used": {"day": 7, "month": 70},
    "signs_in": True,
    "notify_url": "",
}


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    return ["--url", f"unix:{control.path}"]


def test_keys(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["POST /api/access-keys/shop"] = {"data": KEY}
    assert main(["account", "access-key", "create", "shop", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == KEY
    assert main(["account", "access-key", "create", "shop", *url]) == 0
    assert "s3cret  (shown this once)" in capsys.readouterr().out
    listed = {"items": [{"access_key_id": "RK1", "created": "2027-01-15T08:00:00Z"}], "total": 1}
    control.answers["GET /api/access-keys/shop"] = {"data": listed}
    assert main(["account", "access-key", "list", "shop", *url]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["RK1", "2027-01-15T08:00:00Z"]
    control.answers["GET /api/access-keys/shop"] = {"data": {"items": [], "total": 0}}
    assert main(["account", "access-key", "list", "shop", *url]) == 0
    assert capsys.readouterr().out == "shop has no access key\n"
    control.answers["DELETE /api/access-keys/shop/RK1"] = {"data": True}
    assert main(["account", "access-key", "revoke", "shop", "RK1", *url]) == 0
    assert capsys.readouterr().out == "RK1 is revoked\n"
    control.answers["POST /api/access-keys/nobody"] = {"error": "notFound", "item": "nobody"}
    assert main(["account", "access-key", "create", "nobody", *url]) == 66


def test_addresses(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    control.answers["GET /api/sending-addresses"] = {"data": {"items": [ADDRESS], "total": 1}}
    assert main(["account", "sending-address", "list", "shop", *url]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == (
        ["news@example.org", "batch", "7/100", "70/1000", "frozen:", "complaints"]
    )
    control.answers["PATCH /api/sending-addresses/news%40example.org"] = {"data": ADDRESS}
    assert main(["account", "sending-address", "freeze", "news@example.org", "--reason", "complaints", *url]) == 0
    assert main(["account", "sending-address", "thaw", "news@example.org", *url]) == 0
    assert main(["account", "sending-address", "quota", "news@example.org", "--daily", "100", *url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "news@example.org is frozen",
        "news@example.org may send",
        "news@example.org may send 100 messages a day, 1000 a month",
    ]
    bodies = [each.body for each in control.asked[1:]]
    assert bodies == [{"frozen": "complaints"}, {"frozen": ""}, {"daily": 100, "monthly": None}]
    assert main(["account", "sending-address", "quota", "news@example.org", *url]) == 64
