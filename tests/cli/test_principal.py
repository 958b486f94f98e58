"""`relayd account|domain|list|role`: what they ask of the control socket."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from relayd.cli.failure import Failure
from relayd.cli.principal import parsed_change, secret_names
from relayd.cli.program import main
from tests.cli.conftest import FakeControl

ANN = {
    "id": 7,
    "type": "individual",
    "name": "ann",
    "emails": ["ann@example.org", "a@example.org"],
    "roles": ["user"],
    "secrets": ["otpauth://totp/x?secret=********", "$argon2id$x", "$app$phone$$argon2id$y"],
    "description": "evil \x1b[2J",
}


@pytest.fixture
def url(control: FakeControl) -> list[str]:
    control.answers |= {
        "GET /api/principal/ann": {"data": ANN},
        "PATCH /api/principal/ann": {"data": None},
        "DELETE /api/principal/ann": {"data": None},
        "POST /api/principal": {"data": 8},
        "GET /api/principal": {"data": {"items": [ANN], "total": 1}},
    }
    return ["--url", f"unix:{control.path}"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("description=A, B", ("set", "description", "A, B")),
        ("suspended=", ("set", "suspended", "")),
        ("roles=user, ops", ("set", "roles", ["user", "ops"])),
        ("roles=", ("set", "roles", [])),
        ("emails+=a@x.example", ("addItem", "emails", "a@x.example")),
        ("emails-=a@x.example", ("removeItem", "emails", "a@x.example")),
        ("disabled-permissions=email-send", ("set", "disabledPermissions", ["email-send"])),
        ("next-hop=hub", ("set", "nextHop", "hub")),
        ("quota=1MB", ("set", "quota", 1 << 20)),
        ("quota=0,5", ("set", "quota", [0, 5])),
    ],
)
def test_changes_as_they_are_written(text: str, expected: tuple[str, str, Any]) -> None:
    found = parsed_change(text)
    assert (found["action"], found["field"], found["value"]) == expected


@pytest.mark.parametrize("text", ["", "description", "=x", "quota=much", "secrets=x", "secrets+=x", "a b=c"])
def test_what_is_no_change(text: str) -> None:
    with pytest.raises(Failure) as refused:
        parsed_change(text)
    assert refused.value.code == 65


def test_lists_and_shows_no_secret(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["account", "list", "--filter", "ann", *url]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["NAME", "ADDRESSES", "ROLES", "SUSPENDED", "FOR"]
    assert row.split()[:3] == ["ann", "ann@example.org,", "a@example.org"]
    assert ("types", "individual") in control.asked[0].query
    assert ("filter", "ann") in control.asked[0].query
    assert main(["account", "show", "ann", *url]) == 0
    shown = capsys.readouterr().out
    assert "secrets      one-time codes, password, app password phone" in shown
    assert "argon2id" not in shown
    assert "\x1b" not in shown
    assert secret_names({}) == []
    assert main(["account", "show", "ann", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == ANN
    assert main(["domain", "show", "ann", *url]) == 66  # of another type
    assert main(["account", "show", "bob", *url]) == 66


def test_passwords_come_by_stdin_alone(
    control: FakeControl, url: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("correct horse\nmore\n"))
    assert main(["account", "create", "ann", "--email", "ann@example.org", "--description", "", *url]) == 0
    assert control.asked[-1].body == {
        "type": "individual",
        "name": "ann",
        "secrets": "correct horse",
        "roles": ["user"],
        "emails": ["ann@example.org"],
    }
    monkeypatch.setattr("sys.stdin", io.StringIO("other\n"))
    assert main(["account", "password", "ann", *url]) == 0
    assert control.asked[-1].body == [
        {"action": "removeItem", "field": "secrets", "value": ""},
        {"action": "addItem", "field": "secrets", "value": "other"},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert main(["account", "password", "ann", *url]) == 65
    assert "correct" not in capsys.readouterr().out


def test_app_passwords_and_one_time_codes(
    control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["account", "app-password", "add", "ann", "tablet", *url]) == 0
    secret = capsys.readouterr().out.strip()
    assert len(secret) == 32
    assert control.asked[-1].body == [{"action": "addItem", "field": "secrets", "value": f"$app$tablet${secret}"}]
    assert main(["account", "app-password", "list", "ann", "--json", *url]) == 0
    assert json.loads(capsys.readouterr().out) == ["phone"]
    assert main(["account", "app-password", "remove", "ann", "nothing", *url]) == 66
    assert main(["account", "app-password", "remove", "ann", "phone", *url]) == 0
    assert control.asked[-1].body == [{"action": "removeItem", "field": "secrets", "value": "$app$phone"}]
    capsys.readouterr()
    assert main(["account", "totp", "enable", "ann", "--json", *url]) == 0
    made = json.loads(capsys.readouterr().out)["url"]
    assert [each["value"] for each in control.asked[-1].body] == ["otpauth://", made]
    assert main(["account", "totp", "disable", "ann", *url]) == 0
    assert main(["account", "delete", "ann", *url]) == 0
    assert control.asked[-1].method == "DELETE"


def test_members_are_told_apart_from_addresses_elsewhere(control: FakeControl, url: list[str]) -> None:
    def found(query: dict[str, str]) -> Any:
        return {"data": {"items": [], "total": int(query["filter"] == "named@by.address")}}

    control.answers["GET /api/principal"] = found
    members = ["--member", "ann", "--member", "named@by.address", "--member", "bob@elsewhere.example"]
    assert main(["list", "create", "all", *members, *url]) == 0
    assert control.asked[-1].body == {
        "type": "list",
        "name": "all",
        "members": ["ann", "named@by.address"],
        "externalMembers": ["bob@elsewhere.example"],
    }
    control.answers["GET /api/principal/all"] = {"data": {"type": "list", "name": "all"}}
    control.answers["PATCH /api/principal/all"] = {"data": None}
    assert main(["list", "remove", "all", "ann", "bob@elsewhere.example", *url]) == 0
    assert [(each["action"], each["field"]) for each in control.asked[-1].body] == [
        ("removeItem", "members"),
        ("removeItem", "externalMembers"),
    ]


def test_a_domain_and_its_records(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    record = {"type": "MX", "name": "example.org.", "content": "10 mx.example.org."}
    control.answers["GET /api/dns/records/example.org"] = {"data": [record]}
    assert main(["domain", "add", "example.org", "--next-hop", "hub", *url]) == 0
    assert control.asked[0].body == {"type": "domain", "name": "example.org", "nextHop": "hub"}
    assert "example.org. IN MX 10 mx.example.org.\n" in capsys.readouterr().out
    control.answers["GET /api/principal/example.org"] = {"data": {"type": "domain", "name": "example.org"}}
    for state, code in (("ok", 0), ("unchecked", 0), ("missing", 69), ("different", 69), ("unknown", 69)):
        control.answers["GET /api/dns/records/example.org"] = {"data": [{**record, "state": state, "found": ""}]}
        assert main(["domain", "check", "example.org", *url]) == code
        assert state in capsys.readouterr().out


def test_roles_and_api_keys(control: FakeControl, url: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["role", "create", "ops", "--permission", "logs-view", "--without", "undelete", *url]) == 0
    assert control.asked[-1].body == {
        "type": "role",
        "name": "ops",
        "enabledPermissions": ["logs-view"],
        "disabledPermissions": ["undelete"],
    }
    capsys.readouterr()
    assert main(["account", "api-key", "create", "robot", "--permission", "metrics-list", *url]) == 0
    assert capsys.readouterr().out.startswith("api_")
    assert control.asked[-1].body["enabledPermissions"] == ["authenticate", "metrics-list"]
